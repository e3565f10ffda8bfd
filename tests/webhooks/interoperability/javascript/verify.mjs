// Verifies messages with the public library (v1) and with the runtime's own Ed25519 (v1a). On each line of standard input, between tabs:
// secret, public key, id, timestamp, signature, base64 of the body. The answer to each: whether v1 holds, and whether v1a does.
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

// What stands before the 32 bytes of an Ed25519 key in its usual envelope (SubjectPublicKeyInfo).
const ENVELOPE = Buffer.from("302a300506032b6570032100", "hex");

function holdsBySecret(secret, id, timestamp, signature, body) {
  const headers = { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature };
  try {
    new Webhook(secret).verify(body.toString("utf8"), headers);
    return true;
  } catch {
    return false;
  }
}

function holdsByPublicKey(publicKey, id, timestamp, signature, body) {
  const raw = Buffer.from(publicKey.replace(/^whpk_/, ""), "base64");
  const key = createPublicKey({ key: Buffer.concat([ENVELOPE, raw]), format: "der", type: "spki" });
  const content = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  return signature
    .split(" ")
    .filter((one) => one.startsWith("v1a,"))
    .some((one) => verify(null, content, key, Buffer.from(one.slice(4), "base64")));
}

for (const line of readFileSync(0, "utf8").trim().split("\n")) {
  const [secret, publicKey, id, timestamp, signature, encoded] = line.split("\t");
  const body = Buffer.from(encoded, "base64");
  console.log(holdsBySecret(secret, id, timestamp, signature, body), holdsByPublicKey(publicKey, id, timestamp, signature, body));
}
