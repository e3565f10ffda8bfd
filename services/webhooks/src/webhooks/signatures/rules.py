"""Standard Webhooks: how a message is signed, and how the keys are written down for their owners.

`v1` is HMAC-SHA256 over `id.timestamp.body` with the bytes behind `whsec_`; `v1a` is Ed25519 over the same content, for receivers that want
to verify with a public key (`whpk_`) and hold no secret of ours.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SECRET_PREFIX = "whsec_"  # noqa: S105 - the public prefix, not a secret
SIGNING_KEY_PREFIX = "whsk_"
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


def format_signing_key(seed: bytes) -> str:
    """A private key in writing: `whsk_…` over seed and public key, the form in which libraries of this algorithm keep a pair."""
    return SIGNING_KEY_PREFIX + base64.b64encode(seed + _public_bytes(signing_key(seed))).decode()


def format_public_key(seed: bytes) -> str:
    """What receivers verify `v1a` with: `whpk_…`."""
    return PUBLIC_KEY_PREFIX + base64.b64encode(_public_bytes(signing_key(seed))).decode()


def parse_signing_key(text: str) -> bytes:
    """The seed behind `whsk_…`, with or without the public key after it. Raises `ValueError`."""
    raw = _after_prefix(text, SIGNING_KEY_PREFIX)
    seed, public = raw[:SIGNING_KEY_BYTES], raw[SIGNING_KEY_BYTES:]
    if len(seed) != SIGNING_KEY_BYTES or public not in (b"", _public_bytes(signing_key(seed))):
        raise ValueError("not an Ed25519 private key, or not with its own public key")
    return seed


def parse_public_key(text: str) -> Ed25519PublicKey:
    """The key behind `whpk_…`. Raises `ValueError`."""
    return Ed25519PublicKey.from_public_bytes(_after_prefix(text, PUBLIC_KEY_PREFIX))


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


def _public_bytes(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()


def _after_prefix(text: str, prefix: str) -> bytes:
    if not text.startswith(prefix):
        raise ValueError(f"expected {prefix}…")
    return base64.b64decode(text.removeprefix(prefix), validate=True)
