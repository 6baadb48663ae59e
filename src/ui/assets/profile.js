// Saves what the person changed by PUT /v1/users/me, as any app would.
const form = document.getElementById("profile");
const status = document.getElementById("status");
const button = form.querySelector("button");
const token = document.querySelector("meta[name=access-token]").content;

// Until here a press on Save would have put everything into the address.
button.disabled = false;

function say(text, failed = false) {
  status.textContent = text;
  status.className = failed ? "alert" : "";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const changed = [...form.querySelectorAll("input")].filter((input) => input.value !== input.defaultValue);
  if (changed.length === 0) {
    say("Nothing was changed.");
    return;
  }
  button.disabled = true;
  say("Saving …");
  try {
    const answer = await fetch("/v1/users/me", {
      method: "PUT",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify({ user: Object.fromEntries(changed.map((input) => [input.name, input.value])) }),
    });
    const { success, error } = await answer.json();
    if (success) {
      for (const input of changed) input.defaultValue = input.value;
      say("Saved.");
    } else {
      say(answer.status === 401 ? "You have been signed in for a while. Please reload this page." : error, true);
    }
  } catch {
    say("We could not reach the server. Nothing was saved; please try again.", true);
  } finally {
    button.disabled = false;
  }
});
