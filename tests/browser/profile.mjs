// A person's way: the mail's link, the button, the profile, the link again, a new one, signing out.
import assert from "node:assert/strict";
import { test } from "node:test";
import { clientId, enrol, jane, key, server, usher } from "../contract/usher.mjs";
import { browse, scan } from "./chromium.mjs";

const newestLink = () => usher("mail", "show").links[0];
const mails = () => usher("mail", "list").length;
const show = () => usher("user", "show", jane.email);
const button = (page, name) => page.getByRole("button", { name, exact: true });

const id = await enrol({ clientId, key });

test("a person's way from the mail to a changed profile and out again", () =>
  browse(async (page) => {
    const link = newestLink();
    assert.ok(link.startsWith(`${server}/links/`), link);

    // Opening the link, even several times and with scripts at work, changes nothing.
    await scan(page, link, async () => {
      assert.equal(await page.getByRole("heading").textContent(), "Welcome to Default");
      assert.ok(await button(page, "Sign in").isVisible());
    });
    assert.equal(show().emailVerified, false);
    assert.deepEqual(await page.context().cookies(), []);
    await page.goto(`${server}/profile`);
    await page.getByRole("heading", { name: "Signed out" }).waitFor();

    // The button signs in.
    await page.goto(link);
    await button(page, "Sign in").click();
    await page.waitForURL(`${server}/profile?**`);
    assert.equal(show().emailVerified, true);
    const [cookie] = await page.context().cookies();
    assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, "Lax"]);
    assert.equal(await page.evaluate(() => document.cookie), "", "no script can read the session");
    const field = (label) => page.getByLabel(label, { exact: true });
    assert.equal(await field("First name").inputValue(), "jane");
    assert.equal(await field("E-mail").inputValue(), jane.email);
    assert.equal(await field("Phone").inputValue(), jane.phonenumber);
    assert.equal(await field("Date of birth").inputValue(), jane.dateOfBirth);

    // A change is saved, and is there for the operator and after a reload.
    const name = `Jané "J" <b>O'Neil</b> & Söhne`;
    await field("First name").fill(name);
    await field("Phone").fill("+1 202 555 0123");
    await button(page, "Save").click();
    const said = (text) => page.getByRole("status").filter({ hasText: text }).waitFor();
    await said("Saved.");
    assert.equal(show().profile.given_name, name);
    assert.equal(show().phone, "+1 202 555 0123");
    assert.equal(show().profile.family_name, "doe");
    await page.reload();
    assert.equal(await field("First name").inputValue(), name);
    assert.equal(await field("Phone").inputValue(), "+1 202 555 0123");
    await button(page, "Save").click();
    await said("Saved.");

    // An optional field that is emptied is empty for good.
    await field("What should we call you?").fill("JJ");
    await button(page, "Save").click();
    await said("Saved.");
    assert.equal(show().profile.nickname, "JJ");

    // The link was used, and says so; a new one can be had.
    assert.equal(mails(), 1);
    await page.goto(link);
    const words = await page.getByRole("alert").textContent();
    assert.equal(words, "This link was already used. Each link works once.");
    await button(page, "Send me a new link").click();
    await page.getByRole("heading", { name: "Check your mail" }).waitFor();
    assert.equal(mails(), 2);
    const second = newestLink();
    assert.notEqual(second, link);

    // Signing out ends the session, not only the cookie.
    await page.goto(`${server}/profile`);
    await button(page, "Sign out").click();
    await page.getByRole("heading", { name: "Signed out" }).waitFor();
    assert.deepEqual(await page.context().cookies(), []);
    await page.context().addCookies([cookie]);
    await page.goto(`${server}/profile`);
    await page.getByRole("heading", { name: "Signed out" }).waitFor();

    // And the new link lets them in again.
    await page.goto(second);
    await button(page, "Sign in").click();
    await page.waitForURL(`${server}/profile?**`);
    assert.equal(await field("First name").inputValue(), name);
    assert.equal(show().id, id);
    // Chromium's word for the page of a used link.
  }, { complaints: [/status of 410 .*\/links\/[\w-]{64}$/] }));

test("a wrong value is refused in words beside the form, and nothing is changed", () =>
  browse(
    async (page) => {
      await enrol({ clientId, key }, { email: "john@doe.com", phonenumber: "2025550177" });
      await page.goto(newestLink());
      await button(page, "Sign in").click();
      await page.getByLabel("E-mail", { exact: true }).fill(jane.email);
      await button(page, "Save").click();
      await page.getByText("This address belongs to another account.").waitFor();
      assert.equal(await page.getByLabel("E-mail", { exact: true }).getAttribute("aria-invalid"), "true");
      assert.equal(await page.getByLabel("E-mail", { exact: true }).inputValue(), jane.email);
      assert.equal(usher("user", "show", "john@doe.com").email, "john@doe.com");
    },
    { complaints: [/status of 409 .*\/profile\?/] },
  ));

test("without JavaScript everything works as well", () =>
  browse(
    async (page) => {
      await enrol({ clientId, key }, { email: "jim@doe.com", phonenumber: "2025550178" });
      await page.goto(newestLink());
      await button(page, "Sign in").click();
      await page.waitForURL(`${server}/profile?**`);
      await page.getByLabel("First name").fill("Jim");
      await page.getByLabel("First name").press("Enter");
      await page.getByText("Saved.").waitFor();
      assert.ok(!page.url().includes("Jim"), "nothing that was typed stands in the address");
      assert.equal(usher("user", "show", "jim@doe.com").profile.given_name, "Jim");
    },
    { javaScriptEnabled: false },
  ));

test("pages for what is not there have words and no way in", () =>
  browse(
    async (page) => {
      await page.goto(`${server}/links/${"A".repeat(64)}`);
      await page.getByRole("heading", { name: "Unknown link" }).waitFor();
      assert.equal(await page.getByRole("button").count(), 0);
      const answer = await page.goto(`${server}/links/a/b/c`);
      assert.equal(answer.status(), 404);
      await page.getByRole("heading", { name: "Page not found" }).waitFor();
    },
    { complaints: [/status of 404 .*\/links\/A{64}$/, /status of 404 .*\/links\/a\/b\/c$/] },
  ));
