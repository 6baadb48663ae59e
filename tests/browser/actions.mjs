// Keeps account of a walk: what there was to do on the pages it came to, and what of it was done. So that an action that
// nobody has clicked yet fails the walk, by its name.
import assert from "node:assert/strict";

/** Each action with the page that had it first. */
const seen = new Map();
const done = new Set();
/** Each method and path that was asked for. */
const asked = new Set();
/** The path of each page that was looked at. */
const looked = new Set();

/** Takes note of all that happens on a context's pages. */
export async function watch(context) {
  await context.exposeBinding("noteSeen", ({ page }, actions) => {
    for (const action of actions) if (!seen.has(action)) seen.set(action, new URL(page.url()).pathname);
  });
  await context.exposeBinding("noteDone", (_, action) => void done.add(action));
  await context.addInitScript(account);
  context.on("request", (request) => asked.add(`${request.method()} ${new URL(request.url()).pathname}`));
  // Chromium takes a download for no request of the page's.
  context.on("page", (page) => page.on("download", (download) => asked.add(`GET ${new URL(download.url()).pathname}`)));
}

/** Fails with the actions of the pages below `roots` that were not done, and where they are. */
export function assertAllDone(...roots) {
  const ours = [...seen].filter(([action]) => roots.some((root) => action.split(" ")[1].startsWith(root)));
  assert.ok(ours.length > 0, "the walk saw nothing to do");
  assert.deepEqual(ours.filter(([action]) => !done.has(action)).map(([action, page]) => `${action}   on ${page}`), []);
}

/** Takes note that a page is looked at. */
export function noteLook(page) {
  looked.add(`GET ${new URL(page.url()).pathname}`);
}

/** The routes that lead to none of these. What several lead to is of the one with the fewest parameters. */
function without(routes, all) {
  assert.ok(routes.length > 0, "there are no routes");
  const pattern = (route) => new RegExp(`^${route.replaceAll(".", "\\.").replaceAll(/\{[^}]*\}/g, "[^/]+")}$`);
  const exact = [...routes].sort((one, other) => one.split("{").length - other.split("{").length);
  const reached = new Set([...all].map((one) => exact.find((route) => pattern(route).test(one))));
  return routes.filter((route) => !reached.has(route));
}

/** Fails with the routes, `METHOD /path/{parameter}`, that the walk did not ask for. */
export function assertAllAsked(routes) {
  assert.deepEqual(without(routes, asked), []);
}

/** Fails with the routes whose pages `look` has not seen, but for those that answer no page, which are named. */
export function assertAllLooked(routes, noPages = []) {
  // There nobody looks.
  if (process.env.DATABASE) return;
  const left = without(routes, looked).filter((route) => route.startsWith("GET "));
  assert.deepEqual(left.sort(), [...noPages].sort());
}

/** Runs in every page. An action is a form with the names of its fields and of the button that sends it, a button without
 * a form, or a link; ids in its address are left out, and of its query what is not a choice between views. A link counts as
 * followed when its page was reached, by whatever way: what it can do wrong is lead nowhere. The documentation has the same form
 * on the page of every operation and the same link to the Markdown of every page, which are one action each. */
function account() {
  const CHOICES = ["view", "state", "format", "live"];
  const place = (address) => {
    const url = new URL(address, location.href);
    const path = url.pathname
      .replaceAll(/\/[0-9a-f]{8}-[0-9a-f-]{27}(?=\/|$)/g, "/{id}")
      .replaceAll(/\/[\w-]{43,}(?=\/|$)/g, "/{secret}")
      .replace(/\/(sandbox|live)(?=\/|$)/, "/{environment}")
      .replace(/^\/docs\/.*\.md$/, "/docs/{page}.md")
      .replace(/\/templates\/\w+\/\w+(?=\/|$)/, "/templates/{kind}/{language}");
    const query = CHOICES.filter((name) => url.searchParams.get(name)).map((name) => `${name}=${url.searchParams.get(name)}`);
    return path + (query.length ? `?${query.join("&")}` : "");
  };
  // A field may be called `method`, so attributes are asked for as such.
  const form = (form, button) => {
    if (form.dataset.path) return "TRY /docs";
    const method = (form.getAttribute("method") ?? "get").toUpperCase();
    const names = [...form.elements].filter((e) => e.name && e.type !== "hidden" && e !== button && !e.matches("button")).map((e) => e.name);
    const hidden = [...form.elements].filter((e) => e.type === "hidden" && e.name && method === "POST").map((e) => e.name);
    const chosen = button?.name ? ` ${button.name}=${button.value}` : "";
    return `${method} ${place(form.getAttribute("action") ?? location.href)} (${[...new Set([...names, ...hidden])]})${chosen}`;
  };
  const link = (a) => `OPEN ${place(a.href)}`;
  const button = (button) => `PRESS /${location.pathname.split("/")[1]} ${button.title || button.textContent.trim()}`;
  const isOurs = (a) => a.origin === location.origin && !a.getAttribute("href").startsWith("#");

  const look = () => {
    const actions = new Set();
    for (const one of document.forms) {
      const buttons = [...one.elements].filter((e) => e.matches("button[name]"));
      for (const sender of buttons.length ? buttons : [null]) actions.add(form(one, sender));
    }
    for (const one of document.querySelectorAll("button")) if (!one.form) actions.add(button(one));
    for (const one of document.querySelectorAll("a[href]")) if (isOurs(one)) actions.add(link(one));
    window.noteSeen([...actions]);
  };
  // A form may ask while somebody types; what changes something is done by sending it.
  const does = (element) => {
    const sent = element.closest?.("form");
    if (sent && sent.getAttribute("method") !== "post") window.noteDone(form(sent, null));
  };
  addEventListener("DOMContentLoaded", () => {
    // Whoever is on a page has opened it.
    window.noteDone(`OPEN ${place(location.href)}`);
    look();
    document.addEventListener("htmx:afterSettle", () => {
      window.noteDone(`OPEN ${place(location.href)}`);
      look();
    });
    document.addEventListener("htmx:beforeRequest", (event) => does(event.detail.elt));
  });
  addEventListener("submit", (event) => window.noteDone(form(event.target, event.submitter)), true);
  addEventListener(
    "click",
    (event) => {
      const one = event.target.closest?.("a[href], button");
      if (one?.matches("a") && isOurs(one)) window.noteDone(link(one));
      if (one?.matches("button") && !one.form) window.noteDone(button(one));
    },
    true,
  );
}
