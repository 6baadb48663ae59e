// The official browser client itself, in an app on another origin: signs in, refreshes by its token and silently in a frame,
// and signs out, both ways.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { clientId, enrol, jane, key, server, usher } from "../contract/usher.mjs";
import { browse } from "./chromium.mjs";

const client = readFileSync(new URL("node_modules/@userdocks/web-client-sdk/dist/userdocks.umd.js", import.meta.url));

/** The app's page: the client, set up for this server. */
const page = `<!doctype html><html lang="en"><meta charset="utf-8"><title>The app</title><link rel="icon" href="data:,">
<h1>The app</h1><script src="/client.js"></script><script>
window.ready = (refreshType) => userdocks.initialize({
  authServer: { apiUri: "${server}", loginUri: "${server}/sign-in", sdkUri: "${server}" },
  app: { refreshType, clientId: "${clientId}", redirectUri: location.origin + "/app" },
});
window.me = async () => {
  const { tokenType, accessToken } = await userdocks.getToken();
  const answer = await fetch("${server}/v1/users/me", { headers: { Authorization: tokenType + " " + accessToken } });
  return [answer.status, (await answer.json()).data?.email];
};
</script></html>`;

const app = createServer((request, response) => {
  const script = request.url === "/client.js";
  response.setHeader("Content-Type", script ? "text/javascript" : "text/html");
  response.end(script ? client : page);
});
await new Promise((listening) => app.listen(0, "127.0.0.1", listening));
const origin = `http://127.0.0.1:${app.address().port}`;
after(() => app.close());
usher("app", "redirect", "add", clientId, `${origin}/app`, "--environment", "sandbox");
await enrol({ clientId, key });

/** The link of a mail to sign in by that was not there before. */
async function newLink(before) {
  for (let wait = 0; wait < 100; wait++) {
    const mail = usher("mail", "show");
    if (mail.kind === "sign_in" && mail.links[0] !== before) return mail.links[0];
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.fail("no mail came");
}

/** What the client says of itself whenever it is used, and that its worker is not served here. */
const SAYS = [/make sure to initialize userdocks/i, /create a web worker failed/, /identity-worker/];

let last;

async function signIn(tab, refreshType) {
  await tab.goto(`${origin}/app`);
  await tab.evaluate((type) => window.ready(type), refreshType);
  await tab.evaluate(() => void userdocks.redirectTo({ type: "signIn" }));
  await tab.getByLabel("E-mail").fill(jane.email);
  await tab.getByRole("button", { name: "Continue" }).click();
  await tab.getByRole("heading", { name: "Check your mail" }).waitFor();
  last = await newLink(last);
  await tab.goto(last);
  await tab.getByRole("button", { name: "Sign in" }).click();
  await tab.getByRole("heading", { name: "The app" }).waitFor();
  await tab.waitForLoadState();
  await tab.evaluate((type) => window.ready(type), refreshType);
  await tab.evaluate(() => userdocks.exchangeCodeForToken());
  assert.deepEqual(await tab.evaluate(() => window.me()), [200, jane.email]);
  return tab.evaluate(() => userdocks.getToken());
}

test("the official browser client signs in, refreshes by its refresh token, and signs out", () =>
  browse(
    async (tab) => {
      const first = await signIn(tab, "refresh");
      assert.equal(await tab.evaluate(() => userdocks.refresh()), true);
      const second = await tab.evaluate(() => userdocks.getToken());
      assert.notEqual(second.refreshToken, first.refreshToken);
      assert.deepEqual(await tab.evaluate(() => window.me()), [200, jane.email]);
      await tab.evaluate(() => void userdocks.logout());
      await tab.getByText("You are signed out.").waitFor();
      const answer = await fetch(`${server}/v1/users/me`, { headers: { Authorization: `Bearer ${second.accessToken}` } });
      assert.equal(answer.status, 401);
    },
    { others: [origin], complaints: SAYS },
  ));

test("the official browser client refreshes silently in a frame, as long as the browser has a session", () =>
  browse(
    async (tab) => {
      const first = await signIn(tab, "silentRefresh");
      assert.equal(await tab.evaluate(() => userdocks.silentRefresh()), true);
      const second = await tab.evaluate(() => userdocks.getToken());
      assert.notEqual(second.accessToken, first.accessToken);
      assert.deepEqual(await tab.evaluate(() => window.me()), [200, jane.email]);
      await tab.evaluate(() => void userdocks.logout());
      // Its frame has ended the session by then.
      await tab.getByText("You are signed out in this browser.").waitFor();
      await tab.goto(`${origin}/app`);
      await tab.evaluate(() => window.ready("silentRefresh"));
      assert.equal(await tab.evaluate(() => userdocks.silentRefresh()), false);
      const answer = await fetch(`${server}/v1/users/me`, { headers: { Authorization: `Bearer ${second.accessToken}` } });
      assert.equal(answer.status, 401);
    },
    { others: [origin], complaints: SAYS },
  ));
