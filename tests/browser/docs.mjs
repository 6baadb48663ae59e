// The documentation: every page in both themes and at two widths, its search, its tabs, and the form that tries a request.
import assert from "node:assert/strict";
import { test } from "node:test";
import { clientId, jane, key, server, usher } from "../contract/usher.mjs";
import { assertAllDone, assertAllLooked } from "./actions.mjs";
import { browse, look } from "./chromium.mjs";

const addresses = async () => {
  const list = await (await fetch(`${server}/llms.txt`)).text();
  const found = [...list.matchAll(/^- \[.*?\]\((.*?)\.md\): /gm)].map(([, address]) => address.replace(/\/docs\/readme$/, "/docs"));
  assert.ok(found.length > 60, `${found.length} pages`);
  return found;
};

test("every page can be read in both themes and at two widths", () =>
  browse(async (page) => {
    for (const address of await addresses()) {
      await page.goto(address);
      assert.equal(await page.locator("h1").count(), 1, address);
      await look(page, `docs${new URL(address).pathname.slice(5).replaceAll("/", "-")}`);
    }
    await page.goto(`${server}/docs/search?q=webhook`);
    await look(page, "docs-search");
  }));

test("a reader searches, goes on to the next page, and keeps their language", () =>
  browse(async (page) => {
    await page.goto(`${server}/docs`);
    await page.getByRole("searchbox").fill("idempotency key reused");
    await page.keyboard.press("Enter");
    await page.getByRole("link", { name: "idempotency_key_reused" }).first().click();
    await page.waitForURL(/\/docs\/errors#idempotency_key_reused$/);

    await page.goto(`${server}/docs/quick-start`);
    await page.getByRole("link", { name: "This page as Markdown" }).click();
    await page.waitForURL(`${server}/docs/quick-start.md`);
    await page.goBack();
    await page.waitForURL(`${server}/docs/quick-start`);
    const python = page.getByRole("radio", { name: "Python" });
    assert.equal(await page.getByText("import json, os, urllib.request").first().isVisible(), false);
    await python.first().check();
    assert.equal(await page.getByText("import json, os, urllib.request").first().isVisible(), true);
    assert.equal(await python.nth(1).isChecked(), true, "all examples change");
    await page.getByRole("link", { name: /^Next/ }).click();
    await page.waitForURL((url) => url.pathname !== "/docs/quick-start");
    await page.goto(`${server}/docs/reference/directory/getUser`);
    assert.equal(await python.isChecked(), true, "the reference's too");
    assert.equal(await page.getByText("import os, urllib.request").isVisible(), true);
    await page.goto(`${server}/docs/enrol`);
    assert.equal(await python.first().isChecked(), true, "and the next page's");

    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await ground();
    await page.getByRole("button", { name: "Dark" }).click();
    await page.locator("html[data-theme=dark]").waitFor();
    assert.notEqual(await ground(), light, "the theme is kept");
    assert.match(page.url(), /\/docs\/enrol$/);

    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.locator(".tabs .code:visible").first().hover();
    await page.locator(".tabs .code:visible .copy").first().click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^import json, os, time/);
  }));

test("the form sends to the sandbox, refuses a live key, and keeps no key", () =>
  browse(
    async (page) => {
      const sent = [];
      page.on("request", (request) => request.method() === "POST" && sent.push(request));
      await page.goto(`${server}/docs/reference/partner/createUser`);
      const send = () => page.getByRole("button", { name: "Send" }).click();
      const said = page.getByRole("status");
      const live = usher("key", "create", "--app", clientId, "--environment", "live", "--access", "write").key;
      await page.getByLabel("Sandbox key").fill(live);
      await send();
      await said.filter({ hasText: "This is a live key" }).waitFor();
      assert.equal(sent.length, 0);

      await page.getByLabel("Sandbox key").fill(key);
      await send();
      await said.filter({ hasText: "User created successfully" }).waitFor();
      assert.equal(sent.length, 1, "the example of the page is a request that works");
      await look(page, "docs-tried");
      await send();
      await said.filter({ hasText: "Email already exists" }).waitFor();

      await page.goto(`${server}/docs/reference/directory/getUser`);
      assert.equal(await page.getByLabel("Sandbox key").inputValue(), "");
      await page.getByLabel("Sandbox key").fill(key);
      await page.getByLabel("Client id").fill(clientId);
      await page.getByLabel("userId").fill(jane.email);
      await send();
      await said.filter({ hasText: '"email": "jane@doe.com"' }).waitFor();
      const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));
      assert.ok(!kept.includes("usher_"), kept);
    },
    { complaints: [/status of 409 .*\/users\/create$/] },
  ));

test("without JavaScript everything can be read, searched and chosen", () =>
  browse(
    async (page) => {
      await page.goto(`${server}/docs/quick-start`);
      await page.getByRole("radio", { name: "Rust" }).first().check();
      assert.equal(await page.getByText("ureq::post").first().isVisible(), true);
      await page.getByRole("searchbox").fill("webhook");
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "Search" }).waitFor();
      await page.goto(`${server}/docs/reference/partner/createUser`);
      assert.equal(await page.getByRole("alert").textContent(), "This form needs JavaScript.");
    },
    { javaScriptEnabled: false },
  ));

test("nothing that can be done in the documentation was left out, and no page of it", () => {
  assertAllDone("/docs");
  assertAllLooked(process.env.ROUTES.split("\n").filter((route) => / \/docs/.test(route)));
});
