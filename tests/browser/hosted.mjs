// Every hosted page as people have it: in a left-to-right and a right-to-left language, in both themes, on a phone and at a
// desk, by keyboard alone and by axe's rules. What the pages do is told in profile.mjs and signin.mjs.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { clientId, enrol, key, LOGO, server, usher } from "../contract/usher.mjs";
import { assertAllAsked, assertAllDone, assertAllLooked } from "./actions.mjs";
import { browse, look } from "./chromium.mjs";

const { DATABASE, ROUTES } = process.env;
const sandbox = ["--environment", "sandbox"];
const profile = `/profile?client_id=${clientId}&environment=sandbox`;

/** An app on another origin, and the form of a stranger who would like to sign people out. */
const app = createServer((request, response) => {
  response.setHeader("Content-Type", "text/html");
  const form = `<form method="post" action="${server}/profile/sign-out-everywhere"><button>A kitten</button></form>`;
  response.end(`<!doctype html><title>The app</title><link rel="icon" href="data:,"><h1>The app</h1>${request.url === "/stranger" ? form : ""}`);
});
await new Promise((listening) => app.listen(0, "127.0.0.1", listening));
const origin = `http://127.0.0.1:${app.address().port}`;
after(() => app.close());
usher("app", "redirect", "add", clientId, `${origin}/app`, ...sandbox);

const door = (path, more = {}) =>
  `${server}${path}?${new URLSearchParams({ client_id: clientId, redirect_uri: `${origin}/app`, state: "s", ...more })}`;
const pkce = {
  response_type: "code",
  scope: "openid email",
  code_challenge: createHash("sha256").update("a verifier").digest("base64url"),
  code_challenge_method: "S256",
};

const folder = mkdtempSync(join(tmpdir(), "usher-"));
const logo = join(folder, "logo.png");
writeFileSync(logo, LOGO);

let phone = 2025550200;
const person = (email) => enrol({ clientId, key }, { email, phonenumber: String((phone += 1)) });
const send = (page) => page.locator("main form button").first();
const fault = (page) => page.locator("[role=alert], .fault").first();

/** The newest mail to somebody of a kind. */
async function mailTo(email, kind) {
  for (let wait = 0; wait < 100; wait++) {
    const found = usher("mail", "list").find((mail) => mail.to === email && mail.kind === kind);
    if (found) return usher("mail", "show", found.id);
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.fail(`no mail came to ${email}`);
}

/** Goes on by the Tab key to what is wanted, which must then be seen to have the focus. */
async function tabTo(page, wanted) {
  for (let times = 0; times < 40; times++) {
    await page.keyboard.press("Tab");
    const outline = await page.evaluate((wanted) => {
      const here = document.activeElement;
      return here.matches(wanted) ? getComputedStyle(here).outlineStyle : null;
    }, wanted);
    if (outline) return assert.notEqual(outline, "none", `${wanted} shows that it has the focus`);
  }
  assert.fail(`the Tab key does not lead to ${wanted}`);
}

// A language looks different and does the same, so on PostgreSQL, where nobody looks, one is enough: the one whose app has a look.
for (const language of DATABASE ? ["ar"] : ["en", "ar"]) {
  const address = (name) => `${name}-${language}@doe.com`;
  const saw = (page, name) => look(page, `${language}-${name}`);
  const reads = { locale: language, acceptDownloads: true };

  // From here on the app has a colour and a logo.
  if (language === "ar") test("the app chooses how it looks", () => void usher("app", "update", clientId, "--color", "#7c2d92", "--logo", logo));

  test(`${language}: a person's way from the mail to a changed profile and out again, by keyboard alone`, () =>
    browse(
      async (page) => {
        await page.goto(`${server}/`);
        await saw(page, "welcome");
        assert.equal(await page.evaluate(() => getComputedStyle(document.body).direction), language === "ar" ? "rtl" : "ltr");

        await person(address("jane"));
        const [link] = (await mailTo(address("jane"), "enrolment")).links;
        await page.goto(link);
        await saw(page, "link");
        await tabTo(page, "form button");
        await page.keyboard.press("Enter");
        await page.waitForURL(`${server}/profile?**`);
        await saw(page, "profile");

        await tabTo(page, "#given_name");
        await page.keyboard.press("ControlOrMeta+A");
        await page.keyboard.type(language === "ar" ? "مريم" : "Mary");
        await tabTo(page, "#language");
        await tabTo(page, "form button");
        await page.keyboard.press("Enter");
        await page.locator("[role=status]").waitFor();
        await saw(page, "profile-saved");

        // Every rule of the form at once, each said beside its field.
        for (const [name, value] of [["given_name", "x".repeat(300)], ["email", "nobody"], ["phone_number", "12"]]) await page.fill(`#${name}`, value);
        await send(page).click();
        await page.locator("#phone_number-fault").waitFor();
        await saw(page, "profile-refused");
        await page.goto(`${server}${profile}`);
        await page.goto(link);
        await saw(page, "link-used");
        await send(page).click();
        await page.getByRole("heading").waitFor();
        await saw(page, "link-renewed");
        await page.goto((await mailTo(address("jane"), "enrolment")).links[0]);
        await send(page).click();
        await page.waitForURL(`${server}/profile?**`);

        // Two pages of one record: the older one is not saved over the newer.
        const other = await page.context().newPage();
        await other.goto(page.url());
        await other.fill("#nickname", "M.");
        await send(other).click();
        await other.locator("[role=status]").waitFor();
        await other.close();
        await page.fill("#nickname", "Mimi");
        await send(page).click();
        await fault(page).waitFor();
        await saw(page, "profile-stale");

        await page.goto(`${server}${profile}`);
        const [download] = await Promise.all([page.waitForEvent("download"), page.locator("form[action^='/profile/data'] button").click()]);
        assert.equal(download.suggestedFilename(), "my-data.json");
        await page.locator("form[action^='/sign-out'] button").click();
        await page.waitForURL(`${server}/profile?**`);
        await page.getByRole("heading").waitFor();
        await saw(page, "signed-out");
      },
      { ...reads, complaints: [/status of 400 .*\/profile\?/, /status of 410 .*\/links\//, /status of 412 .*\/profile\?/] },
    ));

  test(`${language}: signing in to an app, by keyboard alone, with the code and with the link`, () =>
    browse(
      async (page) => {
        await person(address("john"));
        await page.goto(door("/sign-in"));
        await saw(page, "sign-in");
        await tabTo(page, "#email");
        await page.keyboard.type("nobody");
        await page.keyboard.press("Enter");
        await fault(page).waitFor();
        await saw(page, "sign-in-refused");
        // A field that was refused has the focus by itself.
        await page.keyboard.press("ControlOrMeta+A");
        await page.keyboard.type(address("john"));
        await page.keyboard.press("Enter");
        await page.waitForURL(`${server}/sign-in/code`);
        await saw(page, "sign-in-code");
        await tabTo(page, "#code");
        await page.keyboard.type("0");
        await page.keyboard.press("Enter");
        await fault(page).waitFor();
        await saw(page, "sign-in-code-wrong");
        const mail = await mailTo(address("john"), "sign_in");
        await page.keyboard.press("ControlOrMeta+A");
        await page.keyboard.type(/^\d{6}$/m.exec(mail.text)[0]);
        await page.keyboard.press("Enter");
        await page.waitForURL(`${origin}/app?**`);
        await page.goto(mail.links[0]);
        await saw(page, "sign-in-over");

        await page.goto(door("/authorize", pkce));
        await saw(page, "authorize");
        await page.fill("#email", address("jane"));
        await send(page).click();
        await page.waitForURL(`${server}/sign-in/code`);
        const [link] = (await mailTo(address("jane"), "sign_in")).links;
        const stranger = await page.context().browser().newContext(reads);
        const theirs = await stranger.newPage();
        await theirs.goto(link);
        await saw(theirs, "sign-in-elsewhere");
        await stranger.close();
        await page.goto(link);
        await saw(page, "sign-in-link");
        await tabTo(page, "form button");
        await page.keyboard.press("Enter");
        await page.waitForURL(`${origin}/app?**`);

        // A silent answer has no page to look at.
        await page.goto(door("/authorize", { ...pkce, prompt: "none" }));
        await page.waitForURL(`${origin}/app?**code=**`);
        await page.goto(`${server}${profile}`);
        await page.locator("form[action^='/profile/sign-out-everywhere'] button").click();
        await page.getByRole("heading", { level: 1 }).waitFor();
        await page.goto(door("/sign-in", { logout: "true" }));
        await saw(page, "sign-in-signed-out");

        // An app that does not prove whom it signs out: the person is asked, and then sent back to it.
        const back = { post_logout_redirect_uri: `${origin}/app`, state: "bye" };
        await page.goto(`${server}/sign-out?${new URLSearchParams({ client_id: clientId, ...back })}`);
        await saw(page, "sign-out");
        await tabTo(page, "form button");
        await page.keyboard.press("Enter");
        await page.waitForURL(`${origin}/app?state=bye`);
      },
      { ...reads, others: [origin], complaints: [/status of 400 .*\/sign-in\?/, /status of 400 .*\/sign-in\/code/, /status of 410 .*\/sign-in\/links\//] },
    ));

  test(`${language}: what does not work says why, and what to do`, () =>
    browse(
      async (page) => {
        const goes = async (path, name) => {
          await page.goto(path.startsWith("http") ? path : `${server}${path}`);
          await page.getByRole("heading", { level: 1 }).waitFor();
          await saw(page, name);
        };
        await goes(`/links/${"A".repeat(64)}`, "link-unknown");
        await goes("/links/a/b/c", "not-found");
        await goes(`/sign-in?client_id=${clientId}&redirect_uri=https://elsewhere.example`, "app-unknown");
        await goes("/sign-in/code", "sign-in-not-begun");

        // A link of a second.
        const list = join(folder, `${language}.csv`);
        writeFileSync(list, `email\n${address("late")}\n`);
        usher("import", list, ...sandbox, "--send-links", "--public-url", server, "--link-lifetime", "1s");
        const late = (await mailTo(address("late"), "enrolment")).links[0];
        await new Promise((done) => setTimeout(done, 1100));
        await goes(late, "link-expired");
        for (let status = 200; status !== 429; ) {
          await page.goto(late);
          const [answer] = await Promise.all([page.waitForResponse((response) => response.request().method() === "POST"), send(page).click()]);
          status = answer.status();
        }
        await page.locator("main form").waitFor({ state: "detached" });
        await saw(page, "too-many");

        for (const [what, name] of [["freeze", "frozen"], ["delete", "deleted"]]) {
          await person(address(name));
          await page.goto((await mailTo(address(name), "enrolment")).links[0]);
          usher("user", what, address(name));
          await send(page).click();
          await fault(page).waitFor();
          await saw(page, `link-${name}`);
          await send(page).click();
          await page.locator("main form").waitFor({ state: "detached" });
          await saw(page, name);
        }

        await page.goto(`${origin}/stranger`);
        await page.getByRole("button").click();
        await page.waitForURL(`${server}/profile/sign-out-everywhere`);
        await saw(page, "cross-site");
      },
      { ...reads, others: [origin], complaints: [/status of 4\d\d /] },
    ));
}

test("the walk came to every hosted page and used every form of them", () => {
  assertAllDone("/sign-in", "/authorize", "/links", "/profile", "/sign-out");
  const routes = ROUTES.split("\n").filter((route) => !/\/(admin|docs|assets|theme)|\/llms/.test(route));
  assertAllAsked(routes);
  // A logo and a style sheet.
  assertAllLooked(routes, ["GET /brand/{file}"]);
});
