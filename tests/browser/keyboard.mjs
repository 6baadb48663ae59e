// The dashboard and the documentation by the keyboard alone: Tab comes by everything that can be done on a page, and whoever goes
// there sees where they are.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { clientId, enrol, key, server, usher } from "../contract/usher.mjs";
import { browse, SIZES } from "./chromium.mjs";

const base = `/admin/${clientId}/sandbox`;
const PAGES = ["", "/users", "/imports", "/mails", "/mails/templates", "/mails/templates/enrolment/en", "/keys", "/webhooks", "/requests", "/audit", "/settings", "/admins"];
/** A page of each kind: with tabs and examples, with a form that tries a request, with what a search found. */
const DOCS = ["/docs/quick-start", "/docs/reference/partner/createUser", "/docs/search?q=idempotency"];
/** More presses than any page needs. */
const MOST = 400;

before(() => usher("admin", "create", "ann@clinic.example", "--role", "owner"));

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

/** Presses Tab until what is meant has the focus. */
async function tabTo(page, meant) {
  for (let presses = 0; presses < MOST; presses++) {
    await page.keyboard.press("Tab");
    if (await meant.evaluate((e) => e === document.activeElement)) return;
  }
  assert.fail(`${meant} is never come to`);
}

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
