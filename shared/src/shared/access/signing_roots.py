"""Root keys: a signing key counts only with a proof by one of them, whoever can write to Kafka or to a service's database.

Identity holds the private root key and proves each signing key that it publishes. Every service holds the public root keys as a setting.
The proof covers all that the event says, so an old one brings no retired key back.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.access import tokens
from shared.events import Event, identity

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PURPOSE = "waybill signing key"


class SigningKeyUnproven(ValueError):
    """No root key vouches for this signing key."""


@dataclass(frozen=True, slots=True)
class SigningKeyFacts:
    """What is proven of a signing key: each version has a proof of its own."""

    key_id: str
    version: int
    public_key: str
    retires_at: datetime | None

    @property
    def statement(self) -> bytes:
        """What the root key signs. No part can hold a line break: base64, numbers, and an id that is the rest."""
        retires = "" if self.retires_at is None else str((self.retires_at - _EPOCH) // timedelta(microseconds=1))
        return "\n".join([_PURPOSE, str(self.version), self.public_key, retires, self.key_id]).encode()


class SigningRoot:
    """The private root key, which identity alone holds."""

    def __init__(self, seed: bytes):
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public_text(self) -> str:
        """The public root key, as the other services hold it."""
        return tokens.public_text(self._key)

    def prove(self, facts: SigningKeyFacts) -> str:
        """The proof, in base64."""
        return base64.b64encode(self._key.sign(facts.statement)).decode()

    def has_proven(self, facts: SigningKeyFacts, proof: str | None) -> bool:
        """Whether this proof is this root key's."""
        return SigningRoots([self.public_text]).vouch_for(facts, proof)


class SigningRoots:
    """The public root keys that a service accepts: more than one while they are rotated. Raises `ValueError` for what is none."""

    def __init__(self, public_keys: Sequence[str]):
        self._keys: list[Ed25519PublicKey] = [tokens.public_key(text) for text in public_keys]

    def vouch_for(self, facts: SigningKeyFacts, proof: str | None) -> bool:
        """Whether one of them has proven this."""
        try:
            signature = base64.b64decode(proof or "", validate=True)
        except ValueError:
            return False
        return any(_verifies(key, signature, facts.statement) for key in self._keys)

    def check(self, event: Event) -> None:
        """Raises `SigningKeyUnproven` when the event publishes a signing key for which none of them vouches."""
        if isinstance(event, identity.SigningKeyPublished):
            key = event.data
            facts = SigningKeyFacts(key.key_id, event.sequence, key.public_key, key.retires_at)
            if not self.vouch_for(facts, key.proof):
                raise SigningKeyUnproven(f"no root key has proven signing key {key.key_id} in version {event.sequence}")


def parse_roots(text: str) -> list[str]:
    """`<base64>,<base64>` → the public keys. Raises `ValueError`."""
    keys = [one.strip() for one in text.split(",") if one.strip()]
    if not keys:
        raise ValueError("expected at least one public key")
    try:
        SigningRoots(keys)
    except ValueError as error:
        raise ValueError("expected public Ed25519 keys, base64 of 32 bytes, comma-separated") from error
    return keys


def _verifies(key: Ed25519PublicKey, signature: bytes, statement: bytes) -> bool:
    try:
        key.verify(signature, statement)
    except InvalidSignature:
        return False
    return True
