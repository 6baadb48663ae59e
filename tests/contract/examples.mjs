// The documented examples, run as they stand on the pages; see samples/.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { clientId, enrol, key, newApp, server, triple, usher } from "./usher.mjs";

const require = createRequire(import.meta.url);
const axios = require("axios");
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** A sample with replacements, each of which must hit. */
function sample(name, replacements) {
  let text = readFileSync(new URL(`samples/${name}.txt`, import.meta.url), "utf8");
  for (const [old, now] of replacements) {
    assert.ok(text.includes(old), `${name} has no ${old}`);
    text = text.replaceAll(old, now);
  }
  return text;
}

/** Runs text as the body of an async function of these parameters. */
function run(text, parameters) {
  const AsyncFunction = (async () => {}).constructor;
  return new AsyncFunction(...Object.keys(parameters), text)(...Object.values(parameters));
}

/** An axios sample of an API key's owner. */
const axiosSample = (name, apiKey) =>
  run(
    `${sample(name, [
      ["https://partners.ftmtapi.com", server],
      ["<YOUR_API_KEY>", apiKey],
    ])}\nreturn res;`,
    { require },
  );

/** The object of a payload sample, without the bare `...` that is no JavaScript. */
const payloadSample = (name) => run(`${sample(name, [["...", ""]])}\nreturn payload;`, {});

const send = (path, app, data) =>
  axios({ url: `${server}${path}`, method: "post", data, headers: { Authorization: `Bearer ${app.key}` } });

function created(res, id) {
  assert.equal(res.status, 200);
  assert.match(id, UUID);
  // As text, because the order of the keys is documented too.
  const text = JSON.stringify({ message: "User created successfully", email: "jane@doe.com", identifier: id });
  assert.equal(JSON.stringify(res.data), text);
}

const home = { clientId, key };

test("the axios sample of the create page enrols Jane", async () => {
  const res = await axiosSample("create-axios", home.key);
  created(res, res.data.identifier);
  assert.equal(res.headers["usher-version"], "2023-10-04");

  const { health, profile, phone } = usher("user", "show", "jane@doe.com", "--app", home.clientId, "--reveal", "a test");
  assert.equal(profile.given_name, "jane");
  assert.equal(phone, "1234567890");
  assert.equal(health.sex, "female");
  assert.deepEqual(health.metadata, { glp1Dosage: "10mg" });
});

test("the axios sample of the update page, which names an older date, changes Jane", async () => {
  const res = await axiosSample("update-axios", home.key);
  assert.equal(res.status, 200);
  assert.equal(res.headers["usher-version"], "2023-08-22");
  const data = {
    email: "jane@doe.com",
    diabetes: 1,
    glp1drugs: false,
    doctorFullname: "Dr. House",
    medicalClearanceDescription: "Your medical clearance description",
    metadata: { glp1Dosage: "10mg" },
  };
  const { identifier } = res.data;
  assert.match(identifier, UUID);
  assert.equal(JSON.stringify(res.data), JSON.stringify({ message: "User updated successfully", identifier, data }));
});

test("the payload of the create page, then that of the update page, without a version header", async () => {
  const app = newApp();
  const payload = await payloadSample("create-payload");
  assert.deepEqual(payload.metadata, { key: "value" });
  const made = await send("/users/create", app, payload);
  const id = made.data.identifier;
  created(made, id);
  assert.equal(made.headers["usher-version"], "2023-10-04");

  const change = await payloadSample("update-payload");
  const changed = await send("/users/update", app, { ...change, metadata: { ...change.metadata, other: "x" } });
  assert.equal(changed.status, 200);
  const data = {
    email: "jane@doe.com",
    diabetes: 0,
    glp1drugs: true,
    doctorFullname: "Dr. House",
    medicalClearanceDescription: "Your medical clearance description",
    metadata: { key: "value", other: "x" },
  };
  const text = JSON.stringify({ message: "User updated successfully", identifier: id, data });
  assert.equal(JSON.stringify(changed.data), text);

  // Sent as it stands, its metadata takes the place of all that was there.
  const again = await send("/users/update", app, change);
  assert.deepEqual(again.data.data, { ...data, metadata: { key: "value" } });
});

test("the create sample sent twice is refused in the documented words", async () => {
  const refusal = await axiosSample("create-axios", home.key).catch((error) => error.response);
  assert.equal(refusal.status, 409);
  assert.equal(refusal.data.message, "Email already exists");
});

/** What stands in the directory sample for `String`; the other fields get their own name. */
const STRINGS = { email: "jane@new.example", birthdate: "1990-12-24", phone_number: "+1 202 555 0123" };

/** The directory sample as this method, with its three wrong quotes put right. It must print nothing. */
async function directorySample(method, user, app, replacements) {
  let answer;
  const parameters = {
    console: { error: (error) => assert.fail(error) },
    // The sample keeps the answer to itself, so it is looked at on the way.
    fetch: async (...request) => {
      answer = await fetch(...request);
      return answer.clone();
    },
  };
  const text = sample("directory-fetch", [
    ["https://api.userdocks.com", server],
    [":userId", user],
    ["method: 'POST'", `method: '${method}'`],
    ['language":', "language:"],
    ['salutation":', "salutation:"],
    ['salutationOther":', "salutationOther:"],
    ['acceptedNewsletter":', "acceptedNewsletter:"],
    ["'X-API-KEY': String", `'X-API-KEY': '${app.key}'`],
    ["'X-CLIENT-ID': String", `'X-CLIENT-ID': '${app.clientId}'`],
    ...replacements,
  ]);
  await run(text, parameters);
  return answer;
}

async function accepted(answer) {
  assert.equal(answer.status, 200);
  const body = await answer.text();
  assert.equal(body, JSON.stringify({ success: true, message: JSON.parse(body).message, error: null, data: null }));
  assert.equal(typeof JSON.parse(body).message, "string");
}

for (const method of ["POST", "PUT"]) {
  test(`the fetch sample of the directory page by ${method}, with values in place of the type names`, async () => {
    const app = newApp();
    const id = await enrol(app);
    const before = usher("user", "show", id, "--reveal", "a test");
    const text = readFileSync(new URL("samples/directory-fetch.txt", import.meta.url), "utf8");
    const named = [...text.matchAll(/^(\w+)"?: String/gm)].map(([, name]) => name);
    assert.equal(named.length, 20, "19 fields and the id");
    const values = named.map((name) => [`\n${name}: String`, `\n${name}: ${JSON.stringify(STRINGS[name] ?? name)}`]);
    const booleans = ["acceptedNewsletter", "freezed", "deleted", "tenantId"].map((name) => [
      `\n${name}: Boolean`,
      `\n${name}: true`,
    ]);
    await accepted(await directorySample(method, id, app, [...values, ...booleans]));

    const after = usher("user", "show", id, "--reveal", "a test");
    assert.equal(after.email, "jane@new.example");
    assert.equal(after.phone, "+1 202 555 0123");
    assert.equal(after.profile.birthdate, "1990-12-24");
    assert.equal(after.profile.acceptedNewsletter, true);
    for (const name of named.filter((name) => !["id", "email", "phone_number", "birthdate"].includes(name))) {
      assert.equal(after.profile[name], name);
    }
    // Nobody moves, freezes or deletes a user in passing.
    for (const name of ["id", "tenantId", "frozenAt", "deletedAt"]) assert.equal(after[name], before[name]);
  });

  test(`the fetch sample of the directory page by ${method} as it stands, which sends an empty user`, async () => {
    const app = newApp();
    const id = await enrol(app);
    const before = usher("user", "show", id, "--reveal", "a test");
    await accepted(await directorySample(method, id, app, []));
    const { updatedAt, ...after } = usher("user", "show", id, "--reveal", "a test");
    assert.deepEqual({ updatedAt: before.updatedAt, ...after }, before);
  });
}
