// The documentation's conveniences: copying code, one language for all examples, sending a request to the sandbox.

for (const block of document.querySelectorAll(".code:not(.output)")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const code = block.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      // Without TLS a browser lends no clipboard.
      getSelection().selectAllChildren(code);
      button.textContent = "Press Ctrl+C";
    }
    document.getElementById("told").textContent = button.textContent;
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  block.append(button);
}

// The language that was chosen last is chosen everywhere.
const radios = [...document.querySelectorAll(".tabs input")];
const choose = (language) => {
  for (const radio of radios) if (radio.value === language) radio.checked = true;
};
try {
  choose(localStorage.getItem("docs-language"));
} catch {
  // A browser that keeps nothing shows the first one.
}
for (const radio of radios) {
  radio.addEventListener("change", () => {
    choose(radio.value);
    try {
      localStorage.setItem("docs-language", radio.value);
    } catch {
      // As above.
    }
  });
}

const form = document.querySelector("form.request");
if (form) {
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
}

function show(className, ...parts) {
  const answer = form.querySelector(".answer");
  answer.className = `answer ${className}`;
  answer.replaceChildren(
    ...parts.filter(Boolean).map(([name, text]) => {
      const element = document.createElement(name);
      element.textContent = text;
      if (name === "pre") element.tabIndex = 0;
      return element;
    }),
  );
}

async function send() {
  const key = form.querySelector("#try-key").value.trim();
  if (!key.startsWith("usher_sandbox_")) {
    const live = key.startsWith("usher_live_");
    show("failed", ["p", live ? "This is a live key. Here only sandbox keys are sent." : "A sandbox key begins with usher_sandbox_."]);
    return;
  }
  const headers = new Headers();
  if (form.dataset.auth === "app") {
    headers.set("X-API-KEY", key);
    headers.set("X-API-KEY-TYPE", key.startsWith("usher_sandbox_r_") ? "read" : "write");
    headers.set("X-CLIENT-ID", form.querySelector("#try-client").value.trim());
  } else {
    headers.set("Authorization", `Bearer ${key}`);
  }
  let path = form.dataset.path;
  const query = new URLSearchParams();
  for (const { value, dataset } of form.querySelectorAll("[data-in]")) {
    if (dataset.in === "path") path = path.replace(`{${dataset.name}}`, encodeURIComponent(value.trim()));
    else if (!value.trim()) continue;
    else if (dataset.in === "query") query.append(dataset.name, value.trim());
    else headers.set(dataset.name, value.trim());
  }
  const body = form.querySelector("#try-body")?.value;
  if (body !== undefined) headers.set("Content-Type", form.dataset.type);
  const button = form.querySelector("button[type=submit]");
  button.disabled = true;
  try {
    const began = performance.now();
    const answer = await fetch(query.size ? `${path}?${query}` : path, { method: form.dataset.method, headers, body, credentials: "omit", cache: "no-store" });
    const text = await answer.text();
    const took = Math.round(performance.now() - began);
    const id = answer.headers.get("Request-Id");
    show(answer.ok ? "done" : "failed", ["p", `${answer.status} in ${took} ms · Request-Id ${id}`], ["pre", pretty(text)]);
  } catch {
    show("failed", ["p", "The server could not be reached."]);
  } finally {
    button.disabled = false;
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
