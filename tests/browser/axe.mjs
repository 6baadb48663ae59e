// The dashboard as its readers have it: both themes, a desk and a phone, and axe to say what they could not use.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SIZES = { desk: { width: 1280, height: 860 }, phone: { width: 390, height: 844 } };

/** Checks the page at two widths in both themes, and keeps pictures in the folder SCREENSHOTS if somebody wants them. */
export async function inspect(page, name) {
  for (const [size, viewport] of Object.entries(SIZES)) {
    await page.setViewportSize(viewport);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      const what = `${name}-${size}-${colorScheme}`;
      if (process.env.SCREENSHOTS) {
        mkdirSync(process.env.SCREENSHOTS, { recursive: true });
        await page.screenshot({ path: join(process.env.SCREENSHOTS, `${what}.png`), fullPage: true });
      }
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= viewport.width, `${what} scrolls sideways: ${width}`);
      // The pages' policy forbids scripts that are not theirs, so axe comes as the debugger's.
      await page.evaluate(AXE);
      const found = await page.evaluate(async () => {
        const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
        return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, any }) => `${html.slice(0, 120)} ${any.map(({ message }) => message)}`).join(" | ")}`);
      });
      assert.deepEqual(found, [], what);
    }
  }
  await page.setViewportSize(SIZES.desk);
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
}
