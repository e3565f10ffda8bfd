"""Receives webhooks of Waybill. Needs Python 3.11, and `cryptography` if it verifies with a public key."""

import base64
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRETS = [one for one in os.environ.get("WEBHOOK_SECRET", "").split(",") if one]  # whsec_…, during a rotation two
PUBLIC_KEY = os.environ.get("WEBHOOK_PUBLIC_KEY", "")  # whpk_…, if the endpoint has a key pair
TOLERANCE_SECONDS = 300
BODY_BYTES_MAX = 1024 * 1024

seen: set[str] = set()  # in a real receiver: a unique column of your database


def is_genuine(headers, body: bytes) -> bool:
    """Whether Waybill has sent this body, and just now."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not (timestamp.isascii() and timestamp.isdigit()):
        return False
    if abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = [one.partition(",") for one in headers.get("webhook-signature", "").split(" ")]
    return any(
        (version == "v1" and has_secret(content, value)) or (version == "v1a" and has_key(content, value))
        for version, _, value in signatures
    )


def has_secret(content: bytes, signature: str) -> bool:
    for secret in SECRETS:
        digest = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), content, "sha256")
        if hmac.compare_digest(base64.b64encode(digest), signature.encode()):
            return True
    return False


def has_key(content: bytes, signature: str) -> bool:
    if not PUBLIC_KEY:
        return False
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(PUBLIC_KEY.removeprefix("whpk_")))
    try:
        key.verify(base64.b64decode(signature), content)
    except (InvalidSignature, ValueError):
        return False
    return True


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        if length > BODY_BYTES_MAX:
            return self.answer(413)
        body = self.rfile.read(length)  # the bytes as they came: not parsed, not decoded
        if not is_genuine(self.headers, body):
            return self.answer(401)
        message_id = self.headers["webhook-id"]
        if message_id not in seen:
            seen.add(message_id)
            event = json.loads(body)
            print(message_id, event["type"], flush=True)  # put it into a queue of yours: answer first, work later
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Receiver).serve_forever()
