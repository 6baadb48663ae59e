// An app on another origin signs a person in with the calls of the official browser client (contract C5, C6): to the
// hosted page, back with a code, POST /api/v1/tokens across origins, again with the refresh token, and logout.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { clientId, enrol, jane, key, server, usher } from "../contract/usher.mjs";
import { browse, scan } from "./chromium.mjs";

/** The app's page: a script that does what the official client does, step by step, and shows what came of it. */
const page = `<!doctype html><html lang="en"><meta charset="utf-8"><title>The app</title><link rel="icon" href="data:,">
<h1>The app</h1><pre id="seen"></pre><script>
const [apiUri, clientId] = [${JSON.stringify(server)}, ${JSON.stringify(clientId)}];
const redirectUri = (location.origin + location.pathname).replace(/\\/$/, "");
const query = new URLSearchParams(location.search);
const decode = (token) => token.split(".").slice(0, 2).map((part) => JSON.parse(atob(part)));
async function ask(more) {
  const nonce = crypto.randomUUID();
  const answer = await fetch(apiUri + "/api/v1/tokens", {
    method: "POST",
    headers: { Accept: "application/json; charset=utf-8", "Content-Type": "application/json; charset=utf-8" },
    body: JSON.stringify({
      language: "en", service: query.get("service") || "email", grant_type: "authorization_code", client_id: clientId,
      redirect_uri: redirectUri, code: query.get("code"), state: query.get("state"), nonce,
      auth_time: String(Math.floor(Date.now() / 1000)), scope: "openid profile email offline_access", ...more,
    }),
  });
  const token = await answer.json();
  if (!token.idToken) return token;
  const [header, claims] = decode(token.idToken);
  token.good = header.alg === "RS256" && claims.nonce === nonce && claims.aud === clientId &&
    claims.iss === "f0af4569-4d5d-4c20-af95-5a80c74e30a6" && token.redirectUri === redirectUri;
  localStorage.setItem("userdocks.com:refreshToken", token.refreshToken);
  return token;
}
window.go = (more = "") => location.assign(apiUri + "/sign-in?client_id=" + clientId + "&state=" + crypto.randomUUID() +
  "&type=signIn&redirect_uri=" + location.origin + location.pathname + more);
window.exchange = () => ask({});
window.refresh = () => ask({ prompt: "none", refresh_token: localStorage.getItem("userdocks.com:refreshToken") });
window.me = async (token) => (await fetch(apiUri + "/v1/users/me", {
  headers: { Authorization: token.tokenType + " " + token.accessToken },
})).status;
</script></html>`;

const app = createServer((request, response) => {
  response.setHeader("Content-Type", "text/html");
  response.end(page);
});
await new Promise((listening) => app.listen(0, "127.0.0.1", listening));
const origin = `http://127.0.0.1:${app.address().port}`;
after(() => app.close());

async function newestMail() {
  for (let wait = 0; wait < 100; wait++) {
    const mail = usher("mail", "show");
    if (mail.kind === "sign_in") return { link: mail.links[0], code: /^\d{6}$/m.exec(mail.text)[0] };
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.fail("no mail came");
}

test("a browser app on another origin signs in, refreshes and signs out with the official client's calls", () =>
  browse(
    async (tab) => {
      usher("app", "redirect", "add", clientId, `${origin}/app`, "--environment", "sandbox");
      await enrol({ clientId, key });
      await tab.goto(`${origin}/app`);
      await tab.evaluate(() => window.go());
      await tab.getByRole("heading", { name: "Sign in to Default" }).waitFor();
      await tab.getByLabel("E-mail").fill(jane.email);
      await tab.getByRole("button", { name: "Continue" }).click();
      await tab.getByRole("heading", { name: "Check your mail" }).waitFor();
      const { link } = await newestMail();

      // Another browser, to which the mail was forwarded, does not get in.
      const stranger = await tab.context().browser().newContext();
      const theirs = await stranger.newPage();
      // Nor does a scanner of mail use it up.
      await scan(theirs, link, () => theirs.getByRole("heading", { name: "Another browser" }).waitFor());
      assert.deepEqual(await stranger.cookies(), []);
      await stranger.close();

      await scan(tab, link);
      await tab.getByRole("button", { name: "Sign in" }).click();
      await tab.getByRole("heading", { name: "The app" }).waitFor();
      const exchanged = await tab.evaluate(() => window.exchange());
      assert.ok(exchanged.good, JSON.stringify(exchanged));
      assert.equal(await tab.evaluate((token) => window.me(token), exchanged), 200);
      const refreshed = await tab.evaluate(() => window.refresh());
      assert.ok(refreshed.good, JSON.stringify(refreshed));
      assert.notEqual(refreshed.refreshToken, exchanged.refreshToken);

      await tab.evaluate(() => window.go("&logout=true"));
      await tab.getByText("You are signed out.").waitFor();
      await tab.goto(`${origin}/app`);
      const ended = await tab.evaluate(() => window.refresh());
      assert.equal(ended.error, "invalid_grant");
      assert.equal(await tab.evaluate((token) => window.me(token), refreshed), 401);
    },
    { others: [origin], complaints: [/status of 400 .*\/tokens$/, /status of 401 .*\/users\/me$/] },
  ));
