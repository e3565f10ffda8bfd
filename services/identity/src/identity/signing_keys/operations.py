"""Creates, rotates and uses signing keys. A key is published before it signs, and retires when its last token has expired.

Each is published with the root key's proof. One that has none, or that of an earlier root key, is published again when identity starts.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity.signing_keys import rules
from identity.signing_keys.tables import SigningKeyRow
from shared.access import tokens
from shared.access.signing_roots import SigningKeyFacts, SigningRoot
from shared.chassis.parts import periodically
from shared.crypto.encryptor import Encryptor
from shared.errors import Unavailable
from shared.events import identity as events
from shared.messaging import outbox
from shared.postgres.advisory_locks import AdvisoryLock, lock
from shared.postgres.database import Database

RELOAD_SECONDS = 2.0
_KEY_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs from `signs_from` on."""

    key_id: str
    private_key: Ed25519PrivateKey
    signs_from: datetime


class Signer:
    """Signs with the newest key that may sign already. It reads the table every `RELOAD_SECONDS` to notice rotations."""

    def __init__(self, database: Database, encryptor: Encryptor, root: SigningRoot):
        self._database = database
        self._encryptor = encryptor
        self._root = root
        self._keys: list[SigningKey] = []

    def sign(self, claims: tokens.Claims) -> str:
        """The signed token with these claims. Raises `Unavailable` while no key may sign."""
        usable = [key for key in self._keys if key.signs_from <= claims.issued_at]
        if not usable:
            raise Unavailable("no signing key is ready yet", code="signing_key_missing")
        newest = max(usable, key=lambda key: key.signs_from)
        return tokens.sign(claims, key_id=newest.key_id, private_key=newest.private_key)

    async def run(self) -> None:
        """Create the first key if there is none, prove those that are not, then reload the keys until cancelled."""
        async with self._database.transaction() as session:
            await ensure_first(session, self._encryptor, self._root, datetime.now(UTC))
            await prove_all(session, self._root)
        # While loading fails, the loaded keys go on signing.
        await periodically(self.load, RELOAD_SECONDS, failure_event="signing_keys_load_failed")()

    async def load(self) -> None:
        """Load the keys from the table."""
        async with self._database.reading() as session:
            rows = (await session.execute(select(SigningKeyRow))).scalars().all()
        now = datetime.now(UTC)
        self._keys = [self._decrypt(row) for row in rows if row.retires_at is None or row.retires_at > now]

    async def check(self) -> None:
        """Raises `Unavailable` while no key is loaded."""
        if not self._keys:
            raise Unavailable("no signing key is ready yet", code="signing_key_missing")

    def _decrypt(self, row: SigningKeyRow) -> SigningKey:
        raw = self._encryptor.decrypt(row.sealed_private_key, associated_data=row.key_id)
        return SigningKey(row.key_id, Ed25519PrivateKey.from_private_bytes(raw), row.signs_from)


async def ensure_first(session: AsyncSession, encryptor: Encryptor, root: SigningRoot, now: datetime) -> None:
    """Create the first key, if there is none. Replicas that start together create one key."""
    await lock(session, AdvisoryLock.IDENTITY_SIGNING_KEYS)
    if await session.scalar(select(func.count()).select_from(SigningKeyRow)) == 0:
        _create(session, encryptor, root, now, signs_from=now)


async def prove_all(session: AsyncSession, root: SigningRoot) -> None:
    """Publish again, with its proof, each key that this root key has not proven."""
    await lock(session, AdvisoryLock.IDENTITY_SIGNING_KEYS)
    for row in (await session.execute(select(SigningKeyRow).order_by(col(SigningKeyRow.key_id)))).scalars():
        if not root.has_proven(_facts(row), row.proof):
            row.version += 1
            _publish(session, root, row)


async def rotate(
    session: AsyncSession,
    encryptor: Encryptor,
    root: SigningRoot,
    now: datetime,
    *,
    grace_seconds: float,
    session_seconds: int,
) -> str:
    """Publish a new key, which signs after the grace period; the others verify until their last token has expired. Returns its id."""
    await lock(session, AdvisoryLock.IDENTITY_SIGNING_KEYS)
    await session.execute(delete(SigningKeyRow).where(col(SigningKeyRow.retires_at) < now))
    current = select(SigningKeyRow).where(col(SigningKeyRow.retires_at).is_(None)).order_by(col(SigningKeyRow.key_id))
    for row in (await session.execute(current)).scalars():
        row.retires_at = rules.retires_at(now, grace_seconds=grace_seconds, session_seconds=session_seconds)
        row.version += 1
        _publish(session, root, row)
    return _create(session, encryptor, root, now, signs_from=now + timedelta(seconds=grace_seconds))


def _create(
    session: AsyncSession, encryptor: Encryptor, root: SigningRoot, now: datetime, *, signs_from: datetime
) -> str:
    private_key = Ed25519PrivateKey.generate()
    key_id = "sig_" + secrets.token_hex(_KEY_ID_BYTES)
    row = SigningKeyRow(
        key_id=key_id,
        version=1,
        sealed_private_key=encryptor.encrypt(private_key.private_bytes_raw(), associated_data=key_id),
        public_key=tokens.public_text(private_key),
        signs_from=signs_from,
        retires_at=None,
        created_at=now,
    )
    session.add(row)
    _publish(session, root, row)
    return key_id


def _facts(row: SigningKeyRow) -> SigningKeyFacts:
    return SigningKeyFacts(row.key_id, row.version, row.public_key, row.retires_at)


def _publish(session: AsyncSession, root: SigningRoot, row: SigningKeyRow) -> None:
    row.proof = root.prove(_facts(row))
    state = events.SigningKeyState(
        key_id=row.key_id,
        algorithm=tokens.ALGORITHM,
        public_key=row.public_key,
        retires_at=row.retires_at,
        proof=row.proof,
    )
    outbox.publish(
        session, events.SigningKeyPublished(tenant_id=None, subject=row.key_id, sequence=row.version, data=state)
    )
