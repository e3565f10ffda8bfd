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
