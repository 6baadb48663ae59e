// What makes the dashboard quicker to use. Without it everything works.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});

// Without TLS a browser lends no clipboard: then the text is selected, and whoever wants it is told how to take it.
async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    tell("Copied");
    button.classList.add("is-done");
    setTimeout(() => button.classList.remove("is-done"), 1200);
  } catch {
    getSelection().selectAllChildren(code);
    tell("Not copied. It is selected: press Ctrl+C.");
  }
}

// Says what became of a button, to eyes and to screen readers.
let silence;
function tell(words) {
  const told = document.getElementById("told");
  told.textContent = words;
  clearTimeout(silence);
  silence = setTimeout(() => (told.textContent = ""), 6000);
}

// To the search with Ctrl+K, wherever one is; on a Mac with Cmd+K, for there Ctrl+K cuts a line. A single key would be pressed by
// accident, and by whoever speaks to their machine.
const isMac = /^(Mac|iP)/.test(navigator.platform);
if (isMac) for (const hint of document.querySelectorAll(".find kbd")) hint.textContent = "⌘ K";
document.addEventListener("keydown", (event) => {
  const find = document.getElementById("find");
  if (find && event.key?.toLowerCase() === "k" && event[isMac ? "metaKey" : "ctrlKey"] && !event.shiftKey && !event.altKey) {
    event.preventDefault();
    find.focus();
    find.select();
  }
  if (event.key === "Escape") {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  }
});

// A button that undoes nothing waits until its words are typed; the server checks them once more.
document.addEventListener("input", (event) => {
  const words = event.target.dataset?.words;
  if (words) event.target.form.querySelector("button").disabled = event.target.value.trim() !== words;
});
function guard(root) {
  for (const input of root.querySelectorAll("input[data-words]")) input.form.querySelector("button").disabled = input.value.trim() !== input.dataset.words;
}
guard(document);
document.addEventListener("htmx:load", (event) => guard(event.detail.elt));

// Where a part of the page did not come, the page says so until one comes again; what it shows stays.
function trouble(words) {
  const note = document.getElementById("trouble");
  if (!note) return;
  note.hidden = !words;
  // What is written anew is read out anew.
  const [text, says] = [note.querySelector("p"), words && `${words} What you see here may be old.`];
  if (text.textContent !== says) text.textContent = says;
}
for (const away of ["htmx:sendError", "htmx:timeout"])
  document.addEventListener(away, () => trouble("The server does not answer."));
document.addEventListener("htmx:responseError", ({ detail: { xhr, requestConfig } }) => {
  // Whoever may no longer look sees nothing any more, and does not ask on: each time stands in the audit trail.
  if ([401, 403].includes(xhr.status) && requestConfig.headers["Usher-By-Itself"]) return location.reload();
  const answer = new DOMParser().parseFromString(xhr.responseText, "text/html");
  const words = [...answer.querySelectorAll("main h1, main h1 + p")].map((element) => element.textContent.trim());
  trouble(`The server answered ${xhr.status}. ${words.map((text) => text.replace(/[.:]?$/, ".")).join(" ")}`.trim());
});
document.addEventListener("htmx:afterRequest", (event) => event.detail.successful && trouble(""));

// What is asked for again is faded until it comes; who does not see that hears that it is busy.
for (const [when, busy] of [["htmx:beforeRequest", "true"], ["htmx:afterRequest", null]])
  document.addEventListener(when, ({ detail: { target } }) => target.matches(".fades") && (target.ariaBusy = busy));

// A part that is asked for again and again changes where it differs, so that whoever is in it stays there: what they opened
// stays open, what they typed stays, and if what had the focus is gone, the part has it.
const mine = { open: "details", disabled: "form:has([data-words]) button" };
Object.assign(Idiomorph.defaults.callbacks, {
  beforeAttributeUpdated: (name, element) => !mine[name] || !element.matches(mine[name]),
  beforeNodeMorphed: (node) => !node.dataset?.words,
});
let left;
document.addEventListener("htmx:beforeSwap", ({ detail: { target } }) => (left = target.contains(document.activeElement) && target.id));
document.addEventListener("htmx:afterSwap", () => {
  if (left && document.activeElement === document.body) document.getElementById(left)?.focus();
});
