// The first minute, as the terminal tells it: from an empty directory to a person who is signed in and is seen on the
// dashboard. Prints how long each step took, and fails after a minute. `just first-minute` runs it on the release build.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { browse } from "./chromium.mjs";

const { PROGRAM } = process.env;
const LIMIT = 60;
const begin = performance.now();
let last = begin;
function took(step) {
  const now = performance.now();
  console.log(`${((now - last) / 1000).toFixed(2).padStart(6)} s  ${step}`);
  last = now;
}

/** A command of the terminal, in the same directory. */
const sh = (line) => execFileSync("sh", ["-c", line], { encoding: "utf8" });

assert.deepEqual(readdirSync("."), [], "the directory is empty");
const usher = spawn(PROGRAM, ["serve", "--listen", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "ignore"] });
const ended = new Promise((done) => usher.on("exit", done));
let printed = "";
usher.stdout.setEncoding("utf8").on("data", (text) => (printed += text));
/** Waits until the terminal shows something, and gives it. */
async function shown(what) {
  for (let wait = 0; wait < 1000; wait++) {
    const found = what.exec(printed)?.[0];
    if (found) return found;
    await new Promise((done) => setTimeout(done, 20));
  }
  assert.fail(`the terminal does not show ${what}: ${printed}`);
}

try {
  const setup = await shown(/http\S+\/admin\/setup\/\S+(?=\n)/);
  const base = new URL(setup).origin;
  took("start: the server is ready and has printed what to do");

  const answer = JSON.parse(sh(await shown(/curl .*/)));
  assert.equal(answer.message, "User created successfully");
  took("create a person with the curl line that it printed");

  const mail = sh(await shown(/\S+ mail show/));
  const link = /http\S+\/links\/\S+/.exec(mail)[0];
  took("open the mail that the sandbox kept");

  await browse(
    async (page) => {
      await page.goto(link);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.waitForURL(`${base}/profile?**`);
      assert.equal(await page.getByLabel("E-mail").inputValue(), answer.email);
      took("follow its link in Chromium: signed in, at the profile");

      await page.goto(setup);
      await page.getByLabel("E-mail").fill("me@example.com");
      await page.getByRole("button", { name: "Set up the dashboard" }).click();
      await page.goto(await shown(/http\S+\/admin\/links\/\S+/));
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByRole("link", { name: "jane doe" }).click();
      await page.getByText(answer.email).first().waitFor();
      took("set the dashboard up by the address that it printed, and see the person there");
    },
    { others: [base] },
  );
  const seconds = (performance.now() - begin) / 1000;
  console.log(`${seconds.toFixed(2).padStart(6)} s in all`);
  assert.ok(seconds < LIMIT, `it took longer than ${LIMIT} s`);
} finally {
  usher.kill();
  await ended;
}
