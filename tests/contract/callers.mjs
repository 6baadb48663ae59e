// What real clients send and see: fetch without a Content-Type, the official client's header, axios and errors.
import assert from "node:assert/strict";
import { test } from "node:test";
import axios from "axios";
import { clientId, enrol, jane, key, newKey, server, triple, usher } from "./usher.mjs";

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
