"""Sealing: AES-256-GCM under a ring of versioned keys, bound to the row that a sealed value belongs to."""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_VERSION_BYTES = 2


class SealBroken(Exception):
    """A sealed value was changed, moved to another row, or sealed with a key that is not in the ring."""


class KeyRing:
    """Seals with the key of the highest version, opens with any: rotate by adding a key, and re-seal at leisure."""

    def __init__(self, keys: dict[int, bytes]):
        self._ciphers = {version: AESGCM(key) for version, key in keys.items()}
        self._current = max(keys)

    def seal(self, plain: bytes, *, bound_to: str) -> bytes:
        """`version | nonce | ciphertext`; opens only with the same `bound_to` (the row's id)."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        ciphertext = self._ciphers[self._current].encrypt(nonce, plain, bound_to.encode())
        return self._current.to_bytes(_VERSION_BYTES, "big") + nonce + ciphertext

    def open(self, sealed: bytes, *, bound_to: str) -> bytes:
        """The sealed value. Raises `SealBroken`."""
        version = int.from_bytes(sealed[:_VERSION_BYTES], "big")
        nonce = sealed[_VERSION_BYTES : _VERSION_BYTES + _NONCE_BYTES]
        cipher = self._ciphers.get(version)
        if cipher is None:
            raise SealBroken(f"no key of version {version}")
        try:
            return cipher.decrypt(nonce, sealed[_VERSION_BYTES + _NONCE_BYTES :], bound_to.encode())
        except InvalidTag as error:
            raise SealBroken("the seal does not match") from error
