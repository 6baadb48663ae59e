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

/** The newest mail to sign in by, once that is another than before: it is written a moment after it was asked for. */
async function newestMail(before) {
  for (let wait = 0; wait < 100; wait++) {
    const mail = usher("mail", "show");
    if (mail.kind === "sign_in" && mail.links[0] !== before) return { link: mail.links[0], code: /^\d{6}$/m.exec(mail.text)[0] };
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.fail("no mail came");
}

let lastLink;

/** Discovers, and signs Jane in with PKCE: what the library knows, her browser, and her tokens. */
async function signIn() {
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
  const { link, code } = await newestMail(lastLink);
  lastLink = link;
  const { location } = await visit(`${server}/sign-in/code`, { code });

  const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true };
  return { config, visit, tokens: await client.authorizationCodeGrant(config, new URL(location), checks) };
}

test("openid-client discovers, signs in with PKCE, refreshes, reads userinfo and revokes", async () => {
  const { config, tokens } = await signIn();
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

test("openid-client signs the person out, who comes back to the app with its state", async () => {
  const { config, visit, tokens } = await signIn();
  const { sub } = tokens.claims();
  const end = (more) => client.buildEndSessionUrl(config, { post_logout_redirect_uri: redirectUri, state: "bye", ...more });
  const asked = await visit(end());
  assert.deepEqual([asked.status, asked.location], [200, null], "without a token the person is asked");
  assert.equal((await client.fetchUserInfo(config, tokens.access_token, sub)).sub, id);

  const left = await visit(end({ id_token_hint: tokens.id_token }));
  assert.deepEqual([left.status, left.location], [303, `${redirectUri}?state=bye`]);
  await assert.rejects(client.refreshTokenGrant(config, tokens.refresh_token), { error: "invalid_grant" });
  await assert.rejects(client.fetchUserInfo(config, tokens.access_token, sub));
});
