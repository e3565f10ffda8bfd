"""What an attempt needs to know of its endpoint, unsealed."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Row

from shared.crypto.encryptor import DecryptionFailed, Encryptor
from shared.ids import from_uuid
from webhooks.domain import signatures
from webhooks.endpoints import open_headers

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send and how to sign. Without `keys` the secret could not be opened: nothing may be sent."""

    endpoint_id: UUID
    version: int
    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    keys: tuple[bytes, ...] = field(repr=False)
    """One, or two while a secret is being rotated; the newer first."""
    signing_key: Ed25519PrivateKey | None = field(default=None, repr=False)
    """Signs `v1a` as well."""
    rate_limit_per_second: float | None = None
    ordered_by_job: bool = False
    retry_schedule: tuple[float, ...] | None = None
    """Seconds between attempts; None: as the operator has set it."""
    tenant_id: UUID | None = None


def target_of(encryptor: Encryptor, row: Row[Any], now: datetime) -> Target:
    """The target of an endpoint's row (all columns of `endpoints` that it names)."""
    name = from_uuid("ep", row.id)
    schedule = None if row.retry_schedule_seconds is None else tuple(row.retry_schedule_seconds)
    headers: tuple[tuple[str, str], ...] = ()
    keys: tuple[bytes, ...] = ()
    signing_key: Ed25519PrivateKey | None = None
    try:
        headers = tuple(open_headers(encryptor, name, row.headers_sealed).items())
        sealed = [row.secret_sealed]
        if row.previous_secret_until is not None and row.previous_secret_until > now:
            sealed.append(row.previous_secret_sealed)
        if row.signing_key_sealed is not None:
            signing_key = signatures.signing_key(
                encryptor.decrypt(row.signing_key_sealed, associated_data=f"{name}/signing-key")
            )
        keys = tuple(encryptor.decrypt(one, associated_data=name) for one in sealed)
    except DecryptionFailed:
        # Its attempts say so in the log that the tenant sees; others are not to suffer from it.
        log.exception("endpoint_secret_unreadable", endpoint_id=name)
    return Target(
        endpoint_id=row.id,
        version=row.version,
        url=row.url,
        headers=headers,
        keys=keys,
        signing_key=signing_key,
        rate_limit_per_second=row.rate_limit_per_second,
        ordered_by_job=row.ordered_by_job,
        retry_schedule=schedule,
        tenant_id=row.tenant_id,
    )
