"""Encryption and decryption of an endpoint's secrets and headers, and its delivery target."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Row

from shared.crypto.encryptor import DecryptionFailed, Encryptor
from shared.ids import from_uuid
from webhooks import signatures
from webhooks.endpoints.tables import EndpointRow
from webhooks.http_client import DeliveryTarget, Network

log = structlog.get_logger()


def to_delivery_target(encryptor: Encryptor, row: Row[Any], now: datetime) -> DeliveryTarget:
    """The delivery target of a row of `endpoints` with the columns that are used here. Without keys if the secrets cannot be decrypted."""
    name = from_uuid("ep", row.id)
    schedule = None if row.retry_schedule_seconds is None else tuple(row.retry_schedule_seconds)
    headers: tuple[tuple[str, str], ...] = ()
    keys: tuple[bytes, ...] = ()
    signing_key: Ed25519PrivateKey | None = None
    try:
        headers = tuple(decrypt_headers(encryptor, name, row.headers_sealed).items())
        encrypted = [row.secret_sealed]
        if row.previous_secret_until is not None and row.previous_secret_until > now:
            encrypted.append(row.previous_secret_sealed)
        if row.signing_key_sealed is not None:
            signing_key = signatures.signing_key(
                encryptor.decrypt(row.signing_key_sealed, associated_data=signing_key_context(name))
            )
        keys = tuple(encryptor.decrypt(one, associated_data=name) for one in encrypted)
    except DecryptionFailed:
        # The attempts of this endpoint fail as `secret_unreadable`, which the tenant sees; other endpoints are not affected.
        log.exception("endpoint_secret_unreadable", endpoint_id=name)
    return DeliveryTarget(
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


def new_signing_key(encryptor: Encryptor, endpoint_id: str) -> bytes:
    """A new signing key for `v1a`, encrypted."""
    return encryptor.encrypt(signatures.new_signing_key(), associated_data=signing_key_context(endpoint_id))


def signing_key_context(endpoint_id: str) -> str:
    """The associated data that binds an encrypted signing key to its endpoint."""
    return f"{endpoint_id}/signing-key"


def _headers_context(endpoint_id: str) -> str:
    return f"{endpoint_id}/headers"


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """What the operator allows, and the encryptor of secrets."""

    encryptor: Encryptor
    allow_http: bool
    allowed_networks: tuple[Network, ...]
    endpoints_max: int


def decrypt_headers(encryptor: Encryptor, endpoint_id: str, encrypted: bytes | None) -> dict[str, str]:
    """Custom headers as they are sent. Raises `DecryptionFailed`."""
    if encrypted is None:
        return {}
    headers: dict[str, str] = json.loads(encryptor.decrypt(encrypted, associated_data=_headers_context(endpoint_id)))
    return headers


def encrypt_headers(encryptor: Encryptor, endpoint_id: str, headers: dict[str, str]) -> bytes | None:
    return (
        encryptor.encrypt(json.dumps(headers).encode(), associated_data=_headers_context(endpoint_id))
        if headers
        else None
    )


def headers_of_row(encryptor: Encryptor, row: EndpointRow) -> dict[str, str]:
    return decrypt_headers(encryptor, row.id, row.headers_sealed)
