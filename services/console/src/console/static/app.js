import { tinykeys } from "./vendor/tinykeys/tinykeys.mjs";
import { isReadyToSend, mayEnd } from "./session.js";

// What pages do by themselves. Every form and every link works without this file.

// A refused form: its summary is read first.
const summary = document.querySelector("[data-summary]");
if (summary) summary.focus();

// One press is one request: the button waits for the answer. Where the session has ended meanwhile, the form waits for another one.
const buttonsOf = (form) => form.querySelectorAll("button[type=submit]");
function release(form) {
  delete form.dataset.sent;
  for (const button of buttonsOf(form)) button.removeAttribute("aria-busy");
}
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post" || form.dataset.sent === "ready") return;
  if (form.dataset.sent) return event.preventDefault();
  for (const button of buttonsOf(form)) button.setAttribute("aria-busy", "true");
  form.dataset.sent = "gone";
  if (!mayEnd) return;
  event.preventDefault();
  const goesOut = await isReadyToSend();
  if (!goesOut || !(event.submitter?.formNoValidate || form.reportValidity())) return release(form);
  form.dataset.sent = "ready";
  form.requestSubmit(event.submitter);
  form.dataset.sent = "gone";
});
// Back from another page: the form can be sent again.
addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach(release));

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
  const shown = () => entries.filter((entry) => !entry.hidden).map((entry) => entry.querySelector("a, button"));
  palette.querySelector("form").addEventListener("submit", (event) => {
    const [first] = shown();
    // An id or an e-mail address is looked for.
    if (!first || !input.value.trim() || /[_@]/.test(input.value)) return;
    event.preventDefault();
    first.click();
  });
  palette.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const places = [input, ...shown()];
    places[(places.indexOf(document.activeElement) + step + places.length) % places.length].focus();
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

// A merchant is looked for while its name is typed; what is sent is the id.
for (const input of document.querySelectorAll("[data-lookup]")) {
  let timer;
  input.addEventListener("input", () => {
    const known = [...input.list.options].find((option) => option.value === input.value);
    const shown = input.closest(".field")?.querySelector("output");
    if (shown) shown.textContent = known?.textContent ?? "";
    clearTimeout(timer);
    if (known || !input.value.trim()) return;
    timer = setTimeout(async () => {
      const answer = await fetch(`${input.dataset.lookup}?q=${encodeURIComponent(input.value.trim())}`, { headers: { "HX-Request": "true" } });
      if (!answer.ok) return;
      const read = new DOMParser().parseFromString(await answer.text(), "text/html");
      input.list.replaceChildren(...document.importNode(read.body, true).querySelectorAll("option"));
    }, 200);
  });
}

// What somebody else has saved is taken over into its field.
for (const button of document.querySelectorAll("[data-take]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const field = document.getElementById(button.dataset.take);
    field.value = button.dataset.value;
    field.focus();
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
