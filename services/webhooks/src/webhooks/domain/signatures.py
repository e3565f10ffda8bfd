"""Standard Webhooks, symmetric scheme v1: HMAC-SHA256 over `id.timestamp.body` with the bytes behind `whsec_`."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105 - the public prefix, not a secret
SECRET_BYTES = 32


def new_secret() -> bytes:
    """Key bytes for a new endpoint."""
    return secrets.token_bytes(SECRET_BYTES)


def shown(key: bytes) -> str:
    """A key as its owner sees it: `whsec_…`."""
    return SECRET_PREFIX + base64.b64encode(key).decode()


def signature(keys: Sequence[bytes], *, message_id: str, timestamp: int, body: bytes) -> str:
    """Value of `webhook-signature`: one `v1,…` for each key (several while a secret is being rotated)."""
    content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join("v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in keys)
