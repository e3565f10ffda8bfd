"""AES-256-GCM with versioned keys. The associated data bind a value to its row."""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_VERSION_BYTES = 2


def version_prefix(version: int) -> bytes:
    """The first bytes of everything that is encrypted with the key of this version."""
    return version.to_bytes(_VERSION_BYTES, "big")


class DecryptionFailed(Exception):
    """The value was changed, belongs to another row, or needs a key that is not configured."""


class Encryptor:
    """Encrypts with the key of the highest version and decrypts with any. To rotate, add a key and encrypt old values again later."""

    def __init__(self, keys: dict[int, bytes]):
        self._ciphers = {version: AESGCM(key) for version, key in keys.items()}
        self.current_version = max(keys)

    def encrypt(self, plain: bytes, *, associated_data: str) -> bytes:
        """`version | nonce | ciphertext`, which only the same `associated_data` (the row's id) decrypts."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        ciphertext = self._ciphers[self.current_version].encrypt(nonce, plain, associated_data.encode())
        return version_prefix(self.current_version) + nonce + ciphertext

    def decrypt(self, encrypted: bytes, *, associated_data: str) -> bytes:
        """The value. Raises `DecryptionFailed`."""
        version = int.from_bytes(encrypted[:_VERSION_BYTES], "big")
        nonce = encrypted[_VERSION_BYTES : _VERSION_BYTES + _NONCE_BYTES]
        cipher = self._ciphers.get(version)
        if cipher is None:
            raise DecryptionFailed(f"no key of version {version}")
        try:
            return cipher.decrypt(nonce, encrypted[_VERSION_BYTES + _NONCE_BYTES :], associated_data.encode())
        except InvalidTag as error:
            raise DecryptionFailed("the authentication tag does not match") from error
