// Importing a file: what was dropped or chosen is checked at once, a dry run shows its progress beside the form, and an upload shows its own.
// Without this file the three buttons send the form as it is.
import { isReadyToSend } from "./session.js";

const CHECK_BYTES = 256 * 1024;
const form = document.querySelector("[data-import]");
const input = form.querySelector("input[type=file]");
const zone = form.querySelector("[data-drop]");
const bar = form.querySelector("[data-upload]");

// The fields of the form come before the file: the server reads them first.
function filled(file, more = {}) {
  const data = new FormData();
  for (const [name, value] of new FormData(form)) if (name !== "file") data.append(name, value);
  for (const [name, value] of Object.entries(more)) data.append(name, value);
  data.append("file", file, input.files[0].name);
  return data;
}

function show(id, text, chosen) {
  const found = new DOMParser().parseFromString(text, "text/html").querySelector(chosen);
  const place = document.getElementById(id);
  if (found) place.replaceChildren(...document.importNode(found, true).childNodes);
  return found;
}

async function check() {
  const file = input.files[0];
  if (!file) return;
  const partial = file.size > CHECK_BYTES;
  const part = partial ? file.slice(0, CHECK_BYTES) : file;
  const answer = await fetch("/imports/check", {
    method: "POST",
    headers: { "HX-Request": "true" },
    body: filled(part, partial ? { partial: "true" } : {}),
  });
  show("check", await answer.text(), "#check, .alert");
  document.getElementById("try").replaceChildren();
}

function send(address) {
  bar.hidden = false;
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) bar.value = (100 * event.loaded) / event.total;
    });
    request.addEventListener("loadend", () => (bar.hidden = true));
    request.addEventListener("load", () => done(request));
    request.addEventListener("error", failed);
    request.send(filled(input.files[0]));
  });
}

function busy(on) {
  delete form.dataset.sent;
  for (const button of form.querySelectorAll("button")) {
    button.disabled = on;
    button.removeAttribute("aria-busy");
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  if (!input.files[0] || button.disabled) return;
  busy(true);
  try {
    if (!(await isReadyToSend())) return;
    if (button.matches("[data-check]")) await check();
    else {
      const answer = await send(button.getAttribute("formaction") ?? form.action);
      const tried = button.matches("[data-try]") && answer.responseURL.includes("/imports/imp_");
      if (tried) {
        // The dry run is shown beside the form, whose file stays chosen for the import.
        const result = show("try", answer.responseText, "main");
        const part = document.querySelector("#try [data-import-result]");
        if (result && part) {
          part.dataset.live = "jobs";
          part.dataset.liveNames = part.id.replace("import-", "job-imports/");
          part.dataset.liveFrom = `${answer.responseURL}?beside=form`;
          document.getElementById("try").replaceChildren(part);
          document.dispatchEvent(new Event("live:look"));
          part.scrollIntoView({ block: "nearest" });
        }
      } else if (answer.status < 300) location.assign(answer.responseURL);
      else show("check", answer.responseText, "#check");
    }
  } finally {
    busy(false);
  }
});

// The zone says what was chosen; the browser's own control is for those without this file.
function chosen() {
  zone.querySelector("[data-chosen]").textContent = input.files[0]?.name ?? "";
  check().catch(() => {});
}

input.classList.add("sr-only");
input.addEventListener("change", chosen);
for (const kind of ["dragenter", "dragover"])
  zone.addEventListener(kind, (event) => {
    event.preventDefault();
    zone.dataset.over = "true";
  });
for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => delete zone.dataset.over);
zone.addEventListener("drop", (event) => {
  event.preventDefault();
  if (!event.dataTransfer.files.length) return;
  input.files = event.dataTransfer.files;
  chosen();
});
