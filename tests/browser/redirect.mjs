// An app with a page of its own: the link's button leads there, with a one-time code, and the app goes on to where it likes.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { clientId, enrol, jane, key, server, usher } from "../contract/usher.mjs";
import { browse } from "./chromium.mjs";

const heard = [];

/** A server of the app's; gives its origin. */
async function serve(answer) {
  const one = createServer((request, response) => {
    heard.push({ host: request.headers.host, url: request.url, referer: request.headers.referer });
    answer(response);
  });
  await new Promise((listening) => one.listen(0, "127.0.0.1", listening));
  after(() => one.close());
  return `http://127.0.0.1:${one.address().port}`;
}

const home = await serve((response) => {
  response.setHeader("Content-Type", "text/html");
  response.end("<!doctype html><title>The app</title><link rel=icon href=data:,><h1>The app</h1>");
});
// As many apps do: who has come to the one origin is sent on to the other.
const origin = await serve((response) => response.writeHead(303, { Location: `${home}/home` }).end());

test("the button leads to the app's own page, with a code that is not the link's, and on from there to another origin", () =>
  browse(
    async (page) => {
      const place = ["--environment", "sandbox", "--redirect-url", `${origin}/callback?from=usher`];
      usher("app", "update", clientId, ...place);
      await enrol({ clientId, key });
      const link = usher("mail", "show").links[0];
      await page.goto(link);
      await page.getByRole("button", { name: "Sign in", exact: true }).click();
      await page.getByRole("heading", { name: "The app" }).waitFor();

      assert.equal(page.url(), `${home}/home`);
      const arrived = new URL(heard[0].url, origin);
      assert.equal(arrived.pathname, "/callback");
      const { code, ...query } = Object.fromEntries(arrived.searchParams);
      assert.deepEqual(query, { from: "usher", service: "email", client_id: clientId });
      assert.match(code, /^[\w-]{64}$/);
      assert.ok(!link.includes(code));
      // The link does not travel along, and the browser's session is for the hosted pages alone.
      assert.deepEqual(heard, [
        { host: new URL(origin).host, url: arrived.pathname + arrived.search, referer: undefined },
        { host: new URL(home).host, url: "/home", referer: undefined },
      ]);
      assert.deepEqual((await page.context().cookies()).map(({ name, httpOnly }) => [name, httpOnly]), [[`usher_session_sandbox_${clientId}`, true]]);
      assert.equal(usher("user", "show", jane.email).emailVerified, true);

      await page.goto(`${server}/links/${code}`);
      await page.getByRole("heading", { name: "Unknown link" }).waitFor();
      await page.goto(link);
      assert.equal(await page.getByRole("alert").textContent(), "This link was already used. Each link works once.");
    },
    { others: [origin, home], complaints: [/status of 404 .*\/links\//, /status of 410 .*\/links\//] },
  ));
