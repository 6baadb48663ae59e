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
