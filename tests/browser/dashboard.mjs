// The dashboard in Chromium: an administrator comes in, sees every page, and does everything that can be done there. The last
// test names what was left out: a new page or a new form is one more step here.
import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as listen } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { clientId, enrol, key, LOGO, newKey, server, usher } from "../contract/usher.mjs";
import { assertAllAsked, assertAllDone, assertAllLooked } from "./actions.mjs";
import { browse, look } from "./chromium.mjs";

const { ROUTES, SETUP, SMTP_PORT } = process.env;
const base = `${server}/admin/${clientId}/sandbox`;
const live = `${server}/admin/${clientId}/live`;
const owner = "ann@clinic.example";
const button = (page, name) => page.getByRole("button", { name, exact: true });
const link = (page, name) => page.getByRole("link", { name, exact: true });
/** Waits for a page of that title, and for its scripts. */
const heading = async (page, name) => {
  await page.getByRole("heading", { name, exact: true, level: 1 }).waitFor();
  await page.waitForLoadState();
};
const said = (page, text) => page.getByRole("status").filter({ hasText: text }).waitFor();

/** A mail server that takes nobody's mail, and puts some of it off. */
const lines = new Set();
const mail = listen((socket) => {
  lines.add(socket);
  socket.write("220 here\r\n");
  socket.on("error", () => {});
  socket.on("data", (line) => socket.write(/^RCPT.*later@/i.test(line) ? "451 Come back later\r\n" : /^RCPT/i.test(line) ? "550 No mailbox of that name here\r\n" : /^QUIT/i.test(line) ? "221 bye\r\n" : "250 well\r\n"));
});
await new Promise((listening) => mail.listen(Number(SMTP_PORT), "127.0.0.1", listening));
/** An endpoint that hears webhooks. */
const heard = [];
const endpoint = createServer((request, response) => {
  heard.push(request.headers["webhook-id"]);
  request.resume().on("end", () => response.end("thank you"));
});
await new Promise((listening) => endpoint.listen(0, "127.0.0.1", listening));
after(() => {
  // Usher keeps its lines to them open.
  lines.forEach((line) => line.destroy());
  endpoint.closeAllConnections();
  [mail, endpoint].forEach((one) => one.close());
});

/** Signs an administrator in, made if need be. */
async function signIn(page, email = owner, role = "owner") {
  if (!usher("admin", "list").some((one) => one.email === email)) usher("admin", "create", email, "--role", role);
  await page.goto(usher("admin", "link", email, "--public-url", server).link);
  await button(page, "Sign in").click();
  await page.waitForURL(`${server}/admin/**`);
}

/** Types what a dangerous button waits for, and presses it. */
async function confirm(page, field, words, name) {
  await page.waitForLoadState();
  assert.ok(await button(page, name).isDisabled(), `${name} waits for its words`);
  await page.locator(field).fill(words);
  await button(page, name).click();
}

/** What the copy button beside a text puts into the clipboard. */
async function copied(page, near) {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.waitForLoadState();
  await near.locator("[data-copy]").first().click();
  await said(page, "Copied");
  return page.evaluate(() => navigator.clipboard.readText());
}

/** Waits until something is so. */
async function until(what, holds) {
  for (let wait = 0; wait < 200; wait++) {
    if (await holds()) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.fail(`${what} did not come about`);
}

test("the first administrator is made by the address that the first start printed", () =>
  browse(
    async (page) => {
      await page.goto(SETUP);
      await heading(page, "Welcome to Usher");
      await look(page, "set-up");
      await page.getByLabel("E-mail").fill(owner);
      await button(page, "Set up the dashboard").click();
      await heading(page, "Check your mail");
      await look(page, "set-up-done");
      assert.deepEqual(usher("admin", "list").map(({ email, role }) => [email, role]), [[owner, "owner"]]);
      await page.goto(SETUP);
      await heading(page, "Nothing to set up here");
      await look(page, "set-up-over");
      await link(page, "To the dashboard").click();
      await heading(page, "Sign in to the dashboard");
    },
    { complaints: [/status of 410 .*\/admin\/setup\//, /status of 401 .*\/admin$/] },
  ));

test("whoever is not signed in is asked for their address, and a link lets them in, once", () =>
  browse(
    async (page) => {
      await page.goto(`${server}/admin`);
      await heading(page, "Sign in to the dashboard");
      await look(page, "sign-in-first");
      await page.goto(`${server}/admin/sign-in`);
      await look(page, "sign-in");
      await page.getByLabel("E-mail").fill("nobody@clinic.example");
      await button(page, "Send me a link").click();
      await heading(page, "Check your mail");
      await look(page, "check-your-mail");
      const { link } = usher("admin", "link", owner, "--public-url", server);
      await page.goto(link);
      await look(page, "sign-in-link");
      await button(page, "Sign in").click();
      await heading(page, "Home");
      await page.goto(link);
      await heading(page, "This link does not work");
      await look(page, "sign-in-over");
    },
    { complaints: [/status of 401 .*\/admin$/, /status of 410 .*\/admin\/links\//] },
  ));

const toLater = () => usher("mail", "list").find((mail) => mail.to === "later@doe.com");

test("a mail is put off, and its link ends meanwhile", async () => {
  await enrol({ clientId, key: newKey(clientId, { environment: "live" }) }, { email: "later@doe.com", phonenumber: "2025550185" });
  await until("a mail that is put off", () => toLater()?.attempts === 1);
  usher("user", "freeze", "later@doe.com");
});

test("home, with nobody and with somebody", () =>
  browse(async (page) => {
    await signIn(page);
    await page.goto(base);
    await page.getByText("Nobody is enrolled yet").waitFor();
    await look(page, "home-empty");
    await enrol({ clientId, key });
    await page.goto(base);
    await look(page, "home");
    await link(page, "All users").click();
    await heading(page, "Users");
    await link(page, "jane doe").click();
    await heading(page, "jane doe active");
  }));

test("people are found, filtered, and taken out as a file", () =>
  browse(async (page) => {
    await signIn(page);
    await enrol({ clientId, key }, { email: "mary@doe.com", phonenumber: "2025550188", firstname: "Mary", lastname: "Sue" });
    await enrol({ clientId, key }, { email: "li@doe.com", phonenumber: "2025550189", firstname: "Li", lastname: "Wei" });
    await page.goto(`${base}/users`);
    await heading(page, "Users");
    await look(page, "users");
    for (const kind of ["CSV", "JSONL"]) {
      const [file] = await Promise.all([page.waitForEvent("download"), link(page, kind).click()]);
      assert.match(file.suggestedFilename(), new RegExp(`\\.${kind.toLowerCase()}$`));
    }
    for (const column of ["by e-mail", "Created", "Changed"]) {
      await link(page, column).click();
      await page.locator("th[aria-sort]").filter({ hasText: column }).waitFor();
    }
    // Typing searches by itself, once the scripts are there, and the address says what is shown.
    await page.waitForLoadState();
    await page.locator("#q").pressSequentially("mar", { delay: 30 });
    await page.waitForURL(`${base}/users?*q=mar*`);
    await page.getByText("li@doe.com").waitFor({ state: "detached" });
    await page.getByText("mary@doe.com").waitFor();
    assert.equal(await page.locator("#list thead a").count(), 0, "there is no order to choose");
    await page.getByText("What a search finds is not sorted.").waitFor();
    // While an answer is on its way, what was there stays, faded, and is busy for whoever does not see that.
    const list = page.locator("#list");
    let come;
    const held = new Promise((go) => (come = go));
    await page.route((url) => url.searchParams.get("q") === "nobody at all", (route) => held.then(() => route.continue()), { times: 1 });
    await page.locator("#q").fill("nobody at all");
    await page.locator("#list[aria-busy=true]").getByText("mary@doe.com").waitFor();
    await until("a fade", async () => (await list.evaluate((e) => getComputedStyle(e).opacity)) === "0.55");
    come();
    await page.getByText("Nobody fits").waitFor();
    await until("an end of the fade", async () => (await list.evaluate((e) => getComputedStyle(e).opacity)) === "1");
    assert.equal(await list.getAttribute("aria-busy"), null);
    await look(page, "users-none");
    await link(page, "Show everybody").click();
    await page.getByText("li@doe.com").waitFor();

    // The box at the top, by the keyboard alone.
    await page.goto(base);
    const box = page.getByRole("searchbox", { name: "Find a person or a request" });
    await page.keyboard.press("/");
    assert.equal(await box.evaluate((e) => e === document.activeElement), false, "no single key is a shortcut");
    await page.keyboard.press("Control+k");
    await page.keyboard.type("nobody");
    await page.keyboard.press("Control+k");
    await page.keyboard.type("mary@doe.com");
    await page.keyboard.press("Enter");
    await page.waitForURL(`${base}/users/*`);
  }));

test("when a part of a page does not come, the page says so until one comes again", () =>
  browse(
    async (page) => {
      await signIn(page);
      await page.goto(`${base}/users`);
      const search = (text) => page.locator("#q").fill(text);
      const trouble = page.locator("#trouble");
      assert.ok(await trouble.isHidden());
      await page.context().setOffline(true);
      await search("jane");
      await page.getByRole("alert").filter({ hasText: "The server does not answer." }).waitFor();
      await look(page, "users-trouble");
      await page.context().setOffline(false);
      await search("mar");
      await trouble.waitFor({ state: "hidden" });
      await page.getByText("jane@doe.com").waitFor({ state: "detached" });
      await page.context().clearCookies();
      await search("ja");
      await page.getByRole("alert").filter({ hasText: "The server answered 401. Sign in to the dashboard." }).waitFor();
      assert.ok(await page.getByText("mary@doe.com").isVisible(), "what was there stays");
    },
    { complaints: [/ERR_INTERNET_DISCONNECTED/, /htmx:(sendError|afterRequest)/, /status of 401/, /Response Status Error Code 401/] },
  ));

test("a person is frozen, revealed, signed out, deleted, restored and erased, and every page of theirs can be read by everybody", () =>
  browse(async (page) => {
    await signIn(page);
    await page.goto(`${base}/search?q=mary@doe.com`);
    await page.getByText("not verified").waitFor();
    await look(page, "user");
    await button(page, "Freeze").click();
    await said(page, "Frozen");
    assert.equal(usher("user", "show", "mary@doe.com").status, "frozen");
    await look(page, "user-frozen");
    await button(page, "Unfreeze").click();
    await said(page, "Unfrozen");
    assert.equal(usher("user", "show", "mary@doe.com").status, "active");

    // Twice by a link that is followed from its mail: two sessions, of which one is ended and then all.
    for (let time = 0; time < 2; time++) {
      const mails = usher("mail", "list").length;
      await button(page, "Send a link").click();
      await said(page, "new link");
      assert.equal(usher("mail", "list").length, mails + 1);
      const person = await page.context().browser().newContext();
      const theirs = await person.newPage();
      await theirs.goto(usher("mail", "show").links[0]);
      await button(theirs, "Sign in").click();
      await theirs.waitForURL(`${server}/profile?**`);
      await person.close();
    }
    await page.getByRole("navigation", { name: "About the user" }).getByRole("link", { name: "Sessions" }).click();
    await look(page, "user-sessions-open");
    await page.locator("tbody").getByRole("button", { name: "Sign out" }).first().click();
    await said(page, "Signed out.");
    assert.equal(await page.locator("tbody").getByText("open").count(), 1);
    await button(page, "Sign out everywhere").click();
    await said(page, "Signed out.");
    assert.equal(await page.locator("tbody").getByText("open").count(), 0);

    await page.getByRole("link", { name: "Health" }).click();
    await page.getByText("height").waitFor();
    assert.equal(await page.getByText("5ft 6in").count(), 0);
    await look(page, "user-health");
    await page.getByLabel("Why do you need to see it?").fill("She asked what we know of her");
    await button(page, "Reveal").click();
    await page.getByText("5ft 6in").waitFor();
    await look(page, "user-health-shown");
    await link(page, "Hide it").click();
    await page.getByText("5ft 6in").waitFor({ state: "detached" });
    for (const [tab, name] of [["subscription", "Subscription"], ["mail", "Mail"], ["sessions", "Sessions"], ["events", "Events"], ["story", "The whole story"], ["json", "JSON"]]) {
      await page.getByRole("navigation", { name: "About the user" }).getByRole("link", { name, exact: true }).click();
      await page.waitForURL(`**/${tab}`);
      await look(page, `user-${tab}`);
      if (tab === "story") {
        await link(page, "request").first().click();
        await page.waitForURL(`${base}/search?**`);
        await look(page, "request");
        await page.goBack();
      }
    }
    assert.match(await copied(page, page.locator("main")), /"email": "mary@doe.com"/);

    await page.getByRole("link", { name: "Profile" }).click();
    await confirm(page, "#confirm-delete", "mary@doe.com", "Delete");
    await said(page, "Deleted.");
    await look(page, "user-deleted");
    await button(page, "Restore").click();
    await said(page, "Restored");
    assert.equal(usher("user", "show", "mary@doe.com").status, "active");
    await confirm(page, "#confirm-erase", "mary@doe.com", "Erase for good");
    await said(page, "Erased.");
    await page.goto(base);
    await page.getByText("The charts as a table").click();
    await look(page, "home-table");
  }));

test("the live environment looks like itself, and a theme is remembered", () =>
  browse(async (page) => {
    await signIn(page);
    await page.goto(base);
    await page.locator("details.switch summary").click();
    await look(page, "switch");
    await page.getByRole("link", { name: /live/ }).click();
    await page.waitForURL(live);
    assert.equal(await page.getByText("Nothing here is about a real person").count(), 0);
    await look(page, "home-live");
    for (const [name, theme] of [["Dark", "dark"], ["Light", "light"], ["As the system has it", "system"]]) {
      await button(page, name).click();
      await page.locator(`html[data-theme=${theme}]`).waitFor();
      assert.equal(page.url(), live);
    }
    await button(page, "Sign out").click();
    await heading(page, "Sign in to the dashboard");
  }));

test("without JavaScript the dashboard works", () =>
  browse(
    async (page) => {
      await signIn(page);
      await page.goto(`${base}/users`);
      await page.locator("#q").fill("jane");
      await button(page, "Show").click();
      await link(page, "jane doe").click();
      await button(page, "Freeze").click();
      await said(page, "Frozen");
      await button(page, "Unfreeze").click();
    },
    { javaScriptEnabled: false },
  ));

test("a file of people is looked at, rehearsed, taken over and taken back", () =>
  browse(async (page) => {
    await signIn(page);
    const send = async (name, ...rows) => {
      await page.goto(`${base}/imports`);
      const buffer = Buffer.from(["E-mail,First name", ...rows].join("\n"));
      await page.getByLabel("File").setInputFiles({ name, mimeType: "text/csv", buffer });
      await button(page, "Look at it").click();
      await heading(page, `Import of ${rows.length} rows`);
    };
    const people = () => usher("user", "list").filter(({ email }) => ["zoe@doe.com", "yan@doe.com"].includes(email)).length;
    await page.goto(`${base}/imports`);
    await page.getByText("Nothing was imported yet").waitFor();
    await look(page, "imports-empty");
    await send("clinic.csv", "zoe@doe.com,Zoe", "yan@doe.com,Yan", "nobody,Xi");
    await look(page, "import-columns");
    await button(page, "Rehearse it").click();
    await button(page, "Import 2 people").waitFor();
    await look(page, "import-rehearsed");
    assert.equal(people(), 0);
    await button(page, "Import 2 people").click();
    await page.locator(".badge.done").waitFor();
    assert.equal(people(), 2);
    await look(page, "import-done");
    const [file] = await Promise.all([page.waitForEvent("download"), link(page, "What became of each row").click()]);
    assert.match(file.suggestedFilename(), /\.csv$/);
    await page.goto(`${base}/imports`);
    await look(page, "imports");
    await page.locator("tbody .row-link").first().click();
    await confirm(page, "#words", "undo", "Take the import back");
    await page.getByText("Erased again").waitFor();
    await until("an import that is taken back", () => people() === 0);
    await send("other.csv", "zoe@doe.com,Zoe", "yan@doe.com,Yan");
    await button(page, "Remove the file").click();
    await heading(page, "Import");
    assert.equal(await page.locator("tbody tr").count(), 1);
  }));

test("a key is made, moved, replaced and revoked", () =>
  browse(async (page) => {
    await signIn(page);
    await page.goto(`${base}/keys`);
    await heading(page, "Keys");
    await look(page, "keys");
    await page.getByLabel("Name").fill("Clinic North");
    await button(page, "Make the key").click();
    await heading(page, "Here is the key");
    assert.match(await copied(page, page.locator("main")), /^usher_sandbox_w_/);
    await look(page, "key-made");
    await link(page, "I have copied it").click();
    await link(page, "Clinic North").click();
    await heading(page, "Clinic North");
    await look(page, "key");
    await page.getByLabel("API date").selectOption("2023-08-22");
    await button(page, "Move it").click();
    await said(page, "Moved.");
    assert.equal(usher("key", "list").find((one) => one.name === "Clinic North").apiVersion, "2023-08-22");
    await button(page, "Make its successor").click();
    await heading(page, "Here is the key");
    await page.getByText("The key before works until").waitFor();
    await link(page, "I have copied it").click();
    await link(page, "Clinic North").first().click();
    await link(page, "What it did, in the audit trail").click();
    await heading(page, "Audit trail");
    await page.goBack();
    await confirm(page, "#words", "revoke", "Revoke the key");
    await said(page, "It stops working within a second.");
    await look(page, "key-revoked");
  }));

test("a key that is shown once is selected where the browser lends no clipboard, and there is nothing that loses it", () =>
  browse(async (page) => {
    await page.addInitScript(() => Object.defineProperty(Navigator.prototype, "clipboard", { get: () => undefined }));
    await signIn(page);
    await page.goto(`${base}/keys`);
    await page.getByLabel("Name").fill("Clinic South");
    await button(page, "Make the key").click();
    await heading(page, "Here is the key");
    await page.locator("main [data-copy]").click();
    await said(page, "press Ctrl+C");
    assert.equal(await page.evaluate(() => String(getSelection())), await page.locator("main code").first().textContent());
    assert.equal(await page.getByRole("group", { name: "Theme" }).count(), 0);
  }));

test("a captured mail is seen as people have it, and its link followed", () =>
  browse(async (page) => {
    await signIn(page);
    await enrol({ clientId, key }, { email: "mo@doe.com", phonenumber: "2025550187", firstname: "Mo" });
    await page.goto(`${base}/mails`);
    await heading(page, "Mail");
    await look(page, "mails");
    for (const state of ["Waiting", "Sent", "Given up", "Captured", "Withdrawn", "All"]) {
      await page.getByRole("navigation", { name: "State" }).getByRole("link", { name: state }).click();
      await page.locator("[aria-current=page]").filter({ hasText: state }).waitFor();
    }
    await link(page, "mo@doe.com").click();
    await page.getByRole("heading", { name: "How it looks" }).waitFor();
    await page.frameLocator("iframe.preview").getByRole("link").first().waitFor();
    await look(page, "mail");
    const views = page.getByRole("navigation", { name: "View" }).getByRole("link");
    for (const view of await views.allTextContents()) {
      await link(page, view).click();
      await page.locator("[aria-current=page]").filter({ hasText: view }).waitFor();
      await page.locator("iframe.preview, pre.block").waitFor();
    }
    const [person] = await Promise.all([page.waitForEvent("popup"), link(page, "Follow its link").click()]);
    await person.getByRole("heading", { name: "Welcome to Default" }).waitFor();
    await person.close();
    await link(page, "The user").click();
    await heading(page, "Mo doe active");
  }));

test("an app words its mails, and takes its words back", () =>
  browse(async (page) => {
    await signIn(page);
    await page.goto(`${base}/mails`);
    await link(page, "Words of mails").click();
    await heading(page, "Words of mails");
    await look(page, "wordings");
    await page.getByRole("link", { name: "Welcome, with a link, English" }).click();
    await page.frameLocator("#preview iframe").getByRole("link").first().waitFor();
    await look(page, "wording");
    await page.getByLabel("What it is about").fill("Your coach at {app} is ready:");
    await button(page, "Save").click();
    await said(page, "Saved.");
    const own = () => usher("mail", "template", "show", "enrolment", "en", "--app", clientId).own;
    assert.deepEqual(own(), ["mail_welcome"]);
    await button(page, "Back to Usher's words").click();
    await said(page, "Mails say what Usher says");
    assert.deepEqual(own(), []);
  }));

test("live mail that was given up is sent anew", () =>
  browse(async (page) => {
    const mailsTo = () => usher("mail", "list").filter((mail) => mail.to === "away@doe.com");
    await enrol({ clientId, key: newKey(clientId, { environment: "live" }) }, { email: "away@doe.com", phonenumber: "2025550186" });
    await until("a mail that is given up", () => mailsTo()[0]?.state === "failed");
    await signIn(page);
    await page.goto(live);
    await look(page, "home-trouble");
    await page.goto(`${live}/mails?state=failed`);
    await link(page, "away@doe.com").click();
    await page.getByText("No mailbox of that name here").waitFor();
    await look(page, "mail-failed");
    await button(page, "Send a new mail").click();
    await said(page, "A new mail with a new link is on its way.");
    assert.equal(mailsTo().length, 2);
    await until("a mail that is withdrawn", () => toLater().state === "withdrawn");
    await page.goto(`${live}/mails?state=withdrawn`);
    await look(page, "mails-withdrawn");
    await link(page, "later@doe.com").click();
    await page.getByText("Usher's words: not sent").waitFor();
    await look(page, "mail-withdrawn");
  }));

test("a webhook is made, tested, replayed, rotated, switched off and on, and removed", () =>
  browse(async (page) => {
    await signIn(page);
    await page.goto(`${base}/webhooks`);
    await heading(page, "Webhooks");
    await look(page, "webhooks-empty");
    await page.getByLabel("Address").fill(`http://127.0.0.1:${endpoint.address().port}/usher`);
    await page.getByLabel("Name").fill("CRM");
    await button(page, "Make the webhook").click();
    await heading(page, "Here is the secret");
    assert.match(await copied(page, page.locator("main")), /^whsec_/);
    await look(page, "webhook-secret");
    await link(page, "I have copied it").click();
    await button(page, "Send a test").click();
    await said(page, "A test is on its way.");
    await until("a test that arrives", () => heard.length === 1);
    await page.goto(`${base}/webhooks`);
    await look(page, "webhooks");
    await link(page, "CRM").click();
    await look(page, "webhook");
    await page.locator("tbody").getByRole("button", { name: "Send again" }).click();
    await said(page, "Queued again");
    await until("the test again", () => heard.length === 2 && heard[0] === heard[1]);
    await page.locator("tbody .row-link").first().click();
    await heading(page, "Every try of a delivery");
    await look(page, "delivery");
    await link(page, "CRM").click();
    await page.locator("section").filter({ has: page.getByRole("heading", { name: "Replay" }) }).getByRole("button", { name: "Send again" }).click();
    await said(page, "Queued again");
    await until("all of an hour again", () => heard.length === 3);
    await button(page, "Make a new secret").click();
    await heading(page, "Here is the secret");
    await link(page, "I have copied it").click();
    await button(page, "Disable").click();
    await page.getByText("Nothing is sent: by hand.").waitFor();
    await look(page, "webhook-disabled");
    await button(page, "Enable").click();
    await said(page, "Enabled.");
    await confirm(page, "#words", "remove", "Remove the webhook");
    await page.getByText("Nobody listens yet").waitFor();
    assert.deepEqual(usher("webhook", "list"), []);
  }));

test("requests are followed and filtered, and the audit trail is read, verified and taken out", () =>
  browse(async (page) => {
    await signIn(page);
    await page.goto(`${base}/requests`);
    await heading(page, "Requests");
    await look(page, "requests");
    await link(page, "Follow live").click();
    await page.waitForResponse((response) => response.url().includes("live=1") && response.request().headers()["hx-request"]);
    await link(page, "Stop following").click();
    await page.getByLabel("Status").selectOption("4xx");
    await page.getByLabel("From, UTC").fill("2020-01-01T00:00");
    await button(page, "Show").click();
    await page.waitForURL(`${base}/requests?*status=4*`);
    await page.goto(`${base}/requests?route=create`);
    await page.locator("tbody a").first().click();
    await heading(page, "Request");
    await page.getByText('"email": "<string>"').first().waitFor();
    await look(page, "request-bodies");

    await page.goto(`${base}/audit`);
    await heading(page, "Audit trail");
    await look(page, "audit");
    await page.getByLabel("Action").selectOption("user.created");
    await button(page, "Show").click();
    await page.waitForURL(`${base}/audit?*action=user.created*`);
    const [file] = await Promise.all([page.waitForEvent("download"), button(page, "Export these").click()]);
    assert.match(file.suggestedFilename(), /\.jsonl$/);
    await page.locator("tbody td a").first().click();
    await page.waitForURL(`${base}/users/*`);
    await page.goBack();
    await page.locator("tbody .row-link").first().click();
    await page.getByRole("heading", { name: "What changed" }).waitFor();
    await look(page, "audit-entry");
    await page.getByRole("navigation", { name: "Breadcrumb" }).getByRole("link", { name: "Audit" }).click();
    await button(page, "Verify the chain").click();
    await page.getByText("is as it was written").waitFor();
    await look(page, "audit-verified");
  }));

test("settings are changed", () =>
  browse(async (page) => {
    await signIn(page);
    await page.goto(`${base}/settings`);
    await heading(page, "Settings");
    await look(page, "settings");
    await page.getByLabel("Colour of buttons").fill("#7c2d92");
    await page.getByLabel("Logo").setInputFiles({ name: "logo.png", mimeType: "image/png", buffer: LOGO });
    await button(page, "Save").click();
    await said(page, "Pages and mails look like this");
    await page.getByAltText("The logo").waitFor();
    await look(page, "settings-look");
    await page.getByLabel("Take the logo away").check();
    await button(page, "Save").click();
    await page.getByAltText("The logo").waitFor({ state: "detached" });
    await page.getByLabel("Another address").fill("https://app.example.com/back");
    await button(page, "Add it").click();
    await said(page, "Added.");
    await look(page, "settings-added");
    await page.getByRole("button", { name: "Remove https://app.example.com/back" }).click();
    await said(page, "Removed.");
    const keys = () => usher("signing-key", "list", clientId, "--environment", "sandbox").length;
    const before = keys();
    await page.locator("form[action$='/signing-keys'] input").fill("rotate");
    await button(page, "Rotate").click();
    await said(page, "The new key is in the key set");
    assert.equal(keys(), before + 1);
    await confirm(page, "#revoke-words", "revoke", "Revoke");
    await said(page, "A new key signs from now on.");
    assert.equal(keys(), before + 2);
    await page.getByLabel("Region of phone numbers").fill("DE");
    await button(page, "Save these").click();
    await said(page, "Saved.");
    await button(page, "Send a test mail").click();
    await page.getByRole("alert").filter({ hasText: "No mailbox of that name here" }).waitFor();
    await look(page, "settings-mail-tested");

    const secret = join(mkdtempSync(join(tmpdir(), "walk-")), "stripe-key");
    writeFileSync(secret, "sk_test_walk", { mode: 0o600 });
    const account = ["--app", clientId, "--environment", "sandbox", "--mode", "test", "--stripe-key-file", secret, "--url", "http://127.0.0.1:9"];
    const { id } = usher("billing", "connect", ...account);
    await page.reload();
    await button(page, "Try again what was given up").click();
    await said(page, "What still fails is given up again.");
    await look(page, "settings-billing");
    usher("billing", "disconnect", id);
  }));

test("administrators are invited, given another role, sent a link and removed", () =>
  browse(async (page) => {
    await signIn(page);
    await page.goto(base);
    await link(page, "Administrators").click();
    await heading(page, "Administrators");
    await page.getByLabel("E-mail").fill("bob@clinic.example");
    await button(page, "Invite them").click();
    await said(page, "Invited.");
    await look(page, "admins");
    await link(page, "bob@clinic.example").click();
    await heading(page, "bob@clinic.example");
    await look(page, "admin");
    await page.getByLabel("They may").selectOption("support");
    await button(page, "Change the role").click();
    await said(page, "The new role holds from now on.");
    assert.equal(usher("admin", "list").find((one) => one.email === "bob@clinic.example").role, "support");
    await button(page, "Send a link").click();
    await said(page, "A mail with a link is on its way.");
    await confirm(page, "#words", "remove", "Remove the administrator");
    await said(page, "Removed, and signed out everywhere.");
  }));

test("every role sees pages that everybody can read, and no more than it may", () =>
  browse(
    async (page) => {
      for (const [email, role] of [["sam@clinic.example", "support"], ["rita@clinic.example", "read_only"]]) {
        await signIn(page, email, role);
        await page.goto(`${base}/users`);
        await look(page, `users-${role}`);
        await link(page, "Mo doe").click();
        await look(page, `user-${role}`);
        const answer = await page.goto(`${base}/keys`);
        assert.equal(answer.status(), 403);
        await page.getByRole("heading", { level: 1 }).waitFor();
        await look(page, `refused-${role}`);
      }
    },
    { complaints: [/status of 403 .*\/keys$/] },
  ));

test("nothing that can be done in the dashboard was left out", () => {
  assertAllDone("/admin", "/theme");
  const routes = ROUTES.split("\n").filter((route) => / \/(admin|theme)/.test(route));
  assertAllAsked(routes);
  const place = "GET /admin/{appId}/{environment}";
  // Files, and mails as people have them: mails.mjs looks at each of those.
  const noPages = ["users/export", "imports/{importId}/result", "mails/{mailId}/html", "mails/templates/{kind}/{language}/html"];
  assertAllLooked(routes, noPages.map((path) => `${place}/${path}`));
});
