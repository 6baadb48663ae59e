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
