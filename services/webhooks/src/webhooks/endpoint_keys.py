"""What an endpoint's requests are signed with: shown, replaced, and the public half of it.

During an overlap two secrets sign; a further rotation ends the older one's time. A key pair for `v1a` comes and goes with the endpoint's
`sign_v1a`: to replace it, switch that off and on.
"""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from shared.access.principals import Caller
from shared.crypto.encryptor import Encryptor
from shared.errors import NotFound
from shared.events.webhooks import EndpointUpdated
from webhooks import endpoint_rows
from webhooks.domain import signatures
from webhooks.models import EndpointRow
from webhooks.views.endpoints import EndpointPublicKey, EndpointSecret


async def reveal(
    session: AsyncSession, encryptor: Encryptor, caller: Caller, endpoint_id: str, now: datetime
) -> EndpointSecret:
    """The endpoint's secret; that it was looked at stays on record. Raises `NotFound`."""
    row = await endpoint_rows.find(session, caller, endpoint_id)
    assert row.secret_sealed is not None
    key = encryptor.decrypt(row.secret_sealed, associated_data=row.id)
    endpoint_rows.audit(session, caller, "endpoint.secret_revealed", row.id, now)
    return _secret(row, key, now)


async def rotate(
    session: AsyncSession,
    encryptor: Encryptor,
    caller: Caller,
    row: EndpointRow,
    *,
    overlap_seconds: int,
    now: datetime,
) -> EndpointSecret:
    """A new secret (`row` comes from `lock`); the one before signs as well for `overlap_seconds`."""
    key = signatures.new_secret()
    row.previous_secret_sealed = row.secret_sealed if overlap_seconds else None
    row.previous_secret_until = now + timedelta(seconds=overlap_seconds) if overlap_seconds else None
    row.secret_sealed = encryptor.encrypt(key, associated_data=row.id)
    endpoint_rows.touch(row, now)
    endpoint_rows.audit(session, caller, "endpoint.secret_rotated", row.id, now)
    endpoint_rows.publish(session, EndpointUpdated, row)
    return _secret(row, key, now)


async def public_key(
    session: AsyncSession, encryptor: Encryptor, caller: Caller, endpoint_id: str
) -> EndpointPublicKey:
    """What `v1a` is verified with. Raises `NotFound`, also for an endpoint whose requests are not signed that way."""
    row = await endpoint_rows.find(session, caller, endpoint_id)
    if row.signing_key_sealed is None:
        raise NotFound("this endpoint does not sign with v1a: set sign_v1a", code="public_key_not_found")
    seed = encryptor.decrypt(row.signing_key_sealed, associated_data=_bound(row.id))
    return EndpointPublicKey(endpoint_id=row.id, public_key=signatures.shown_public_key(seed))


def new_signing_key(encryptor: Encryptor, endpoint_id: str) -> bytes:
    """A new key for `v1a`, sealed."""
    return encryptor.encrypt(signatures.new_signing_key(), associated_data=_bound(endpoint_id))


def _bound(endpoint_id: str) -> str:
    return f"{endpoint_id}/signing-key"


def _secret(row: EndpointRow, key: bytes, now: datetime) -> EndpointSecret:
    until = row.previous_secret_until
    overlapping = until if until is not None and until > now else None
    return EndpointSecret(endpoint_id=row.id, secret=signatures.shown(key), previous_secret_until=overlapping)
