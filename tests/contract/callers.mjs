// What real clients send and see: fetch without a Content-Type, the official client's header, axios and errors.
import assert from "node:assert/strict";
import { test } from "node:test";
import axios from "axios";
import { clientId, enrol, jane, key, newApp, newKey, server, triple, usher } from "./usher.mjs";

const app = { clientId, key };
const id = await enrol(app);
const token = usher("token", "create", "--user", id).accessToken;

const nickname = () => usher("user", "show", id).profile.nickname;
const put = (path, headers, user) =>
  fetch(`${server}${path}`, { method: "PUT", headers, body: JSON.stringify({ user }) });

const post = (path, data, headers = { Authorization: `Bearer ${key}` }) =>
  axios.post(`${server}${path}`, data, { headers });

/** What axios rejects with. */
async function refusal(call) {
  const error = await call.then(
    () => assert.fail("this was accepted"),
    (error) => error,
  );
  assert.ok(axios.isAxiosError(error), error);
  return error.response;
}

test("fetch with a string body says text/plain, and the JSON in it is read", async () => {
  const echo = new Request(server, { method: "PUT", body: "{}" });
  assert.equal(echo.headers.get("content-type"), "text/plain;charset=UTF-8");
  const answer = await put(`/v1/users/${id}`, triple(app), { nickname: "plain" });
  assert.equal(answer.status, 200);
  assert.equal(nickname(), "plain");
});

test("axios may post JSON text under any content type", async () => {
  for (const kind of ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"]) {
    const data = JSON.stringify({ email: jane.email, doctorFullname: kind });
    const answer = await post("/users/update", data, { Authorization: `Bearer ${key}`, "Content-Type": kind });
    assert.equal(answer.data.data.doctorFullname, kind);
  }
});

test("a token is taken in Authorization and in the official client's Authentication", async () => {
  for (const header of ["Authorization", "Authentication"]) {
    for (const path of [`/v1/users/${id}`, "/v1/users/me", "/api/v1/users/me", "//v1/users/me"]) {
      const answer = await put(path, { [header]: `Bearer ${token}` }, { nickname: header + path });
      assert.equal(answer.status, 200, header + path);
      assert.equal(nickname(), header + path);
    }
  }
});

test("a key beside a token is judged alone", async () => {
  const headers = { ...triple({ clientId, key: "wrong" }), Authorization: `Bearer ${token}` };
  assert.equal((await put("/v1/users/me", headers, {})).status, 401);
});

test("the directory's refusals have the documented four keys and none that a client takes for more", async () => {
  const reader = { clientId, key: newKey(clientId, { access: "read" }) };
  const stranger = await enrol(app, { email: "john@doe.com", phonenumber: "2025550123" });
  const tokenHeader = { Authorization: `Bearer ${token}` };
  const cases = [
    [401, `/v1/users/${id}`, {}, {}],
    [401, `/v1/users/${id}`, { Authorization: "Bearer a.b.c" }, {}],
    [403, `/v1/users/${id}`, triple(reader, "read"), {}],
    [401, `/v1/users/${id}`, triple(reader, "write"), {}],
    [403, `/v1/users/${stranger}`, tokenHeader, {}],
    [403, "/v1/users/00000000-0000-4000-8000-000000000000", tokenHeader, {}],
    [400, "/v1/users/00000000-0000-4000-8000-000000000000", triple(app), {}],
    [400, "/v1/users/abc", triple(app), {}],
    [400, "/v1/users/me", triple(app), {}],
    [400, `/v1/users/${id}`, triple(app), "x"],
    [400, `/v1/users/${id}`, triple(app), { name: 1 }],
    [400, `/v1/users/${id}`, triple(app), { email: "john@doe.com" }],
    [400, `/v1/users/${id}?test=yes`, triple(app), {}],
  ];
  for (const [status, path, headers, user] of cases) {
    const answer = await put(path, headers, user);
    const body = await answer.json();
    const what = `${path} ${JSON.stringify(user)}: ${JSON.stringify(body)}`;
    assert.equal(answer.status, status, what);
    assert.deepEqual(Object.keys(body), ["success", "error", "message", "data"], what);
    assert.deepEqual({ ...body, error: null }, { success: false, error: null, message: null, data: null }, what);
    assert.ok(typeof body.error === "string" && body.error.length > 0, what);
  }
});

test("axios sees the partner API's errors as a status and an object with a message", async () => {
  const john = { ...jane, email: "john@other.example", phonenumber: "2025550124" };
  const cases = [
    [409, "Email already exists", { ...john, email: " JANE@Doe.com " }],
    [400, "Invalid email address", { ...john, email: "jane" }],
    [409, "Phone number already exists", { ...john, phonenumber: "+1 (123) 456-7890" }],
    [400, "Invalid phone number", { ...john, phonenumber: "12" }],
  ];
  for (const [status, message, body] of cases) {
    const response = await refusal(post("/users/create", body));
    assert.equal(response.status, status, message);
    assert.equal(response.data.message, message);
    assert.match(response.headers["content-type"], /^application\/json/);
    assert.equal(response.headers["request-id"], response.data.requestId);
  }
  const unknown = await refusal(post("/users/update", { email: "nobody@doe.com" }));
  assert.equal(unknown.status, 404);
  assert.equal(unknown.data.message, "User not found");
});

test("axios sees every wrong field of a body at once", async () => {
  const { data, status } = await refusal(post("/users/create", { ...jane, height: "170cm", paymentPlan: "6", sex: "x" }));
  assert.equal(status, 400);
  assert.deepEqual(data.errors.map((error) => error.field).sort(), ["height", "paymentPlan", "sex"]);
  for (const { message } of data.errors) assert.ok(data.message.includes(message), data.message);
});

test("axios sees an object for a wrong key, a wrong version, a wrong method, a wrong address and no JSON", async () => {
  const bearer = `Bearer ${key}`;
  const { email } = jane;
  const readOnly = `Bearer ${newKey(clientId, { access: "read" })}`;
  const live = `Bearer ${newKey(clientId, { environment: "live" })}`;
  const calls = [
    [403, () => post("/users/update", { email }, {})],
    [403, () => post("/users/update", { email }, { Authorization: `${bearer}x` })],
    [403, () => post("/users/update", { email }, { Authorization: readOnly })],
    [404, () => post("/users/update", { email }, { Authorization: live })],
    [400, () => post("/users/update", { email }, { Authorization: bearer, "Fitmate-Version": "2023-10-05" })],
    [405, () => axios.get(`${server}/users/update`)],
    [404, () => axios.get(`${server}/foo`)],
    [400, () => post("/users/update", "{", { Authorization: bearer, "Content-Type": "application/json" })],
    [400, () => post("/users/update", [], { Authorization: bearer })],
    [413, () => post("/users/update", { email, doctorFullname: "x".repeat(70_000) })],
  ];
  for (const [status, call] of calls) {
    const response = await refusal(call());
    assert.equal(response.status, status, JSON.stringify(response.data));
    assert.equal(typeof response.data.message, "string");
  }
});

/** What the official JavaScript client sends, in its order, with `test=true` and no other query (contract D). */
const sdk = (method, path, headers, body) =>
  fetch(`${server}/v1/${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });

/** How it judges an answer: a JSON object without `errors`, and a 2xx. */
async function judged(answer) {
  const text = await answer.text();
  const body = JSON.parse(text);
  assert.equal(typeof body, "object", text);
  assert.ok(body !== null && !("errors" in body), text);
  return { ok: answer.ok, status: answer.status, body };
}

test("every call of the official JavaScript client that is in scope is answered as it judges answers", async () => {
  const one = newApp();
  const user = await enrol(one);
  const headers = triple(one);
  const reader = triple({ clientId: one.clientId, key: newKey(one.clientId, { access: "read" }) }, "read");
  const { appId } = (await judged(await sdk("GET", `users/${user}?test=true`, headers))).body.data;
  assert.equal(appId, one.clientId);
  const bearer = { Authentication: `Bearer ${usher("token", "create", "--user", user).accessToken}` };
  const done = [
    [() => sdk("GET", "analytics/sign-ins?test=true", reader), "analyticsSignIn"],
    [() => sdk("GET", "analytics/tenants?test=true", reader), "analyticsTenant"],
    [() => sdk("GET", `apps/${appId}/public-keys?test=true`, reader), "publicKey"],
    [() => sdk("GET", `apps/${appId}/user-roles?test=true`, reader), "userRole"],
    [() => sdk("GET", `users/${user}?test=true`, headers), "user"],
    [() => sdk("GET", "users/jane@doe.com?test=true", headers), "user"],
    [() => sdk("GET", "users/me?test=true", bearer), "user"],
    [() => sdk("PUT", `users/${user}`, headers, { user: { nickname: "sdk", birthdate: "1990-12-23T00:00:00.000Z" } }), null],
    [() => sdk("PUT", "users/me", bearer, { user: { nickname: "me" } }), null],
    [() => sdk("PUT", `apps/${appId}/users/${user}/access-status/0?test=true`, headers), null],
    [() => sdk("PUT", `apps/${appId}/users/${user}/access-status/1?test=true`, headers), null],
  ];
  for (const [call, kind] of done) {
    const { ok, body } = await judged(await call());
    assert.ok(ok && body.success === true, JSON.stringify(body));
    assert.equal(body.data?.kind ?? null, kind);
  }
  const acme = newKey(one.clientId, { tenant: "acme" });
  const member = await enrol({ clientId: one.clientId, key: acme }, { email: "m@doe.com", phonenumber: "2025550188" });
  const { tenantId } = (await judged(await sdk("GET", `users/${member}?test=true`, headers))).body.data;
  usher("user", "role", member, "administrator");
  const admin = { Authentication: `Bearer ${usher("token", "create", "--user", member).accessToken}` };
  const tenant = { name: "Acme", companyTaxExempt: "none", billingAddress: { city: "Bonn", country: "DE" } };
  for (const [id, who] of [
    [tenantId, headers],
    ["me", admin],
  ]) {
    assert.ok((await judged(await sdk("PUT", `tenants/${id}`, who, { tenant }))).ok, id);
    const { body } = await judged(await sdk("GET", `tenants/${id}?test=true`, who));
    assert.deepEqual([body.data.kind, body.data.name, body.data.users.length], ["tenant", "Acme", 1]);
  }
  assert.ok((await judged(await sdk("DELETE", `users/${user}?test=true`, headers))).ok);
  assert.equal((await judged(await sdk("GET", "users/me?test=true", bearer))).status, 401);
});

test("every call of the official JavaScript client that is out of scope is 404 with the reason", async () => {
  for (const [method, path, body] of [
    ["GET", "analytics/one-time-payments?test=true&from=2023-01-01&to=2023-02-01"],
    ["GET", "analytics/subscriptions?test=true"],
    ["GET", `apps/${clientId}/promotions?test=true`],
    ["POST", `tenants/${id}/checkout-sessions`, { price: "price_1" }],
    ["GET", `tenants/${id}/stripe-invoices?test=true`],
    ["POST", `tenants/${id}/stripe-invoices`, { price: "price_1" }],
    ["DELETE", `tenants/${id}/stripe-payment-methods?test=true`],
    ["DELETE", `tenants/${id}/stripe-subscriptions?test=true`],
    ["PUT", "tenants/me/stripe-subscriptions", { quantity: 1 }],
    ["PUT", `users/${id}/promotion-codes/A%20B/c?d`],
    ["POST", `users/${id}/referral-invites`, { email: "x@doe.com", language: "DE" }],
  ]) {
    const { status, body: answer } = await judged(await sdk(method, path, triple(app), body));
    assert.equal(status, 404, path);
    assert.match(answer.error, /out of its scope/);
  }
});
