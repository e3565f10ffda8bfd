// A session that ends while a page is open: a dialog asks for the password, what was entered stays, and what was about to be sent goes on.
const CHECK_MS = 2000;
const HEADERS = { "HX-Request": "true" };
const dialog = document.querySelector("#sign-in-again");
// Whether there is a session that can end: not on the pages of signing in.
export const mayEnd = dialog !== null;
let asking = null;
let isPutOff = false;

// The forms of this page belong to the session of now, where it is the same person's.
function takeOver(answer) {
  const token = answer.headers.get("X-Form-Token");
  if (!token || answer.headers.get("X-Person") !== dialog.dataset.person) return;
  for (const field of document.querySelectorAll("input[name=form_token]")) field.value = token;
}

async function isSignedIn() {
  try {
    const answer = await fetch("/session", { headers: HEADERS, signal: AbortSignal.timeout(CHECK_MS) });
    if (answer.ok) takeOver(answer);
    return answer.status !== 401;
  } catch {
    return true; // What is sent will say so itself.
  }
}

async function signIn(form) {
  const body = new URLSearchParams(new FormData(form));
  const answer = await fetch(form.action, { method: "POST", headers: HEADERS, body });
  if (answer.ok) {
    takeOver(answer);
    dialog.close("signed in");
    return;
  }
  const found = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("form, .alert");
  if (!found) return;
  for (const field of form.querySelectorAll("input")) {
    const again = found.querySelector(`#${field.id || "none"}`);
    if (again) again.value = field.value;
  }
  form.replaceWith(document.importNode(found, true));
  dialog.querySelector("[data-summary], input[required]:placeholder-shown")?.focus();
}

// Ask for the password; true once the same person is signed in again, false where it was put off.
function signInAgain() {
  asking ??= new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "signed in"), { once: true });
    dialog.showModal();
  }).finally(() => {
    asking = null;
  });
  return asking;
}

// Before something is sent: whether it may go out.
export async function isReadyToSend() {
  return !mayEnd || (await isSignedIn()) || (await signInAgain());
}

// What a page fetches by itself was refused: ask once, and not again where the person put it off.
export async function hasEnded(source) {
  if (!mayEnd || isPutOff) return;
  const goesOn = await signInAgain();
  isPutOff = !goesOn;
  if (goesOn) source?.click?.();
}

if (mayEnd) {
  dialog.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = event.submitter;
    if (button?.disabled) return;
    if (button) button.disabled = true;
    signIn(event.target).finally(() => {
      if (button) button.disabled = false;
    });
  });
  dialog.addEventListener("click", (event) => {
    if (event.target.closest("[data-close]")) dialog.close();
  });
  document.addEventListener("htmx:response:error", (event) => {
    const context = event.detail.ctx;
    if (context.response.status !== 401) return;
    hasEnded(context.sourceElement.matches("button") ? context.sourceElement : null);
  });
}
