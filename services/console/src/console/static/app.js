import { tinykeys } from "./vendor/tinykeys/tinykeys.mjs";

// What pages do by themselves. Every form and every link works without this file.

// A refused form: its summary is read first.
const summary = document.querySelector("[data-summary]");
if (summary) summary.focus();

// One press is one request: the button waits for the answer.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method !== "post") return;
  const form = event.target;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "true";
  for (const button of form.querySelectorAll("button[type=submit]")) button.setAttribute("aria-busy", "true");
});
// Back from another page: the form can be sent again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  }
});

// Filters apply as soon as something is chosen.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit-on-change]")) event.target.form.requestSubmit();
});

// "Try again in 12 seconds" counts down.
for (const place of document.querySelectorAll("[data-countdown]")) {
  let left = Number(place.dataset.countdown);
  const timer = setInterval(() => {
    left -= 1;
    place.textContent = place.textContent.replace(/\d+/, String(Math.max(left, 0)));
    if (left <= 0) clearInterval(timer);
  }, 1000);
}

// "All on this page" checks every box of its form.
document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-choose-all]")) return;
  for (const box of event.target.form.querySelectorAll("input[name=job]")) box.checked = event.target.checked;
});

// The token of a link in a mail stands behind the #: it goes into the form, and out of the address.
const tokenPlace = document.querySelector("[data-token]");
if (tokenPlace && location.hash.startsWith("#token=")) {
  tokenPlace.querySelector("input").value = location.hash.slice("#token=".length);
  tokenPlace.hidden = true;
  history.replaceState(null, "", location.pathname);
}

// The palette, and the keys.
const palette = document.querySelector("[data-palette]");
if (palette) {
  const input = palette.querySelector("input");
  const entries = [...palette.querySelectorAll("li")];
  const open = (event) => {
    event.preventDefault();
    if (!palette.open) palette.showModal();
    input.focus();
  };
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const entry of entries) entry.hidden = !entry.textContent.toLowerCase().includes(wanted);
  });
  palette.querySelector("form").addEventListener("submit", (event) => {
    const shown = entries.filter((entry) => !entry.hidden);
    if (!input.value.includes("_") && shown.length === 1) {
      event.preventDefault();
      shown[0].querySelector("a").click();
    }
  });
  const unlessTyping = (act) => (event) => {
    if (!event.target.closest("input, textarea, select, [contenteditable]")) act(event);
  };
  tinykeys(window, {
    "$mod+KeyK": open,
    "/": unlessTyping((event) => {
      const search = document.querySelector("main [data-search]");
      event.preventDefault();
      if (search) search.focus();
      else open(event);
    }),
    a: unlessTyping(() => {
      const drawer = document.querySelector("#api-drawer");
      if (!drawer) return;
      drawer.open = !drawer.open;
      drawer.scrollIntoView();
    }),
    "g m": unlessTyping(() => document.querySelector("nav a")?.focus()),
  });
}

// What people copy.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    document.querySelector("#announcements").textContent = button.getAttribute("aria-label") + " ✓";
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1500);
  });
}
