// Imports in Chromium, besides what the walk of the dashboard does: a bar that moves by itself, and the same without scripts.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { clientId, server, triple, usher } from "../contract/usher.mjs";
import { browse, look } from "./chromium.mjs";

const base = `${server}/admin/${clientId}/sandbox/imports`;
const button = (page, name) => page.getByRole("button", { name, exact: true });
const begin = (page) => page.getByRole("button", { name: /^Import / });

async function signIn(page) {
  if (!usher("admin", "list").length) usher("admin", "create", "ann@clinic.example", "--role", "owner");
  await page.goto(usher("admin", "link", "ann@clinic.example", "--public-url", server).link);
  await button(page, "Sign in").click();
  await page.waitForURL(`${server}/admin/**`);
}

/** Comes in, and sends a list in which one row is wrong and one is there twice. */
async function send(page, count) {
  await signIn(page);
  const rows = Array.from({ length: count }, (_, n) => `person${n}@example.com;Ann;${n}`);
  const text = ["E-Mail;First name;Number", ...rows, "nobody;x;", "person1@example.com;x;"].join("\n");
  await page.goto(base);
  await page.getByLabel("File").setInputFiles({ name: "people.csv", mimeType: "text/csv", buffer: Buffer.from(text) });
  await button(page, "Look at it").click();
}

test("a bar moves by itself, and the page goes on when it is done", () =>
  browse(async (page) => {
    await send(page, 5000);
    const number = page.getByRole("combobox", { name: "Number" });
    assert.equal(await number.inputValue(), "guess");
    await number.selectOption("externalId");
    await button(page, "Rehearse it").click();
    await begin(page).waitFor({ timeout: 60_000 });
    assert.equal(await number.inputValue(), "externalId", "what was chosen stays");
    await begin(page).click();
    await page.getByRole("progressbar").waitFor();
    await page.evaluate(() => (window.stays = true));
    await look(page, "import-running");
    await page.getByText("done", { exact: true }).waitFor({ timeout: 120_000 });
    assert.equal(await page.evaluate(() => window.stays), true, "the page was not loaded again");
    assert.equal(usher("user", "list").length, 50);
  }));

test("an import that is broken off says why, and what is to be done", () =>
  browse(async (page) => {
    const { id, key } = usher("key", "create", "--app", clientId, "--environment", "sandbox", "--access", "write");
    const body = ["email,shoes", ...Array.from({ length: 10_000 }, (_, n) => `late${n}@example.com,38`)].join("\n");
    const begun = await fetch(`${server}/v1/imports`, { method: "POST", headers: { ...triple({ clientId, key }), "Content-Type": "text/csv" }, body });
    usher("key", "revoke", id);
    await signIn(page);
    await page.goto(`${base}/${(await begun.json()).data.id}`);
    await page.getByText("the key that it was begun by does not work any more. Send the file again, with a key that works").waitFor();
    await page.getByText("shoes", { exact: true }).waitFor();
    await look(page, "import-broken");
    await page.goto(base);
    await page.getByText("broken off", { exact: true }).waitFor();
    await look(page, "imports-broken");
  }));

test("a file that is too large is told so, and what to do with it", () =>
  browse(
    async (page) => {
      await signIn(page);
      await page.goto(base);
      // Of a file Chromium is given the path; a buffer would be sent to it as one message.
      const file = join(mkdtempSync(join(tmpdir(), "usher-")), "people.csv");
      writeFileSync(file, Buffer.alloc(20 * 1024 * 1024, "person@example.com\n"));
      await page.getByLabel("File").setInputFiles(file);
      await button(page, "Look at it").click();
      await page.getByText("larger than 16 MiB; send it in parts, or have `usher import` read the file").waitFor();
      rmSync(dirname(file), { recursive: true });
      await look(page, "import-too-large");
      await page.getByRole("link").first().click();
      await page.waitForURL(`${server}/admin/**`);
    },
    { complaints: [/status of 413/] },
  ));

test("without a script the same forms and links do it", () =>
  browse(
    async (page) => {
      // What is not there yet is no reason to look again: the page may be on its way.
      const follow = (there) => Promise.all([page.waitForEvent("load"), there.click()]);
      const until = async (there) => {
        while (!(await there.count())) await follow(page.getByRole("link", { name: "Look again" }));
      };
      await send(page, 5010);
      await follow(button(page, "Rehearse it"));
      await until(begin(page));
      await follow(begin(page));
      await until(page.getByText("done", { exact: true }));
      await page.getByLabel("Type undo to confirm").fill("undo");
      await follow(button(page, "Take the import back"));
      await until(page.getByText("taken back", { exact: true }));
    },
    { javaScriptEnabled: false },
  ));
