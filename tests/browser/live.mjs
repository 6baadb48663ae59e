// The pages that change by themselves: whoever works with the keyboard keeps their place on them, and whoever listens hears what
// there is to hear, once.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { clientId, enrol, key, server, usher } from "../contract/usher.mjs";
import { browse } from "./chromium.mjs";

const base = `${server}/admin/${clientId}/sandbox`;
const button = (page, name) => page.getByRole("button", { name, exact: true });

before(() => usher("admin", "create", "ann@clinic.example", "--role", "owner"));

async function signIn(page) {
  await page.goto(usher("admin", "link", "ann@clinic.example", "--public-url", server).link);
  await button(page, "Sign in").click();
  await page.waitForURL(`${server}/admin/**`);
}

/** The next time that the page has brought itself up to date. */
const refreshed = (page) =>
  page.evaluate(() => new Promise((done) => document.addEventListener("htmx:afterSettle", () => done(), { once: true })));

/** What has the focus: its words, or its id. */
const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim());

/** Keeps what is said at a place: each text that a screen reader would read out from now on. */
async function listen(page, place) {
  await page.locator(place).evaluate((status) => {
    window.heard = [];
    const hear = () => window.heard.push(status.isConnected ? status.textContent : "nothing: it is not on the page any more");
    new MutationObserver(hear).observe(status, { childList: true, characterData: true, subtree: true });
  });
}

/** What may be read out of a page, besides what is around every page. */
const live = (page) =>
  page.locator("[aria-live], [role=status], [role=alert]").evaluateAll((all) => all.map((one) => one.id || one.localName).filter((id) => !["trouble", "told"].includes(id)));

test("whoever is on a row of the requests stays on it while others come, and on the list when it is pushed out", () =>
  browse(async (page) => {
    const ask = () => fetch(`${server}/v1/users/me`);
    await ask();
    await signIn(page);
    await page.goto(`${base}/requests?live=1`);
    const row = page.locator("tbody a").first();
    await row.focus();
    const mine = await focused(page);
    for (let others = 1; others <= 3; others++) {
      await ask();
      await refreshed(page);
      assert.equal(await focused(page), mine);
      assert.equal(await page.locator("tbody tr").nth(others).locator("a").textContent(), mine, "others are above it");
    }
    await page.keyboard.press("Shift+Tab");
    assert.notEqual(await focused(page), mine, "the keyboard goes on from there");
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), mine);
    assert.deepEqual(await live(page), [], "no row is read out");
    for (let others = 0; others < 100; others++) await ask();
    await refreshed(page);
    await page.waitForFunction(() => document.activeElement.id === "list");
  }));

test("whoever is on the page of an import stays where they are, hears each tenth at the most, and the end once", () =>
  browse(async (page) => {
    await signIn(page);
    const rows = Array.from({ length: 40_000 }, (_, n) => `person${n}@example.com,Ann`);
    await page.goto(`${base}/imports`);
    await page.getByLabel("File").setInputFiles({ name: "people.csv", mimeType: "text/csv", buffer: Buffer.from(["email,given_name", ...rows].join("\n")) });
    await button(page, "Look at it").click();
    await button(page, "Rehearse it").click();
    await button(page, "Import 40\u202f000 people").click({ timeout: 60_000 });
    await page.getByRole("progressbar").waitFor();
    await listen(page, "#import > [role=status]");
    await page.locator("#words").pressSequentially("und");
    const command = page.locator(".command summary");
    await command.focus();
    await page.keyboard.press("Enter");
    const copy = button(page, "Copy the command");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    const mine = await focused(page);
    assert.equal(mine, await copy.textContent());
    let refreshes = 0;
    while (await page.getByRole("progressbar").count()) {
      await refreshed(page);
      assert.equal(await focused(page), mine);
      assert.ok(await copy.isVisible(), "what was opened stays open");
      assert.equal(await page.locator("#words").inputValue(), "und", "what was typed stays");
      assert.ok(await button(page, "Take the import back").isDisabled());
      refreshes++;
    }
    assert.ok(refreshes >= 3, `${refreshes} refreshes`);
    const heard = await page.evaluate(() => window.heard);
    const end = "Import done. Imported: 40\u202f000. There already: 0. Failed: 0.";
    assert.equal(heard.at(-1), end);
    assert.ok(heard.slice(0, -1).every((text) => /^\d+ %$/.test(text)), heard);
    assert.equal(new Set(heard).size, heard.length, `nothing is said twice: ${heard}`);
    assert.deepEqual(await live(page), ["p"]);
    const quiet = await Promise.race([refreshed(page), new Promise((done) => setTimeout(() => done("quiet"), 2500))]);
    assert.equal(quiet, "quiet", "what has ended is not asked for any more");
  }));

test("whoever may no longer look sees nothing any more, and their page does not ask on", () =>
  browse(
    async (page) => {
      await signIn(page);
      await page.goto(`${base}/requests?live=1`);
      await refreshed(page);
      await page.context().clearCookies();
      await page.getByRole("heading", { name: "Sign in to the dashboard" }).waitFor();
      const asked = await Promise.race([page.waitForRequest(() => true), new Promise((done) => setTimeout(done, 5000))]);
      assert.equal(asked, undefined);
    },
    { complaints: [/401/] },
  ));

test("of a search its count is heard, and not its rows", () =>
  browse(async (page) => {
    await signIn(page);
    await enrol({ clientId, key });
    await page.goto(`${base}/users`);
    await listen(page, "#found");
    for (const [text, count] of [["jane@doe.com", "One user"], ["nobody@doe.com", "Nobody was found"]]) {
      await page.locator("#q").fill(text);
      await page.getByRole("status").filter({ hasText: count }).waitFor({ state: "attached" });
      assert.equal(await focused(page), "q");
    }
    assert.deepEqual(await page.evaluate(() => window.heard), ["One user", "Nobody was found"]);
    assert.deepEqual(await live(page), ["found"]);
  }));
