"""One delivery: its attempts, and the request of the last one."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared.access.principals import Caller
from shared.crypto.encryptor import DecryptionFailed, Encryptor
from shared.ids import to_uuid
from webhooks import endpoints, events
from webhooks.deliveries.queries import get_row, view, with_jobs
from webhooks.deliveries.schemas import Attempt, DeliveryDetail, SentRequest
from webhooks.deliveries.tables import AttemptRow, DeliveryRow
from webhooks.http_client import NotConnected, show_request

ATTEMPTS_SHOWN_MAX = 200


async def get(session: AsyncSession, encryptor: Encryptor, caller: Caller, delivery_id: str) -> DeliveryDetail:
    """One delivery with its attempts and the request of the last one. Raises `NotFound`."""
    row = await get_row(session, caller, delivery_id)
    made = (
        select(AttemptRow)
        .where(col(AttemptRow.event_id) == row.event_id, col(AttemptRow.endpoint_id) == row.endpoint_id)
        .order_by(col(AttemptRow.number).desc())
        .limit(ATTEMPTS_SHOWN_MAX - 1)
    )
    earlier = [_attempt(attempt) for attempt in (await session.execute(made)).scalars()]
    (delivery,) = await with_jobs(session, [view(row)])
    return DeliveryDetail(
        **delivery.model_dump(),
        request=await _request(session, encryptor, caller, row),
        attempts=[*earlier[::-1], *_last_attempt(row)],
    )


async def _request(session: AsyncSession, encryptor: Encryptor, caller: Caller, row: DeliveryRow) -> SentRequest | None:
    """The request of the last attempt, as far as it can still be made."""
    if row.started_at is None:
        return None
    message = await events.get_message(session, to_uuid(row.event_id))
    if message is None:
        return None
    endpoint = await endpoints.get_row(session, caller, row.endpoint_id, deleted_too=True)
    try:
        headers = endpoints.headers_of_row(encryptor, endpoint)
        shown = show_request(endpoint.url, headers, message, int(row.started_at.timestamp()))
    except (DecryptionFailed, NotConnected):
        # What no endpoint may have is not sent either: the attempt's cause says so.
        return None
    return SentRequest(
        url=endpoint.url,
        headers=shown,
        body=message.body.decode(),
        body_bytes=len(message.body),
        is_exact=endpoint.updated_at <= row.started_at,
    )


def _last_attempt(row: DeliveryRow) -> list[Attempt]:
    """The last attempt, which is stored in the delivery's own row; none before the first."""
    if row.started_at is None or row.latency_ms is None:
        return []
    in_common = row.model_dump(include=set(AttemptRow.model_fields) - {"number"})
    return [_attempt(AttemptRow(number=row.attempts_made, **in_common))]


def _attempt(row: AttemptRow) -> Attempt:
    return Attempt(
        number=row.number,
        started_at=row.started_at,
        latency_ms=row.latency_ms,
        dns_ms=row.dns_ms,
        connect_ms=row.connect_ms,
        tls_ms=row.tls_ms,
        first_byte_ms=row.first_byte_ms,
        result="delivered" if row.cause is None else "failed",
        response_status=row.response_status,
        cause=row.cause,
        cause_detail=row.cause_detail,
        response_body=row.response_body,
    )
