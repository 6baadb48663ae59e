// Chromium for the scripts here: it may reach nothing but the server, must have nothing to complain about, and everybody
// must be able to use what it shows.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { server } from "../contract/usher.mjs";
import { watch } from "./actions.mjs";

const { CHROMIUM, SCREENSHOTS } = process.env;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Keeps Chromium from calling home, so that every request is the page's. */
const QUIET = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export const SIZES = { phone: { width: 390, height: 844 }, desk: { width: 1280, height: 800 } };
export const THEMES = ["light", "dark"];

/** What Chromium says of the account's own script in the preview of a mail, which may run none. */
const IN_A_FRAME = /^Blocked script execution in '[^']*\/mails\/[^']*\/html/;

/** Runs `use` with a fresh browser's page, then checks that it reached nothing but the server and `others`, and
 * complained of nothing but `complaints`, each of which it must. `settings` are a context's. */
export async function browse(use, { others = [], complaints = [], ...settings } = {}) {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: QUIET });
  try {
    const context = await browser.newContext(settings);
    context.setDefaultTimeout(20_000);
    const heard = [];
    const requests = [];
    context.on("console", (message) => ["error", "warning"].includes(message.type()) && !IN_A_FRAME.test(message.text()) && heard.push(`${message.text()} ${message.location().url}`));
    context.on("weberror", (error) => heard.push(String(error.error())));
    context.on("request", (request) => requests.push(request.url()));
    await watch(context);
    await use(await context.newPage());
    assert.deepEqual(heard.filter((text) => !complaints.some((expected) => expected.test(text))), []);
    for (const expected of complaints) assert.ok(heard.some((text) => expected.test(text)), `${expected} was not heard`);
    const allowed = [server, ...others];
    assert.ok(requests.length > 0);
    assert.deepEqual(requests.filter((url) => !allowed.some((origin) => url.startsWith(`${origin}/`))), []);
  } finally {
    await browser.close();
  }
}

/** Checks the page at two widths in both themes, and keeps pictures in the folder SCREENSHOTS if somebody wants them. Which
 * database is behind it makes no difference to that, so on PostgreSQL it is not looked at again. */
export async function look(page, name, rules = {}) {
  if (process.env.DATABASE) return;
  for (const [size, viewport] of Object.entries(SIZES)) {
    await page.setViewportSize(viewport);
    for (const colorScheme of THEMES) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      const what = `${name}-${size}-${colorScheme}`;
      if (SCREENSHOTS) {
        mkdirSync(SCREENSHOTS, { recursive: true });
        await page.screenshot({ path: join(SCREENSHOTS, `${what}.png`), fullPage: true });
      }
      const { width, small } = await page.evaluate(measure);
      assert.ok(width <= viewport.width, `${what} scrolls sideways: ${width}`);
      assert.deepEqual(small, [], `${what} has buttons too small for a finger`);
      assert.deepEqual(await faults(page, rules), [], what);
    }
  }
  await page.setViewportSize(SIZES.desk);
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
}

/** Runs in the page. The dashboard's rows are dense and hold small buttons; elsewhere a thumb must hit them. */
function measure() {
  const controls = [...document.querySelectorAll("body:not(.dash) main :is(button, input, select)")];
  const small = controls.filter((e) => e.checkVisibility() && !e.matches("[type=checkbox], [type=radio]") && e.offsetHeight < 40);
  return { width: document.documentElement.scrollWidth, small: small.map((e) => e.outerHTML.slice(0, 80)) };
}

/** What axe finds on the page as it is. */
async function faults(page, rules) {
  // The pages' policy forbids scripts that are not theirs, so axe comes as the debugger's.
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
  return page.evaluate(async (rules) => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"], ...rules });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, any }) => `${html.slice(0, 120)} ${any.map(({ message }) => message)}`).join(" | ")}`);
  }, rules);
}
