// Access tokens under the rules of the official clients (contract C2 to C5), checked by Node's own cryptography.
import assert from "node:assert/strict";
import { createPublicKey, verify as verifySignature } from "node:crypto";
import { test } from "node:test";
import { clientId, enrol, key, newApp, newKey, server, triple, usher } from "./usher.mjs";

/** The issuer that the official browser client has built in. */
const ISSUER = "f0af4569-4d5d-4c20-af95-5a80c74e30a6";

const app = { clientId, key };
const reader = { clientId, key: newKey(clientId, { access: "read" }) };
const id = await enrol(app);
const issue = (user = id) => usher("token", "create", "--user", user).accessToken;

/** What the official Node client does with a token. */
function verify(authorization, publicKey, appId) {
  const parts = authorization.replace("Bearer ", "").split(".");
  if (parts.length !== 3) return { valid: false };
  // Not base64url: the official browser client uses `atob` as it is.
  const [header, claims] = parts.slice(0, 2).map((part) => JSON.parse(atob(part)));
  const valid =
    header.typ === "JWT" &&
    header.alg === "RS256" &&
    claims.exp - Math.floor(Date.now() / 1000) >= 0 &&
    claims.iss === ISSUER &&
    claims.aud === appId &&
    verifySignature("RSA-SHA256", `${parts[0]}.${parts[1]}`, publicKey, Buffer.from(parts[2], "base64url"));
  return { header, claims, valid };
}

const publicKeyOf = (caller, path = `/v1/apps/${caller.clientId}/public-keys`) =>
  fetch(`${server}${path}`, {
    // The official Node client's own, unusual Accept.
    headers: { ...triple(caller, "read"), accept: "application/json;utf-8" },
  });

const keySet = async (query) => (await (await fetch(`${server}/sandbox/.well-known/jwks.json?${query}`)).json()).keys;

test("a token verifies with the PEM key of its app", async () => {
  for (const prefix of ["", "/api"]) {
    const answer = await publicKeyOf(reader, `${prefix}/v1/apps/${clientId}/public-keys`);
    assert.equal(answer.status, 200);
    // The client joins chunks with a comma, so the answer must come as one.
    assert.equal(answer.headers.get("transfer-encoding"), null);
    const body = await answer.text();
    assert.equal(answer.headers.get("content-length"), String(Buffer.byteLength(body)));
    const { success, error, data } = JSON.parse(body);
    assert.deepEqual([success, error, data.kind], [true, null, "publicKey"]);
    assert.match(data.publicKey, /^-----BEGIN PUBLIC KEY-----\n/);

    const { valid, header, claims } = verify(`Bearer ${issue()}`, data.publicKey, clientId);
    assert.ok(valid);
    assert.equal(claims.sub, id);
    assert.equal(typeof header.kid, "string");
  }
});

test("a token verifies with the key of its name in the key set", async () => {
  const token = issue();
  const { kid } = verify(token, (await keySet(`client_id=${clientId}`)).map(pem)[0], clientId).header;
  const keys = (await keySet(`client_id=${clientId}`)).filter((key) => key.kid === kid);
  assert.equal(keys.length, 1);
  assert.deepEqual([keys[0].kty, keys[0].use, keys[0].alg], ["RSA", "sig", "RS256"]);
  assert.deepEqual(Object.keys(keys[0]).sort(), ["alg", "e", "kid", "kty", "n", "use"], "and nothing private");
  assert.ok(verify(token, pem(keys[0]), clientId).valid);
});

const pem = (jwk) => createPublicKey({ key: jwk, format: "jwk" });

test("a token verifies with no key but its own, and not once it was touched", async () => {
  const token = issue();
  const own = (await (await publicKeyOf(reader)).json()).data.publicKey;
  assert.ok(verify(token, own, clientId).valid);

  const live = { clientId, key: newKey(clientId, { environment: "live", access: "read" }) };
  const other = newApp();
  const others = { clientId: other.clientId, key: newKey(other.clientId, { access: "read" }) };
  for (const caller of [live, others]) {
    const foreign = (await (await publicKeyOf(caller)).json()).data.publicKey;
    assert.notEqual(foreign, own);
    assert.equal(verify(token, foreign, clientId).valid, false);
  }
  assert.equal(verify(token, own, other.clientId).valid, false);

  const [header, claims, signature] = token.split(".");
  const raised = btoa(atob(claims).replace('"psc":[]', '"psc":[1]')).replaceAll("=", "");
  assert.notEqual(raised, claims);
  assert.equal(verify(`${header}.${raised}.${signature}`, own, clientId).valid, false);
  const answer = await fetch(`${server}/v1/users/me`, {
    method: "PUT",
    headers: { Authorization: `Bearer ${header}.${raised}.${signature}` },
    body: '{"user":{}}',
  });
  assert.equal(answer.status, 401);
});

test("the claims are those that the official clients read", async () => {
  const [header, claims] = issue()
    .split(".")
    .slice(0, 2)
    .map((part) => JSON.parse(atob(part)));
  assert.equal(header.typ, "JWT");
  assert.equal(header.alg, "RS256");
  assert.deepEqual(
    Object.keys(claims).sort(),
    ["aud", "auth_time", "exp", "iss", "jti", "lng", "nonce", "psc", "scope", "sid", "sub"],
  );
  for (const name of ["aud", "iss", "jti", "lng", "nonce", "sub"]) assert.equal(typeof claims[name], "string", name);
  for (const name of ["auth_time", "exp"]) assert.ok(Number.isInteger(claims[name]), name);
  for (const name of ["scope", "psc"]) assert.ok(Array.isArray(claims[name]), name);
  assert.equal(claims.iss, ISSUER);
  assert.equal(claims.aud, clientId);
  assert.ok(claims.exp > claims.auth_time);
});

/** Whether plain `atob` reads these claims out of a segment. */
function reads(segment, claims) {
  try {
    return JSON.stringify(JSON.parse(atob(segment))) === JSON.stringify(claims);
  } catch {
    return false;
  }
}

test("plain atob reads every segment of both tokens, whatever the person is called and however long they are", async () => {
  const app = newApp();
  const redirectUri = "http://127.0.0.1:9/callback";
  usher("app", "redirect", "add", app.clientId, redirectUri, "--environment", "sandbox");
  usher("app", "update", app.clientId, "--redirect-url", redirectUri, "--environment", "sandbox");
  const person = await enrol(app);
  const link = new URL(usher("mail", "show").links[0]).pathname;
  const entered = await fetch(server + link, { method: "POST", redirect: "manual" });
  const code = new URL(entered.headers.get("location")).searchParams.get("code");
  const exchange = async (what) => {
    const body = JSON.stringify({ client_id: app.clientId, redirect_uri: redirectUri, ...what });
    const answer = await fetch(`${server}/v1/tokens`, { method: "POST", body });
    assert.equal(answer.status, 200, what.nonce);
    return answer.json();
  };

  const names = ["?~>", "x?~>", "xx?~>", "José Núñez", "日本語", "😀 Łukasz", "ÿÿÿ"];
  let [granted, dashed, misread, lengths] = [await exchange({ code }), 0, 0, new Set()];
  for (let round = 0; round < 48; round++) {
    const name = names[round % names.length];
    const user = { given_name: "x".repeat(round) + name, nickname: name, language: name };
    const changed = await fetch(`${server}/v1/users/${person}`, {
      method: "PUT",
      headers: triple(app),
      body: JSON.stringify({ user }),
    });
    assert.equal(changed.status, 200, name);
    const nonce = "n".repeat(round) + name;
    granted = await exchange({ refresh_token: granted.refreshToken, nonce });
    for (const token of [granted.accessToken, granted.idToken]) {
      const [header, segment] = token.split(".");
      assert.doesNotMatch(header + segment, /[-_]/);
      const claims = JSON.parse(Buffer.from(segment, "base64url"));
      assert.ok(reads(segment, claims), segment);
      assert.deepEqual([claims.sub, claims.nonce, claims.lng], [person, nonce, name]);
      lengths.add(segment.length % 4);
      // The same claims as other libraries write them.
      const usual = Buffer.from(JSON.stringify(claims)).toString("base64url");
      dashed += /[-_]/.test(usual);
      misread += !reads(usual, claims);
    }
    const { given_name, nickname } = JSON.parse(atob(granted.idToken.split(".")[1]));
    assert.deepEqual([given_name, nickname], [user.given_name, name]);
  }
  assert.deepEqual([...lengths].sort(), [0, 2, 3], "segments end in every way that there is");
  assert.ok(dashed > 30 && misread > 90, `written as usual, ${misread} of 96 would not have been read, ${dashed} for a letter`);
});
