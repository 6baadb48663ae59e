// How an app looks and what its mails say, in Chromium: an owner sets both, and people see them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { clientId, enrol, key, server, usher } from "../contract/usher.mjs";
import { browse, look } from "./chromium.mjs";

const base = `${server}/admin/${clientId}/sandbox`;
const button = (page, name) => page.getByRole("button", { name, exact: true });
const said = (page, text) => page.getByRole("status").filter({ hasText: text }).waitFor();

async function signIn(page) {
  if (!usher("admin", "list").length) usher("admin", "create", "ann@clinic.example", "--role", "owner");
  await page.goto(usher("admin", "link", "ann@clinic.example", "--public-url", server).link);
  await button(page, "Sign in").click();
  await page.waitForURL(`${server}/admin/**`);
}

/** A picture, as the browser itself paints it. */
const painted = (page) =>
  page.evaluate(async () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [240, 96];
    const paint = canvas.getContext("2d");
    paint.fillStyle = "#0b7a3b";
    paint.arc(48, 48, 44, 0, 7);
    paint.fill();
    paint.font = "bold 56px sans-serif";
    paint.fillText("Calm", 104, 68);
    return canvas.toDataURL("image/png").split(",")[1];
  });

test("an owner gives the app a name, a colour and a logo, and a person sees them", () =>
  browse(async (page) => {
    await signIn(page);
    await page.goto(`${base}/settings`);
    await page.getByLabel("Name", { exact: true }).fill("Calm & Co");
    await page.getByLabel("Colour of buttons").fill("#ffd400");
    await page.getByLabel("Logo", { exact: true }).setInputFiles({ name: "logo.png", mimeType: "image/png", buffer: Buffer.from(await painted(page), "base64") });
    await page.locator("form", { has: page.getByLabel("Colour of buttons") }).getByRole("button", { name: "Save" }).click();
    await said(page, "Saved.");
    await look(page, "look");
    await enrol({ clientId, key });
    const mail = usher("mail", "show");
    assert.ok(mail.html.includes("background:#ffd400;color:#000000"), mail.html);
    await page.goto(mail.links[0]);
    await page.getByText("Calm & Co", { exact: true }).waitFor();
    assert.ok(await page.locator("img.logo").evaluate((image) => image.complete && image.naturalWidth === 240));
    const shown = await button(page, "Sign in").evaluate((one) => [getComputedStyle(one).backgroundColor, getComputedStyle(one).color]);
    assert.deepEqual(shown, ["rgb(255, 212, 0)", "rgb(0, 0, 0)"]);
    await button(page, "Sign in").hover();
    await look(page, "link-in-colour");
    await page.goto(`${base}/mails`);
    await page.getByRole("link", { name: "jane@doe.com" }).first().click();
    await page.frameLocator("iframe").getByText("Calm & Co", { exact: true }).waitFor();
  }));

test("an owner words a mail, sees it while typing, and cannot save what would break it", () =>
  browse(
    async (page) => {
      await signIn(page);
      await page.goto(`${base}/mails/templates/sign_in/ar`);
      await look(page, "wording-arabic");
      await page.goto(`${base}/mails/templates`);
      await look(page, "wordings");
      await page.getByRole("link", { name: "Welcome, with a link, English" }).click();
      await page.getByRole("heading", { level: 1 }).waitFor();
      await look(page, "wording");
      const mail = page.frameLocator("#preview iframe");
      await mail.getByText("Hello Alex,").waitFor();
      const about = page.getByLabel("What it is about");
      await about.fill("");
      await about.pressSequentially("Your coach at {app} is ready:", { delay: 10 });
      await mail.getByText("is ready:").waitFor();
      assert.ok(await about.evaluate((one) => one === document.activeElement), "who types goes on typing");
      await page.getByLabel("Of somebody whose name is not known").check();
      await mail.getByText("Hello,").waitFor();
      for (const view of ["Dark", "Phone"]) {
        await page.getByRole("radio", { name: view }).check();
        await page.locator(`#preview iframe.${view.toLowerCase()}`).waitFor();
        await look(page, `wording-${view.toLowerCase()}`);
      }
      await page.getByRole("radio", { name: "Plain text" }).check();
      await page.locator("#preview pre").filter({ hasText: "is ready:" }).waitFor();

      await about.fill("Your coach at {ap} is ready:");
      await page.getByText("{ap} is not known here; only {app} is filled in.").waitFor();
      await button(page, "Save").click();
      await page.getByText("It cannot be saved like this.").waitFor();
      await look(page, "wording-wrong");
      // Who leaves while the preview is on its way ends it, which the console calls an error.
      const shown = page.waitForResponse((response) => response.url().includes("/templates/enrolment/en?"));
      await page.getByLabel("What it is about").fill("Your coach at {app} is ready:");
      await (await shown).finished();
      await button(page, "Save").click();
      await said(page, "Saved.");
      assert.ok(usher("mail", "template", "show", "enrolment", "en", "--app", clientId).own.includes("mail_welcome"));
      await button(page, "Back to Usher's words").click();
      await said(page, "Mails say what Usher says");
      assert.deepEqual(usher("mail", "template", "show", "enrolment", "en", "--app", clientId).own, []);
    },
    { complaints: [/status of 400 .*templates\/enrolment\/en$/] },
  ));

test("without a script the same can be done", () =>
  browse(
    async (page) => {
      await signIn(page);
      await page.goto(`${base}/mails/templates/sign_in/ar`);
      await page.getByLabel("Button", { exact: true }).fill("ادخل");
      await button(page, "Show the preview").click();
      await page.frameLocator("#preview iframe").getByText("ادخل").waitFor();
      await button(page, "Save").click();
      await said(page, "Saved.");
    },
    { javaScriptEnabled: false },
  ));
