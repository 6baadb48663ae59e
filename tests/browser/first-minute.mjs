// The first minute, as the README and the terminal tell it: from an empty directory to a person who has signed in to an app,
// of whose change the app has heard, and who is seen on the dashboard. Prints how long each step took, and fails after a
// minute. `just first-minute` runs it on the release build.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { readdirSync, readFileSync, symlinkSync } from "node:fs";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { browse } from "./chromium.mjs";

const { PROGRAM, PATH } = process.env;
const README = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
/** A port that is free, in place of the one that the README names. */
const PORT = await new Promise((found) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => found(String(port)));
  });
});
const LIMIT = 60;
const begin = performance.now();
let last = begin;
function took(step) {
  const now = performance.now();
  console.log(`${((now - last) / 1000).toFixed(2).padStart(6)} s  ${step}`);
  last = now;
}

/** What the reader's terminal knows. */
const terminal = { ...process.env, PORT, PATH: `${dirname(PROGRAM)}:${PATH}` };
/** A command of the terminal, in the same directory. */
const sh = (line) => execFileSync("bash", ["-c", line], { encoding: "utf8", env: terminal });

/** The block of the README that has these words. */
function block(words) {
  const blocks = [...README.matchAll(/^ *```[a-z]+[^\n]*\n([\s\S]*?)^ *```/gm)].map(([, text]) => text.replaceAll(/^ {3}/gm, ""));
  const found = blocks.filter((text) => text.includes(words));
  assert.equal(found.length, 1, `one block of the README has ${words}`);
  return found[0].replaceAll("9000", PORT);
}

/** Waits until something holds, and gives what that gives. */
async function until(what, holds) {
  for (let wait = 0; wait < 1000; wait++) {
    const found = holds();
    if (found) return found;
    await new Promise((done) => setTimeout(done, 20));
  }
  assert.fail(`${what} does not come: ${printed}`);
}

let printed = "";
const ends = [];
/** Starts what goes on in a terminal. */
function start(program, args, options) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"], ...options });
  child.stdout.setEncoding("utf8").on("data", (text) => (printed += text));
  const ended = new Promise((done) => child.on("exit", done));
  ends.push(() => (child.kill(), ended));
}
/** Waits until a terminal shows something, and gives it. */
const shown = (what) => until(what, () => what.exec(printed)?.[0]);

assert.deepEqual(readdirSync("."), [], "the directory is empty");
// As the README starts it, at a free port.
const settings = /(?<=cargo run --release -- ).*/.exec(block("cargo run"))[0].split(" ");
start(PROGRAM, [...settings, "--listen", "127.0.0.1:0"]);

try {
  const setup = await shown(/http\S+\/admin\/setup\/\S+(?=\n)/);
  const base = new URL(setup).origin;
  took("start: the server is ready and has printed what to do");

  for (const [, name, value] of printed.matchAll(/^export (\w+)=(\S+)$/gm)) terminal[name] = value;
  assert.equal(terminal.USHER_URL, base);
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

      const commands = block("examples/app.py");
      assert.match(commands, /\npython3 examples\/app\.py &\n$/);
      symlinkSync(new URL("../../examples", import.meta.url), "examples");
      start("bash", ["-c", commands.replace(/python3 (.*) &\n$/, "exec python3 $1")], { env: terminal });
      await page.goto(await shown(/(?<=Open )http\S+/));
      await page.getByRole("link", { name: "Sign in" }).click();
      await page.getByLabel("E-mail").fill(answer.email);
      await page.getByRole("button", { name: "Continue" }).click();
      await page.getByRole("heading", { name: "Check your mail" }).waitFor();
      const digits = await until("a mail with digits", () => /^\d{6}$/m.exec(sh("usher mail show"))?.[0]);
      await page.getByLabel("Code from the mail").fill(digits);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByRole("heading", { name: "Hello Jane" }).waitFor();
      took("sign in to the README's app with the digits of a mail");

      await page.getByRole("link", { name: "Change your profile" }).click();
      await page.getByLabel("Last name").fill("Roe");
      await page.getByRole("button", { name: "Save" }).click();
      await shown(new RegExp(block("verified:")));
      took("change the last name; the app hears it by a webhook and finds its signature right");

      const story = sh(block("usher explain"));
      assert.match(story, /Roe/);
      took("read it in one record, and the whole story");

      await page.goto(setup);
      await page.getByLabel("E-mail").fill("me@example.com");
      await page.getByRole("button", { name: "Set up the dashboard" }).click();
      await page.goto(await shown(/http\S+\/admin\/links\/\S+/));
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByRole("link", { name: "Jane Roe" }).click();
      await page.getByText(answer.email).first().waitFor();
      took("set the dashboard up by the address that it printed, and see the person there");
    },
    { others: [base, `http://localhost:${PORT}`] },
  );
  const seconds = (performance.now() - begin) / 1000;
  console.log(`${seconds.toFixed(2).padStart(6)} s in all`);
  assert.ok(seconds < LIMIT, `it took longer than ${LIMIT} s`);
} finally {
  await Promise.all(ends.map((end) => end()));
}
