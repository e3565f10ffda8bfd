// Receives webhooks of Waybill. Needs Node.js 20 and no packages.
import { createHmac, createPublicKey, timingSafeEqual, verify } from "node:crypto";
import { createServer } from "node:http";

const SECRETS = (process.env.WEBHOOK_SECRET ?? "").split(",").filter(Boolean); // whsec_…, during a rotation two
const PUBLIC_KEY = process.env.WEBHOOK_PUBLIC_KEY; // whpk_…, if the endpoint has a key pair
const TOLERANCE_SECONDS = 300;
const BODY_BYTES_MAX = 1024 * 1024;
// What stands before the 32 bytes of an Ed25519 key in its usual envelope (SubjectPublicKeyInfo).
const ENVELOPE = Buffer.from("302a300506032b6570032100", "hex");

const seen = new Set(); // in a real receiver: a unique column of your database

/** Whether Waybill has sent this body, and just now. */
function isGenuine(headers, body) {
  const id = headers["webhook-id"];
  const timestamp = headers["webhook-timestamp"];
  if (!id || !/^\d{1,12}$/.test(timestamp ?? "")) return false;
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_SECONDS) return false;
  const content = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  return (headers["webhook-signature"] ?? "").split(" ").some((one) => {
    const [version, value = ""] = one.split(",");
    return (version === "v1" && hasSecret(content, value)) || (version === "v1a" && hasKey(content, value));
  });
}

function hasSecret(content, signature) {
  const given = Buffer.from(signature, "base64");
  return SECRETS.some((secret) => {
    const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
    const expected = createHmac("sha256", key).update(content).digest();
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

function hasKey(content, signature) {
  if (!PUBLIC_KEY) return false;
  const raw = Buffer.from(PUBLIC_KEY.replace(/^whpk_/, ""), "base64");
  const key = createPublicKey({ key: Buffer.concat([ENVELOPE, raw]), format: "der", type: "spki" });
  return verify(null, content, key, Buffer.from(signature, "base64"));
}

createServer((request, response) => {
  const parts = [];
  let length = 0;
  request.on("data", (part) => {
    length += part.length;
    if (length <= BODY_BYTES_MAX) parts.push(part);
  });
  request.on("end", () => {
    if (length > BODY_BYTES_MAX) return response.writeHead(413).end();
    const body = Buffer.concat(parts); // the bytes as they came: not parsed, not decoded
    if (!isGenuine(request.headers, body)) return response.writeHead(401).end();
    const id = request.headers["webhook-id"];
    if (!seen.has(id)) {
      seen.add(id);
      console.log(id, JSON.parse(body).type); // put it into a queue of yours: answer first, work later
    }
    response.writeHead(204).end();
  });
}).listen(Number(process.env.PORT), "127.0.0.1");
