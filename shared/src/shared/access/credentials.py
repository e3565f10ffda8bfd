"""API keys: their form, and their digests.

A key is `wbk_live_` or `wbk_test_`, 43 base62 characters (256 random bits) and a CRC32 of 6 characters, so that typing errors are refused
before any look-up and secret scanners find leaked keys. Stored and published is an HMAC-SHA256 digest under a versioned pepper; a key of
256 random bits needs no slow hash.
"""

import base64
import hashlib
import hmac
import re
import secrets
import zlib

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_BITS = 256
_RANDOM_LENGTH = 43
_CHECKSUM_LENGTH = 6
_FORM = re.compile(r"wbk_(live|test)_[0-9A-Za-z]{49}", re.ASCII)


def new_api_key(*, livemode: bool) -> str:
    """A new key. Show it to its owner; store only its digest, or an encrypted copy."""
    head = f"wbk_{'live' if livemode else 'test'}_" + _base62(secrets.randbits(_RANDOM_BITS), _RANDOM_LENGTH)
    return head + _checksum(head)


def is_well_formed(key: str) -> bool:
    """Whether the text has the form and the checksum of a key."""
    return _FORM.fullmatch(key) is not None and hmac.compare_digest(
        _checksum(key[:-_CHECKSUM_LENGTH]), key[-_CHECKSUM_LENGTH:]
    )


def hint(key: str) -> str:
    """The part of a key that may be shown, so that its owner recognises it."""
    return f"{key[:9]}…{key[-4:]}"


class Peppers:
    """Makes and checks digests of keys under versioned peppers. The highest version makes new digests; all versions check."""

    def __init__(self, peppers: dict[int, bytes]):
        self._peppers = peppers
        self.current_version = max(peppers)

    def digest(self, key: str) -> str:
        """Hexadecimal digest under the current pepper."""
        return self._digest(key, self.current_version)

    def digests(self, key: str) -> list[str]:
        """The digests that may be stored for this key, newest pepper first."""
        return [self._digest(key, version) for version in sorted(self._peppers, reverse=True)]

    def matches(self, key: str, digest: str, version: int) -> bool:
        """Whether `digest`, made under pepper `version`, is the digest of this key. Takes the same time for every wrong key."""
        return version in self._peppers and hmac.compare_digest(self._digest(key, version), digest)

    def _digest(self, key: str, version: int) -> str:
        return hmac.new(self._peppers[version], key.encode(), hashlib.sha256).hexdigest()


def _checksum(head: str) -> str:
    return _base62(zlib.crc32(head.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def read_basic(encoded: str) -> tuple[str, str]:
    """Account id and key of Basic credentials. Raises `ValueError`."""
    account_id, _, key = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
    return account_id, key
