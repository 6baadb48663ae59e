// Every mail in every language as a mail program shows it: light and dark, on a phone and at a desk, and nothing is fetched.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, test } from "node:test";
import { browse, look } from "./chromium.mjs";

const { MAILS } = process.env;
const files = readdirSync(MAILS);
const mails = createServer((request, response) => {
  const file = request.url.slice(1);
  response.setHeader("Content-Type", "text/html; charset=utf-8");
  response.end(files.includes(file) ? readFileSync(join(MAILS, file)) : "");
});
await new Promise((listening) => mails.listen(0, "127.0.0.1", listening));
const origin = `http://127.0.0.1:${mails.address().port}`;
after(() => mails.close());
/** What a mail is held to: rules of good practice speak of pages with landmarks. */
const RULES = { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] };

test("every mail can be read by everybody", () =>
  browse(
    async (page) => {
      assert.ok(files.length >= 30, `${files.length} mails`);
      const asked = [];
      page.on("request", (request) => !request.url().endsWith("/favicon.ico") && asked.push(request.url()));
      for (const file of files) {
        await page.goto(`${origin}/${file}`);
        await look(page, `mail-${file.replace(".html", "")}`, RULES);
        const { direction, lang } = await page.evaluate(() => ({ direction: getComputedStyle(document.body).direction, lang: document.documentElement.lang }));
        assert.equal(direction, lang === "ar" ? "rtl" : "ltr", file);
      }
      assert.deepEqual(asked, files.map((file) => `${origin}/${file}`), "a mail fetches nothing");
    },
    { others: [origin] },
  ));
