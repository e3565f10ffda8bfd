"""Standard Webhooks: how a message is signed, and how the keys are written down for their owners.

`v1` is HMAC-SHA256 over `id.timestamp.body` with the bytes behind `whsec_`; `v1a` is Ed25519 over the same content, for receivers that want
to verify with a public key (`whpk_`) and hold no secret of ours.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SECRET_PREFIX = "whsec_"  # noqa: S105 - the public prefix, not a secret
PUBLIC_KEY_PREFIX = "whpk_"
SECRET_BYTES = 32
SIGNING_KEY_BYTES = 32


def new_secret() -> bytes:
    """Key bytes for a new endpoint."""
    return secrets.token_bytes(SECRET_BYTES)


def format_secret(key: bytes) -> str:
    """A key as its owner sees it: `whsec_…`."""
    return SECRET_PREFIX + base64.b64encode(key).decode()


def new_signing_key() -> bytes:
    """The private key (an Ed25519 seed) of an endpoint that wants `v1a`."""
    return secrets.token_bytes(SIGNING_KEY_BYTES)


def signing_key(seed: bytes) -> Ed25519PrivateKey:
    """What `signature` signs `v1a` with."""
    return Ed25519PrivateKey.from_private_bytes(seed)


def format_public_key(seed: bytes) -> str:
    """What receivers verify `v1a` with: `whpk_…`."""
    return PUBLIC_KEY_PREFIX + base64.b64encode(signing_key(seed).public_key().public_bytes_raw()).decode()


class Signer:
    """Signs messages with the same keys again and again: what of a signature depends on its key alone is worked out once."""

    __slots__ = ("_keyed", "_signing_key")

    def __init__(self, keys: Sequence[bytes], signing_key: Ed25519PrivateKey | None = None):
        self._keyed = [hmac.new(key, digestmod="sha256") for key in keys]
        self._signing_key = signing_key

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """Value of `webhook-signature`: one `v1,…` for each key (several while a secret is being rotated), and `v1a,…` if asked for."""
        beginning = f"{message_id}.{timestamp}.".encode()
        signed = []
        for keyed in self._keyed:
            mac = keyed.copy()
            mac.update(beginning)
            mac.update(body)
            signed.append("v1," + _base64(mac.digest()))
        if self._signing_key is not None:
            signed.append("v1a," + _base64(self._signing_key.sign(beginning + body)))
        return " ".join(signed)


def _base64(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode("ascii")
