// The dashboard and the documentation by the keyboard alone: Tab comes by everything that can be done on a page, and whoever goes
// there sees where they are.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { clientId, enrol, key, server, usher } from "../contract/usher.mjs";
import { browse, SIZES } from "./chromium.mjs";

const base = `/admin/${clientId}/sandbox`;
const PAGES = ["", "/users", "/imports", "/mails", "/mails/templates", "/mails/templates/enrolment/en", "/keys", "/webhooks", "/requests", "/audit", "/settings", "/admins"];
/** A page of each kind: with tabs and examples, with a form that tries a request, with what a search found. */
const DOCS = ["/docs/quick-start", "/docs/reference/partner/createUser", "/docs/search?q=idempotency"];
/** What of a user has a page of its own. */
const TABS = ["", "/health", "/subscription", "/mail", "/sessions", "/events", "/story", "/json"];
/** Where the pages are that have no address known beforehand: behind the first row of each of these. */
const LISTS = ["/imports", "/mails", "/keys", "/webhooks", "/requests", "/audit"];
/** More presses than any page needs. */
const MOST = 400;

/** An endpoint that hears webhooks. */
const endpoint = createServer((request, response) => request.resume().on("end", () => response.end("thank you")));

before(async () => {
  usher("admin", "create", "ann@clinic.example", "--role", "owner");
  await new Promise((listening) => endpoint.listen(0, "127.0.0.1", listening));
});
after(() => {
  // Usher keeps its lines to it open.
  endpoint.closeAllConnections();
  endpoint.close();
});

async function signIn(page) {
  await page.goto(usher("admin", "link", "ann@clinic.example", "--public-url", server).link);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.waitForURL(`${server}/admin/**`);
}

/** Runs in the page: takes note of what can be reached. Of radio buttons that belong together, Tab comes to one. */
function note() {
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, iframe, [tabindex='0']")];
  const one = (e) => e.type !== "radio" || e === [...document.querySelectorAll(`input[name="${e.name}"]`)].find((other) => other.checked);
  window.left = new Set(all.filter((e) => e.checkVisibility() && !e.disabled && e.type !== "hidden" && one(e)));
}

/** Runs in the page: what is wrong with where the focus is, if anything, and whether there is more to come to. */
function arrive() {
  const e = document.activeElement;
  if (e === document.body) return { done: window.left.size === 0 };
  window.left.delete(e);
  // A radio button that cannot be seen is its label.
  const seen = e.type === "radio" && getComputedStyle(e).opacity === "0" ? e.closest("label") : e;
  const { outlineStyle, outlineWidth, opacity } = getComputedStyle(seen);
  const box = e.getBoundingClientRect();
  const [x, y] = [(Math.max(box.left, 0) + Math.min(box.right, innerWidth)) / 2, (Math.max(box.top, 0) + Math.min(box.bottom, innerHeight)) / 2];
  const there = document.elementFromPoint(x, y);
  const faults = [];
  if (e.localName !== "iframe" && (outlineStyle === "none" || parseFloat(outlineWidth) < 2 || opacity < 1)) faults.push("does not show that it has the focus");
  if (!there || !(e.contains(there) || there.contains(e))) faults.push(`is covered by ${there?.outerHTML.slice(0, 60)}`);
  return { done: window.left.size === 0, faults: faults.map((fault) => `${e.outerHTML.slice(0, 90)} ${fault}`) };
}

/** Presses a key until everything was come to. */
async function walk(page, press) {
  await page.evaluate(note);
  const faults = [];
  for (let presses = 0; presses < MOST; presses++) {
    await page.keyboard.press(press);
    const now = await page.evaluate(arrive);
    faults.push(...(now.faults ?? []));
    if (now.done) break;
  }
  faults.push(...(await page.evaluate(() => [...window.left].map((e) => `${e.outerHTML.slice(0, 90)} is never come to`))));
  return [...new Set(faults)];
}

for (const [size, press] of [["desk", "Shift+Tab"], ["phone", "Tab"]]) {
  test(`everything on every page is come to and seen by ${press}, ${size}`, () =>
    browse(
      async (page) => {
        await enrol({ clientId, key }, { email: `${size}@doe.com`, phonenumber: size === "desk" ? "2025550101" : "2025550102" });
        await page.setViewportSize(SIZES[size]);
        await page.goto(`${server}/admin/sign-in`);
        const faults = await walk(page, press);
        await signIn(page);
        for (const path of [...PAGES, `/search?q=${size}@doe.com`]) {
          await page.goto(server + base + path);
          for (const fault of await walk(page, press)) faults.push(`${path}: ${fault}`);
        }
        for (const path of DOCS) {
          await page.goto(server + path);
          for (const fault of await walk(page, press)) faults.push(`${path}: ${fault}`);
        }
        assert.deepEqual(faults, []);
      },
    ));
}

/** Where the first row of the list on the page leads. */
const behind = (page) => page.locator("tbody .row-link, tbody th a").first().getAttribute("href");

/** Makes one of each thing that has a page, with a delivery of the webhook. */
async function furnish(page) {
  await page.goto(`${server}${base}/webhooks`);
  await page.getByLabel("Address").fill(`http://127.0.0.1:${endpoint.address().port}/usher`);
  await page.getByRole("button", { name: "Make the webhook" }).click();
  await page.getByRole("link", { name: "I have copied it" }).click();
  await page.getByRole("button", { name: "Send a test" }).click();
  await page.getByText("A test is on its way.").waitFor();
  await page.goto(`${server}${base}/imports`);
  const buffer = Buffer.from("email,First name\nzoe@doe.com,Zoe");
  await page.getByLabel("File").setInputFiles({ name: "people.csv", mimeType: "text/csv", buffer });
  await page.getByRole("button", { name: "Look at it" }).click();
  await page.getByRole("button", { name: "Rehearse it" }).click();
  await page.getByRole("button", { name: "Import 1 people" }).waitFor();
}

test("everything on the page of one user, import, mail, key, webhook, request and entry is come to and seen, either way", () =>
  browse(async (page) => {
    const id = await enrol({ clientId, key }, { email: "pat@doe.com", phonenumber: "2025550103" });
    await signIn(page);
    await furnish(page);
    const pages = TABS.map((tab) => `${base}/users/${id}${tab}`);
    for (const list of LISTS) {
      await page.goto(`${server}${base}${list}`);
      pages.push(await behind(page));
    }
    await page.goto(server + pages.find((path) => path.includes("/webhooks/")));
    pages.push(await behind(page));
    assert.equal(new Set(pages).size, TABS.length + LISTS.length + 1);
    const faults = [];
    for (const [index, path] of pages.entries()) {
      const isOdd = index % 2 === 1;
      await page.setViewportSize(isOdd ? SIZES.phone : SIZES.desk);
      await page.goto(server + path);
      for (const fault of await walk(page, isOdd ? "Tab" : "Shift+Tab")) faults.push(`${path}: ${fault}`);
    }
    assert.deepEqual(faults, []);
  }));

/** Presses Tab until what is meant has the focus. */
async function tabTo(page, meant) {
  for (let presses = 0; presses < MOST; presses++) {
    await page.keyboard.press("Tab");
    if (await meant.evaluate((e) => e === document.activeElement)) return;
  }
  assert.fail(`${meant} is never come to`);
}

test("a user is found, frozen, and erased for good without a mouse", () =>
  browse(async (page) => {
    await enrol({ clientId, key }, { email: "kim@doe.com", phonenumber: "2025550104", firstname: "Kim" });
    await signIn(page);
    await page.goto(`${server}${base}/users`);
    await tabTo(page, page.getByRole("link", { name: "Kim doe" }));
    await page.keyboard.press("Enter");
    await page.waitForURL(`${server}${base}/users/*`);
    await tabTo(page, page.getByRole("button", { name: "Freeze" }));
    await page.keyboard.press("Space");
    await page.getByRole("status").filter({ hasText: "Frozen" }).waitFor();
    assert.equal(usher("user", "show", "kim@doe.com").status, "frozen");
    await page.waitForLoadState();
    const erase = page.getByRole("button", { name: "Erase for good" });
    assert.ok(await erase.isDisabled(), "it waits for its words");
    await tabTo(page, page.locator("#confirm-erase"));
    await page.keyboard.type("kim@doe.com");
    await tabTo(page, erase);
    await page.keyboard.press("Enter");
    await page.getByRole("status").filter({ hasText: "Erased." }).waitFor();
    assert.equal(usher("user", "list").some(({ email }) => email === "kim@doe.com"), false);
  }));

test("the documentation is searched, read, copied from and tried without a mouse", () =>
  browse(async (page) => {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.goto(`${server}/docs`);
    await tabTo(page, page.getByRole("searchbox"));
    await page.keyboard.type("idempotency key reused");
    await page.keyboard.press("Enter");
    await tabTo(page, page.getByRole("link", { name: "idempotency_key_reused" }).first());
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/docs\/errors#idempotency_key_reused$/);

    await page.goto(`${server}/docs/quick-start`);
    const tabs = page.locator(".tabs").first();
    const python = tabs.getByRole("radio", { name: "Python" });
    await tabTo(page, tabs.getByRole("radio").first());
    while (!(await python.isChecked())) await page.keyboard.press("ArrowRight");
    assert.equal(await page.getByText("import json, os, urllib.request").first().isVisible(), true);
    await tabTo(page, tabs.locator(".copy:visible"));
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Copied" }).waitFor();
    assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^import json, os/);

    await page.goto(`${server}/docs/reference/partner/createUser`);
    await tabTo(page, page.getByLabel("Sandbox key"));
    await page.keyboard.type(key);
    await tabTo(page, page.getByRole("button", { name: "Send" }));
    await page.keyboard.press("Enter");
    await page.getByRole("status").filter({ hasText: "User created successfully" }).waitFor();
  }));

test("the first key leads past the navigation, and a menu gives the focus back", () =>
  browse(async (page) => {
    await signIn(page);
    await page.goto(`${server}${base}/users`);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    const inMain = () => page.evaluate(() => document.activeElement.closest("main") !== null);
    assert.ok(await inMain(), "past the navigation");
    const menu = page.locator("details.switch");
    await menu.locator("summary").focus();
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    assert.ok(await menu.locator("li a").first().evaluate((e) => e === document.activeElement));
    await page.keyboard.press("Escape");
    assert.ok(await menu.locator("summary").evaluate((e) => e === document.activeElement && !e.parentElement.open));
  }));
