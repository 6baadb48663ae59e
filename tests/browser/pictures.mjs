// The pictures of the README and the documentation, made of a sandbox that has a month behind it. `just pictures` makes them
// anew, each with the words that it shows; every other run shows that they can be made, and that the pages still say so.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { clientId, enrol, key, server, usher } from "../contract/usher.mjs";
import { browse, THEMES } from "./chromium.mjs";

const { DATA, PICTURES } = process.env;
const folder = PICTURES ?? fileURLToPath(new URL("../../docs/pictures", import.meta.url));
const base = `${server}/admin/${clientId}/sandbox`;
const LARGEST = 200_000;
const NAMES = "Amira Ben Chloe Diego Emma Farid Grace Hugo Ines Jonas Kenji Lena Marta Nia Omar Paula Quinn Rosa Samir Tara".split(" ");
const FAMILIES = "Abbott Bauer Costa Dubois Evans Fischer Garcia Haddad Ivanova Jensen Keller Lopez Meyer Novak Okafor Petit Rossi".split(" ");

/** What is another at each run, and what stands for it: ids, addresses, who of those with a made-up name comes first, times, counts. */
const VARIES = [
  [/https?:\/\/\S+/g, "(address)"],
  [/\b[0-9a-f]{8}(-[0-9a-f-]{27})?\b|\b[\w-]{40,}/g, "(id)"],
  [/\b[a-z]+\.[a-z]+\d+@example\.com/g, "(e-mail)"],
  [new RegExp(`\\b(${NAMES.join("|")}) (${FAMILIES.join("|")})\\b`, "g"), "(name)"],
  [/\bjust now\b|\byesterday\b|\b\d+ (min|h|days) ago\b/g, "(time)"],
  [/\d+(?:[.,:\u202f]\d+)*[kM]?/g, "#"],
  [/\b(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:tember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?) #|# (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b/g, "(day)"],
  [/#\s?[AP]M\b/g, "#"],
];

/** The words that a page shows, its fields' and its mail's too, a line each. As many of the same one after the other as an axis has
 * marks are one. */
async function words(page) {
  const fields = await page.locator("input").evaluateAll((all) => all.filter((e) => e.checkVisibility()).map((e) => e.value || e.placeholder));
  const texts = [await page.locator("body").innerText(), ...fields];
  if (await page.locator("iframe.preview").count()) texts.push(await page.frameLocator("iframe.preview").locator("body").innerText());
  const lines = texts.flatMap((text) => VARIES.reduce((text, [what, word]) => text.replaceAll(what, word), text).split("\n"));
  const said = lines.map((line) => line.replaceAll(/\s+/g, " ").trim()).filter(Boolean);
  return `${said.filter((line, i) => line !== said[i - 1]).join("\n")}\n`;
}

/** Keeps a picture in each theme, and its words; without PICTURES, compares the words with those that were kept. */
async function picture(page, name, { width = 1280, height = 800 } = {}) {
  await page.setViewportSize({ width, height });
  const chromium = await page.context().newCDPSession(page);
  for (const colorScheme of THEMES) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    // Playwright itself knows no WebP.
    const { data } = await chromium.send("Page.captureScreenshot", { format: "webp", quality: 80 });
    const picture = Buffer.from(data, "base64");
    assert.ok(picture.length < LARGEST, `${name}-${colorScheme} is too large`);
    if (PICTURES) writeFileSync(join(folder, `${name}-${colorScheme}.webp`), picture);
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
  const [file, now] = [join(folder, `${name}.txt`), await words(page)];
  if (PICTURES) writeFileSync(file, now);
  else assert.equal(now, readFileSync(file, "utf8"), `the page says something else than docs/pictures/${name}-light.webp: \`just pictures\``);
}

/** People who have come one after the other, and of whom every third has signed in. */
async function enrolMany() {
  const rows = Array.from({ length: 240 }, (_, i) => {
    const [name, family] = [NAMES[i % NAMES.length], FAMILIES[(i * 7) % FAMILIES.length]];
    return `${name.toLowerCase()}.${family.toLowerCase()}${i}@example.com,${name},${family},+1 202 555 ${String(1000 + i).slice(-4)}`;
  });
  const files = mkdtempSync(join(tmpdir(), "usher-"));
  const take = (name, rows, ...more) => {
    const list = join(files, name);
    writeFileSync(list, ["email,given_name,family_name,phone_number", ...rows].join("\n"));
    usher("import", list, "--environment", "sandbox", "--tenant", "Clinic North", ...more);
  };
  take("came.csv", rows.filter((_, i) => i % 3));
  take("in.csv", rows.filter((_, i) => i % 3 === 0), "--send-links", "--public-url", server);
  for (const mail of usher("mail", "list", "--limit", "100")) {
    const answer = await fetch(usher("mail", "show", mail.id).links[0], { method: "POST", redirect: "manual" });
    assert.equal(answer.status, 303);
  }
}

/** Moves what has just happened into the last month, more of it on some days than on others: charts have something to show. */
function spread() {
  const script = `
import sqlite3, sys
file = sqlite3.connect(sys.argv[1], timeout=10)
DAY = 86_400_000
def weight(back):
    return 1 if back % 7 in (0, 6) else 3 + back * 5 % 4 + (30 - back) // 8
days = [back for back in range(30) for _ in range(weight(back))]
for table in ("users", "sessions"):
    rows = [row[0] for row in file.execute(f"SELECT rowid FROM {table} ORDER BY created_at DESC")]
    for i, row in enumerate(rows[1:]):
        back = days[i * len(days) // len(rows)] * DAY + i * 60_000
        file.execute(f"UPDATE {table} SET created_at = created_at - ? WHERE rowid = ?", (back, row))
file.commit()`;
  execFileSync("python3", ["-c", script, join(DATA, "usher.db")]);
}

test("the pictures are made", () =>
  browse(async (page) => {
    await enrolMany();
    await enrol({ clientId, key }, { email: "jane@doe.com", firstname: "Jane", lastname: "Doe", phonenumber: "202 555 0143" });
    await page.goto(usher("mail", "show").links[0]);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL(`${server}/profile?**`);
    await page.getByLabel("What should we call you?").fill("Janie");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("status").waitFor();
    await picture(page, "profile", { width: 560, height: 640 });

    spread();
    for (let wait = 0; wait < 100 && usher("mail", "list", "--limit", "100").some(({ state }) => state !== "captured"); wait++) await pause(50);
    usher("admin", "create", "ann@clinic.example", "--role", "owner");
    await page.goto(usher("admin", "link", "ann@clinic.example", "--public-url", server).link);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL(`${server}/admin/**`);
    await page.goto(base);
    await picture(page, "home");
    await page.goto(`${base}/search?q=jane@doe.com`);
    await page.getByRole("link", { name: "The whole story" }).click();
    await page.waitForURL("**/story");
    await picture(page, "story");
    await page.goto(`${base}/mails`);
    await page.locator("tbody .row-link").first().click();
    await page.frameLocator("iframe.preview").getByRole("link").first().waitFor();
    await picture(page, "mail");
  }));
