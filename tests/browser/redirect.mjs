// An app with a page of its own: the link's button leads there, with a one-time code.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { clientId, enrol, jane, key, server, usher } from "../contract/usher.mjs";
import { browse } from "./chromium.mjs";

const heard = [];
const callback = createServer((request, response) => {
  heard.push({ url: request.url, referer: request.headers.referer });
  response.setHeader("Content-Type", "text/html");
  response.end("<!doctype html><title>The app</title><link rel=icon href=data:,><h1>The app</h1>");
});
await new Promise((listening) => callback.listen(0, "127.0.0.1", listening));
const origin = `http://127.0.0.1:${callback.address().port}`;
after(() => callback.close());

test("the button leads to the app's own page, with a code that is not the link's", () =>
  browse(
    async (page) => {
      const place = ["--environment", "sandbox", "--redirect-url", `${origin}/callback?from=usher`];
      usher("app", "update", clientId, ...place);
      await enrol({ clientId, key });
      const link = usher("mail", "show").links[0];
      await page.goto(link);
      await page.getByRole("button", { name: "Sign in", exact: true }).click();
      await page.getByRole("heading", { name: "The app" }).waitFor();

      const arrived = new URL(page.url());
      assert.equal(arrived.origin + arrived.pathname, `${origin}/callback`);
      const { code, ...query } = Object.fromEntries(arrived.searchParams);
      assert.deepEqual(query, { from: "usher", service: "email", client_id: clientId });
      assert.match(code, /^[\w-]{64}$/);
      assert.ok(!link.includes(code));
      // The link does not travel along, and the browser's session is for the hosted pages alone.
      assert.deepEqual(heard, [{ url: arrived.pathname + arrived.search, referer: undefined }]);
      assert.deepEqual((await page.context().cookies()).map(({ name, httpOnly }) => [name, httpOnly]), [[`usher_session_sandbox_${clientId}`, true]]);
      assert.equal(usher("user", "show", jane.email).emailVerified, true);

      await page.goto(`${server}/links/${code}`);
      await page.getByRole("heading", { name: "Unknown link" }).waitFor();
      await page.goto(link);
      assert.equal(await page.getByRole("alert").textContent(), "This link was already used. Each link works once.");
    },
    { others: [origin], complaints: [/status of 404 .*\/links\//, /status of 410 .*\/links\//] },
  ));
