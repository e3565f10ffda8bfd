// Checks a Standard Webhooks signature in the browser: the secret is sent nowhere.
const box = document.querySelector("[data-signature]");

const bytesOf = (base64) => Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));

async function isSigned(entered) {
  const secret = entered.get("secret").trim().replace(/^whsec_/, "");
  const key = await crypto.subtle.importKey("raw", bytesOf(secret), { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
  const signed = new TextEncoder().encode(`${entered.get("id").trim()}.${entered.get("timestamp").trim()}.${entered.get("body")}`);
  for (const one of entered.get("signature").trim().split(/\s+/)) {
    const [version, value] = one.split(",");
    if (version === "v1" && value && (await crypto.subtle.verify("HMAC", key, bytesOf(value), signed))) return true;
  }
  return false;
}

if (box && crypto.subtle) {
  box.hidden = false;
  const said = box.querySelector("output");
  box.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    let verdict = "no";
    try {
      if (await isSigned(new FormData(event.target))) verdict = "yes";
    } catch {
      verdict = "unreadable";
    }
    said.dataset.verdict = verdict;
    said.textContent = said.dataset[verdict];
  });
}
