// Chromium for the scripts here: it may reach nothing but the server, must have nothing to complain about, and everybody
// must be able to use what it shows.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { server } from "../contract/usher.mjs";
import { noteLook, watch } from "./actions.mjs";

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

/** The narrow one is what WCAG asks for (1.4.10): a small phone, or a screen of 1280 at 400 %. */
export const SIZES = { phone: { width: 320, height: 640 }, desk: { width: 1280, height: 800 } };
export const THEMES = ["light", "dark"];
/** What axe finds wrong with colours, the only thing in which a theme differs from the other at the same width. */
const COLOURS = { runOnly: { type: "rule", values: ["color-contrast", "link-in-text-block"] } };
/** What is looked at: each width in each theme, of which axe takes one whole, and what zooms in to 200 %, of which only the size matters. */
const LOOKS = [
  { size: "phone", colorScheme: "dark", only: {} },
  { size: "phone", colorScheme: "light", only: COLOURS },
  { size: "zoomed", colorScheme: "light" },
  { size: "desk", colorScheme: "light", only: {} },
  { size: "desk", colorScheme: "dark", only: COLOURS },
];
const VIEWPORTS = { ...SIZES, zoomed: { width: 640, height: 400 } };

/** What Chromium says of the account's own script in the preview of a mail, which may run none. */
const IN_A_FRAME = /^Blocked script execution in '[^']*\/mails\/[^']*\/html/;

let browser;
let idle;

/** A browser for all that is done here; it ends when nobody has wanted one for a moment. */
async function launch() {
  clearTimeout(idle);
  browser ??= chromium.launch({ executablePath: CHROMIUM, args: QUIET });
  return browser;
}

function leave() {
  idle = setTimeout(async () => {
    const last = await browser;
    browser = undefined;
    await last.close();
  }, 200);
}

/** Runs `use` with the page of a visitor whom nothing is known of, then checks that it reached nothing but the server and `others`, and
 * complained of nothing but `complaints`, each of which it must. `settings` are a context's. */
export async function browse(use, { others = [], complaints = [], ...settings } = {}) {
  const context = await (await launch()).newContext(settings);
  try {
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
    await context.close();
    leave();
  }
}

/** Opens a link ten times by a browser that runs scripts and follows redirects, as scanners of mail do, and lets `see` look each
 * time. The last one stays until nothing more is asked for. */
export async function scan(page, link, see = () => {}) {
  for (let more = 9; more >= 0; more--) {
    await page.goto(link, { waitUntil: more ? "load" : "networkidle" });
    await see();
  }
}

/** Checks the page as [`LOOKS`] says, and keeps pictures in the folder SCREENSHOTS if somebody wants them. Which database is
 * behind it makes no difference to that, so on PostgreSQL it is not looked at again. */
export async function look(page, name, rules = {}) {
  if (process.env.DATABASE) return;
  noteLook(page);
  for (const { size, colorScheme, only } of LOOKS) {
    const viewport = VIEWPORTS[size];
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    const what = `${name}-${size}-${colorScheme}`;
    if (SCREENSHOTS) {
      mkdirSync(SCREENSHOTS, { recursive: true });
      await page.screenshot({ path: join(SCREENSHOTS, `${what}.png`), fullPage: true });
    }
    const { width, small, sideways } = await page.evaluate(measure);
    assert.ok(width <= viewport.width, `${what} scrolls sideways: ${width}`);
    assert.deepEqual(sideways, [], `${what} has parts that scroll sideways and are no tables`);
    assert.deepEqual(small, [], `${what} has buttons too small for a finger`);
    if (only) assert.deepEqual(await faults(page, { ...rules, ...only }), [], what);
  }
  await page.setViewportSize(SIZES.desk);
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
}

/** Runs in the page. The dashboard's rows are dense and hold small buttons; elsewhere a thumb must hit them. */
function measure() {
  const controls = [...document.querySelectorAll("body:not(.dash) main :is(button, input, select)")];
  const small = controls.filter((e) => e.checkVisibility() && !e.matches("[type=checkbox], [type=radio]") && e.offsetHeight < 40);
  const scrolls = (e) => e.scrollWidth > e.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
  const sideways = [...document.querySelectorAll("body *")].filter((e) => !e.matches(".table, pre, textarea") && scrolls(e));
  const shown = (all) => all.map((e) => e.outerHTML.slice(0, 80));
  return { width: document.documentElement.scrollWidth, small: shown(small), sideways: shown(sideways) };
}

/** What axe finds on the page as it is. */
async function faults(page, rules) {
  // The pages' policy forbids scripts that are not theirs, so axe comes as the debugger's.
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
  return page.evaluate(async (rules) => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"], preload: false, ...rules });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, any }) => `${html.slice(0, 120)} ${any.map(({ message }) => message)}`).join(" | ")}`);
  }, rules);
}
