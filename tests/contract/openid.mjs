// An OpenID Connect client library that is not ours (openid-client) signs a person in, knowing nothing but the address:
// that of the sandbox, which is an issuer of its own.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as client from "openid-client";
import { clientId, enrol, jane, key, server, usher } from "./usher.mjs";

const redirectUri = "http://127.0.0.1:9/callback";
usher("app", "redirect", "add", clientId, redirectUri, "--environment", "sandbox");
const id = await enrol({ clientId, key });

/** A browser without scripts: keeps cookies, sends forms, and stops where it would leave the server. */
function browser() {
  const cookies = new Map();
  return async (url, form) => {
    const answer = await fetch(url, {
      method: form ? "POST" : "GET",
      redirect: "manual",
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") },
      body: form && new URLSearchParams(form),
    });
    for (const line of answer.headers.getSetCookie()) {
      const [name, ...value] = line.split(";")[0].split("=");
      cookies.set(name, value.join("="));
    }
    return { status: answer.status, location: answer.headers.get("location"), text: await answer.text() };
  };
}

/** The newest mail to sign in by: it is written a moment after it was asked for. */
async function newestMail() {
  for (let wait = 0; wait < 100; wait++) {
    const mail = usher("mail", "show");
    if (mail.kind === "sign_in") return { link: mail.links[0], code: /^\d{6}$/m.exec(mail.text)[0] };
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.fail("no mail came");
}

test("openid-client discovers, signs in with PKCE, refreshes, reads userinfo and revokes", async () => {
  const execute = [client.allowInsecureRequests];
  const config = await client.discovery(new URL(`${server}/sandbox`), clientId, undefined, client.None(), { execute });
  const verifier = client.randomPKCECodeVerifier();
  const [state, nonce] = [client.randomState(), client.randomNonce()];
  const start = client.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: "openid profile email offline_access",
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    state,
    nonce,
  });
  const visit = browser();
  assert.match((await visit(start)).text, /Sign in to/);
  assert.equal((await visit(start, { email: jane.email })).location, "/sign-in/code");
  const { code } = await newestMail();
  const { location } = await visit(`${server}/sign-in/code`, { code });

  const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true };
  const tokens = await client.authorizationCodeGrant(config, new URL(location), checks);
  const { sub, email, email_verified: verified } = tokens.claims();
  assert.deepEqual([sub, email, verified], [id, jane.email, true]);
  assert.equal((await client.fetchUserInfo(config, tokens.access_token, sub)).given_name, jane.firstname);

  const next = await client.refreshTokenGrant(config, tokens.refresh_token);
  assert.notEqual(next.refresh_token, tokens.refresh_token);
  assert.equal(next.claims().sub, id);
  await client.tokenRevocation(config, next.refresh_token);
  await assert.rejects(client.refreshTokenGrant(config, next.refresh_token), { error: "invalid_grant" });
  await assert.rejects(client.fetchUserInfo(config, next.access_token, sub));
});
