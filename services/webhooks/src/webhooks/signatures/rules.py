"""Standard Webhooks: how a message is signed, and the text form of keys.

`v1` is HMAC-SHA256 over `id.timestamp.body` with the secret (`whsec_…`). `v1a` is Ed25519 over the same content, for receivers that verify
with a public key (`whpk_…`) and need no secret.
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
    """The secret of a new endpoint."""
    return secrets.token_bytes(SECRET_BYTES)


def format_secret(key: bytes) -> str:
    """A secret as the API shows it: `whsec_…`."""
    return SECRET_PREFIX + base64.b64encode(key).decode()


def new_signing_key() -> bytes:
    """A new private key for `v1a`, as its Ed25519 seed."""
    return secrets.token_bytes(SIGNING_KEY_BYTES)


def signing_key(seed: bytes) -> Ed25519PrivateKey:
    """The private key of a seed."""
    return Ed25519PrivateKey.from_private_bytes(seed)


def format_public_key(seed: bytes) -> str:
    """The public key of a seed, with which receivers verify `v1a`: `whpk_…`."""
    return PUBLIC_KEY_PREFIX + base64.b64encode(signing_key(seed).public_key().public_bytes_raw()).decode()


class Signer:
    """Signs messages with the same keys. The part of the HMAC that depends only on the key is computed once."""

    __slots__ = ("_keyed", "_signing_key")

    def __init__(self, keys: Sequence[bytes], signing_key: Ed25519PrivateKey | None = None):
        self._keyed = [hmac.new(key, digestmod="sha256") for key in keys]
        self._signing_key = signing_key

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """The value of `webhook-signature`: `v1,…` for each secret (two during a rotation), and `v1a,…` if there is a signing key."""
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
