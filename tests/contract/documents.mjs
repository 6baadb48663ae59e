// The OpenAPI documents under a validator that is not ours.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import { server } from "./usher.mjs";

const read = async (path) => (await fetch(`${server}${path}`)).json();
const { documents } = await read("/openapi");

test("there are five documents, and no validator finds fault with them", async () => {
  assert.equal(documents.length, 5);
  for (const path of documents) {
    const validator = new Validator();
    const { valid, errors } = await validator.validate(await read(path));
    assert.ok(valid, `${path}: ${JSON.stringify(errors)}`);
    assert.equal(validator.version, "3.1", path);
    // It throws for a reference that leads nowhere.
    assert.doesNotThrow(() => validator.resolveRefs(), path);
  }
});

test("the validator does find faults", async () => {
  const document = await read(documents[0]);
  document.paths["/users/create"].post.responses = [];
  assert.equal((await new Validator().validate(document)).valid, false);
});
