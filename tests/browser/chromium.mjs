// Chromium for the scripts here: it may reach nothing but the server, and must have nothing to complain about.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { server } from "../contract/usher.mjs";

const { CHROMIUM, SCREENSHOTS } = process.env;

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

/** Runs `use` with a fresh browser's page, then checks that it reached nothing but the server and `others`, and
 * complained of nothing but `complaints`, each of which it must. */
export async function browse(use, { others = [], complaints = [], javaScript = true } = {}) {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: QUIET });
  try {
    const context = await browser.newContext({ javaScriptEnabled: javaScript });
    context.setDefaultTimeout(10_000);
    const page = await context.newPage();
    const heard = [];
    const requests = [];
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && heard.push(`${message.text()} ${message.location().url}`));
    page.on("pageerror", (error) => heard.push(String(error)));
    page.on("request", (request) => requests.push(request.url()));
    await use(page);
    assert.deepEqual(heard.filter((text) => !complaints.some((expected) => expected.test(text))), []);
    for (const expected of complaints) assert.ok(heard.some((text) => expected.test(text)), `${expected} was not heard`);
    const allowed = [server, ...others];
    assert.ok(requests.length > 0);
    assert.deepEqual(requests.filter((url) => !allowed.some((origin) => url.startsWith(`${origin}/`))), []);
  } finally {
    await browser.close();
  }
}

/** Checks the page as a phone and as a desk see it, light and dark, and keeps pictures in the folder
 * SCREENSHOTS if somebody wants them. */
export async function look(page, name) {
  const sizes = { phone: { width: 360, height: 740 }, desk: { width: 1280, height: 800 } };
  for (const [size, viewport] of Object.entries(sizes)) {
    await page.setViewportSize(viewport);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      const what = `${name}-${size}-${colorScheme}`;
      const seen = await page.evaluate(measure);
      assert.ok(seen.width <= viewport.width, `${what} scrolls sideways: ${seen.width}`);
      assert.deepEqual(seen.faint, [], `${what} has text that is hard to read`);
      assert.deepEqual(seen.small, [], `${what} has buttons too small for a finger`);
      assert.deepEqual(seen.nameless, [], `${what} has fields without a label`);
      if (SCREENSHOTS) {
        mkdirSync(SCREENSHOTS, { recursive: true });
        await page.screenshot({ path: join(SCREENSHOTS, `${what}.png`), fullPage: true });
      }
    }
  }
  await page.emulateMedia({ colorScheme: null });
}

/** Runs in the page. Contrast by WCAG 2: 4.5 to 1 for text. */
function measure() {
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = numbers(color).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if (numbers(color)[3] !== 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const contrast = (element) => {
    const [a, b] = [luminance(getComputedStyle(element).color), luminance(ground(element))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const all = [...document.querySelectorAll("main *")].filter((element) => element.offsetParent !== null);
  const texts = all.filter((e) => e.matches("input") || [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
  return {
    width: document.documentElement.scrollWidth,
    faint: texts.filter((e) => contrast(e) < 4.5).map((e) => `${e.outerHTML.slice(0, 80)} ${contrast(e).toFixed(2)}`),
    small: all.filter((e) => e.matches("button, input") && e.offsetHeight < 40).map((e) => e.outerHTML.slice(0, 80)),
    nameless: all.filter((e) => e.matches("input") && e.labels.length === 0).map((e) => e.name),
  };
}
