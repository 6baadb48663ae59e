// The dashboard in Chromium: an administrator comes in, sees every page, and does what can be done there.
import assert from "node:assert/strict";
import { test } from "node:test";
import { clientId, enrol, jane, key, server, usher } from "../contract/usher.mjs";
import { inspect } from "./axe.mjs";
import { browse } from "./chromium.mjs";

const base = `${server}/admin/${clientId}/sandbox`;
const button = (page, name) => page.getByRole("button", { name, exact: true });
const heading = (page, name) => page.getByRole("heading", { name, exact: true, level: 1 }).waitFor();

/** Signs an administrator in, made if need be. */
async function signIn(page, email, role) {
  if (!usher("admin", "list").some((one) => one.email === email)) usher("admin", "create", email, "--role", role);
  await page.goto(usher("admin", "link", email, "--public-url", server).link);
  await button(page, "Sign in").click();
  await page.waitForURL(`${server}/admin/**`);
}

test("whoever is not signed in is asked for their address, and a link lets them in", () =>
  browse(
    async (page) => {
      await page.goto(`${server}/admin`);
      await heading(page, "Sign in to the dashboard");
      await inspect(page, "sign-in");
      await page.getByLabel("E-mail").fill("nobody@clinic.example");
      await button(page, "Send me a link").click();
      await heading(page, "Check your mail");
      await inspect(page, "check-your-mail");
      await signIn(page, "ann@clinic.example", "owner");
      await heading(page, "Home");
    },
    { complaints: [/status of 401 .*\/admin$/] },
  ));

test("home, with nobody and with somebody", () =>
  browse(async (page) => {
    await signIn(page, "ann@clinic.example", "owner");
    await page.goto(base);
    await page.getByText("Nobody is enrolled yet").waitFor();
    await inspect(page, "home-empty");
    await enrol({ clientId, key });
    await page.goto(base);
    await inspect(page, "home");
  }));

test("a person is found, frozen, revealed and erased, and every page of theirs can be read by everybody", () =>
  browse(
    async (page) => {
      await signIn(page, "ann@clinic.example", "owner");
      await enrol({ clientId, key }, { email: "mary@doe.com", phonenumber: "2025550188", firstname: "Mary", lastname: "Sue" });
      await enrol({ clientId, key }, { email: "li@doe.com", phonenumber: "2025550189", firstname: "Li", lastname: "Wei" });

      await page.goto(`${base}/users`);
      await heading(page, "Users");
      await inspect(page, "users");
      // Typing searches by itself, and the address says what is shown.
      await page.locator("#q").pressSequentially("mar", { delay: 30 });
      await page.waitForURL(`${base}/users?*q=mar*`);
      await page.getByText("li@doe.com").waitFor({ state: "detached" });
      await page.getByText("mary@doe.com").waitFor();
      await page.locator("#q").fill("nobody at all");
      await page.getByText("Nobody fits").waitFor();
      await inspect(page, "users-none");

      // The box at the top, by the keyboard alone.
      await page.goto(base);
      await page.keyboard.press("/");
      await page.keyboard.type("mary@doe.com");
      await page.keyboard.press("Enter");
      await page.waitForURL(`${base}/users/*`);
      await page.getByText("not verified").waitFor();
      await inspect(page, "user");
      await button(page, "Send a link").click();
      await page.getByRole("status").filter({ hasText: "new link" }).waitFor();
      await button(page, "Freeze").click();
      await page.getByRole("status").filter({ hasText: "Frozen" }).waitFor();
      assert.equal(usher("user", "show", "mary@doe.com").status, "frozen");
      await inspect(page, "user-frozen");
      await button(page, "Unfreeze").click();
      await page.getByRole("status").filter({ hasText: "Unfrozen" }).waitFor();

      await page.getByRole("link", { name: "Health" }).click();
      await page.getByText("height").waitFor();
      assert.equal(await page.getByText("5ft 6in").count(), 0);
      await inspect(page, "user-health");
      await page.getByLabel("Why do you need to see it?").fill("She asked what we know of her");
      await button(page, "Reveal").click();
      await page.getByText("5ft 6in").waitFor();
      await inspect(page, "user-health-shown");
      for (const [tab, name] of [["subscription", "Subscription"], ["mail", "Mail"], ["sessions", "Sessions"], ["events", "Events"], ["story", "The whole story"], ["json", "JSON"]]) {
        await page.getByRole("navigation", { name: "About the user" }).getByRole("link", { name, exact: true }).click();
        await page.waitForURL(`**/${tab}`);
        await inspect(page, `user-${tab}`);
      }

      await page.getByRole("link", { name: "Profile" }).click();
      const erase = button(page, "Erase for good");
      assert.ok(await erase.isDisabled(), "nothing is typed yet");
      await page.locator("#confirm-erase").fill("mary@doe.com");
      await erase.click();
      await page.getByRole("status").filter({ hasText: "Erased." }).waitFor();
      await page.goto(base);
      await inspect(page, "home");
      await page.getByText("The charts as a table").click();
      await inspect(page, "home-table");
    },
  ));

test("the live environment looks like itself, and a theme is remembered", () =>
  browse(async (page) => {
    await signIn(page, "ann@clinic.example", "owner");
    await page.goto(base);
    await page.locator("details.switch summary").click();
    await inspect(page, "switch");
    await page.getByRole("link", { name: /live/ }).click();
    await page.waitForURL(`${server}/admin/${clientId}/live`);
    assert.equal(await page.getByText("Nothing here is about a real person").count(), 0);
    await inspect(page, "home-live");
    await button(page, "Dark").click();
    await page.waitForURL(`${server}/admin/${clientId}/live`);
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
    await button(page, "Sign out").click();
    await heading(page, "Sign in to the dashboard");
  }));

test("without JavaScript the dashboard works", () =>
  browse(
    async (page) => {
      await signIn(page, "ann@clinic.example", "owner");
      await page.goto(`${base}/users`);
      await page.locator("#q").fill("jane");
      await button(page, "Show").click();
      await page.getByRole("link", { name: "jane doe" }).click();
      await button(page, "Freeze").click();
      await page.getByRole("status").filter({ hasText: "Frozen" }).waitFor();
      await button(page, "Unfreeze").click();
    },
    { javaScript: false },
  ));

test("keys, mail, webhooks, requests, the audit trail and settings are seen and used", () =>
  browse(async (page) => {
    await signIn(page, "ann@clinic.example", "owner");
    const visit = async (path, name, title) => {
      await page.goto(`${base}/${path}`);
      await heading(page, title);
      await inspect(page, name);
    };
    await visit("keys", "keys", "Keys");
    await page.getByLabel("Name").fill("Clinic North");
    await button(page, "Make the key").click();
    await heading(page, "Here is the key");
    assert.match(await page.locator(".code code").first().textContent(), /^usher_sandbox_w_/);
    await inspect(page, "key-made");
    await page.getByRole("link", { name: "I have copied it" }).click();
    await page.getByRole("link", { name: "Clinic North" }).click();
    await heading(page, "Clinic North");
    await inspect(page, "key");
    assert.ok(await button(page, "Revoke the key").isDisabled());
    await page.getByLabel("Type revoke to confirm").fill("revoke");
    await button(page, "Revoke the key").click();
    await page.getByText("It stops working within a second.").waitFor();

    await visit("mails", "mails", "Mail");
    await page.locator("tbody .row-link").first().click();
    await page.getByRole("heading", { name: "How it looks" }).waitFor();
    await page.frameLocator("iframe.preview").getByRole("link").first().waitFor();
    await inspect(page, "mail");
    for (const view of ["Dark", "Phone", "Plain text"]) {
      await page.getByRole("link", { name: view, exact: true }).click();
      await page.locator("iframe.preview, pre.block").waitFor();
    }

    await visit("webhooks", "webhooks-empty", "Webhooks");
    await page.getByLabel("Address").fill("https://hooks.example.com/usher");
    await button(page, "Make the webhook").click();
    await heading(page, "Here is the secret");
    await inspect(page, "webhook-secret");
    await page.getByRole("link", { name: "I have copied it" }).click();
    await button(page, "Send a test").click();
    await page.getByText("A test is on its way.").waitFor();
    await inspect(page, "webhook");
    await button(page, "Disable").click();
    await page.getByText("Nothing is sent: by hand.").waitFor();

    await visit("requests", "requests", "Requests");
    await page.getByRole("link", { name: "Follow live" }).click();
    await page.waitForResponse((response) => response.url().includes("live=1") && response.request().headers()["hx-request"]);

    await visit("audit", "audit", "Audit trail");
    await page.locator("tbody .row-link").first().click();
    await page.getByRole("heading", { name: "What changed" }).waitFor();
    await inspect(page, "audit-entry");
    await page.goto(`${base}/audit`);
    await button(page, "Verify the chain").click();
    await page.getByText("is as it was written").waitFor();
    await inspect(page, "audit-verified");

    await visit("settings", "settings", "Settings");
    await page.getByLabel("Another address").fill("https://app.example.com/back");
    await button(page, "Add it").click();
    await page.getByText("Added.").waitFor();
    await inspect(page, "settings-added");
  }));
