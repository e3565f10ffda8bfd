"""Endpoints as the caller may see them."""

from typing import Any, Literal, Protocol

from sqlalchemy import ColumnElement, Select, and_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared.access.principals import Caller
from shared.api import ANY_VERSION, IfMatch, Page, Paging, page
from shared.crypto.encryptor import Encryptor
from shared.errors import NotFound
from webhooks import signatures
from webhooks.endpoints.rules import WRITE
from webhooks.endpoints.schemas import Endpoint, EndpointPublicKey
from webhooks.endpoints.secrets import EndpointPolicy, headers_of_row, signing_key_context
from webhooks.endpoints.tables import EndpointRow
from webhooks.http_client import HIDDEN


class _OfTenant(Protocol):
    """A table whose rows belong to one mode of a tenant."""

    tenant_id: str
    livemode: bool


def visible_to(caller: Caller, table: type[_OfTenant]) -> ColumnElement[bool]:
    """The rows that a caller may see: those of its tenant in the mode of its credentials."""
    return of_tenant(caller.tenant_id, caller.livemode, table)


def of_tenant(tenant_id: str, livemode: bool, table: type[_OfTenant]) -> ColumnElement[bool]:
    """The rows of a tenant in one mode."""
    return and_(col(table.tenant_id) == tenant_id, col(table.livemode) == livemode)


async def get_row(
    session: AsyncSession, caller: Caller, endpoint_id: str, *, for_update: bool = False, deleted_too: bool = False
) -> EndpointRow:
    """The row of an endpoint that the caller may see. Raises `NotFound`."""
    statement = select(EndpointRow).where(col(EndpointRow.id) == endpoint_id, visible_to(caller, EndpointRow))
    if not deleted_too:
        statement = statement.where(col(EndpointRow.deleted_at).is_(None))
    if for_update:
        statement = statement.with_for_update()
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no webhook endpoint with this id", code="endpoint_not_found")
    return row


async def lock_for_update(
    session: AsyncSession, caller: Caller, endpoint_id: str, if_match: IfMatch = ANY_VERSION
) -> EndpointRow:
    """The row, locked until the transaction ends. Raises `NotFound`, or `PreconditionFailed` if it has another version than `if_match`."""
    row = await get_row(session, caller, endpoint_id, for_update=True)
    if_match.check(row.version)
    return row


async def get_public_key(
    session: AsyncSession, encryptor: Encryptor, caller: Caller, endpoint_id: str
) -> EndpointPublicKey:
    """The public key with which `v1a` is verified. Raises `NotFound`, also if the endpoint does not sign with `v1a`."""
    row = await get_row(session, caller, endpoint_id)
    if row.signing_key_sealed is None:
        raise NotFound("this endpoint does not sign with v1a: set sign_v1a", code="public_key_not_found")
    seed = encryptor.decrypt(row.signing_key_sealed, associated_data=signing_key_context(row.id))
    return EndpointPublicKey(endpoint_id=row.id, public_key=signatures.format_public_key(seed))


async def list_endpoints(
    session: AsyncSession, policy: EndpointPolicy, caller: Caller, paging: Paging
) -> Page[Endpoint]:
    """The caller's endpoints, newest first."""
    statement: Select[Any] = select(EndpointRow).where(
        visible_to(caller, EndpointRow), col(EndpointRow.deleted_at).is_(None)
    )
    return await page(
        session,
        statement,
        paging,
        by=(col(EndpointRow.id),),
        view=lambda row: view(policy.encryptor, row, caller),
        filters={"livemode": caller.livemode},
    )


async def get(session: AsyncSession, policy: EndpointPolicy, caller: Caller, endpoint_id: str) -> Endpoint:
    """One endpoint. Raises `NotFound`."""
    return view(policy.encryptor, await get_row(session, caller, endpoint_id), caller)


def view(encryptor: Encryptor, row: EndpointRow, caller: Caller) -> Endpoint:
    headers = headers_of_row(encryptor, row)
    all_locations: Literal["*"] = "*"
    return Endpoint(
        id=row.id,
        livemode=row.livemode,
        url=row.url,
        description=row.description,
        event_types=row.event_types,
        location_ids=all_locations if row.location_ids is None else row.location_ids,
        headers=headers if caller.may(WRITE) else dict.fromkeys(headers, HIDDEN),
        retry_schedule_seconds=row.retry_schedule_seconds,
        rate_limit_per_second=row.rate_limit_per_second,
        ordered_by_job=row.ordered_by_job,
        sign_v1a=row.signing_key_sealed is not None,
        enabled=row.enabled,
        disabled_reason=row.disabled_reason,
        disabled_at=row.disabled_at,
        failing_since=row.failing_since,
        previous_secret_until=row.previous_secret_until,
        created_by=row.created_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )
