"""Test events: sent at once to one endpoint, enabled or not, and not stored. The response of the API describes the attempt."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from sqlalchemy import text
from starlette.responses import Response

from shared.access.principals import Caller
from shared.api import idempotency
from shared.api.responses import render
from shared.crypto.encryptor import Encryptor
from shared.errors import TooManyRequests
from shared.ids import new_id, to_uuid
from shared.postgres.database import Database
from webhooks import endpoints, events
from webhooks.deliveries.schemas import Attempt, EndpointTestResult
from webhooks.endpoints import to_delivery_target
from webhooks.events import TEST_EVENT, TestState
from webhooks.http_client import DeliveryTarget, Message, Outcome

AT_ONCE_MAX = 16
PER_TENANT_MAX = 4
"""Tests under way at once in a process, of all tenants and of one: each may hold a connection until the attempt times out."""

Send = Callable[[DeliveryTarget, Message], Awaitable[Outcome]]
"""Makes one attempt, signed and guarded like all others."""

# Raw columns, as the endpoint cache reads them: ids are UUIDs.
_ROW = text("SELECT * FROM endpoints WHERE id = :id")


class EndpointTester:
    """Sends test events.

    `encryptor` decrypts secrets of endpoints; `response_encryptor` encrypts the responses that are kept for idempotency.
    """

    def __init__(self, database: Database, encryptor: Encryptor, response_encryptor: Encryptor, send: Send):
        self._database = database
        self._encryptor = encryptor
        self._response_encryptor = response_encryptor
        self._send = send
        self._under_way: Counter[str] = Counter()
        """By tenant id."""

    async def test(self, caller: Caller, endpoint_id: str, claim: idempotency.Claim | None, now: datetime) -> Response:
        """Send a test event and respond with an `EndpointTestResult`.

        Raises `NotFound`, or `TooManyRequests` while `PER_TENANT_MAX` tests of the tenant, or `AT_ONCE_MAX` of all, are under way. No
        database connection is held during the attempt.
        """

        async def attempt() -> Response:
            return render(await self._attempt(caller, endpoint_id, now), 200)

        return await idempotency.run_outside_transaction(self._database, claim, self._response_encryptor, attempt)

    async def _attempt(self, caller: Caller, endpoint_id: str, now: datetime) -> EndpointTestResult:
        async with self._database.reading() as session:
            endpoint = await endpoints.get_row(session, caller, endpoint_id)
            row = (await session.execute(_ROW, {"id": to_uuid(endpoint_id)})).one()
        of_tenant = self._under_way[endpoint.tenant_id]
        if of_tenant >= PER_TENANT_MAX or self._under_way.total() >= AT_ONCE_MAX:
            raise TooManyRequests(
                "other tests are under way",
                code="tests_under_way",
                headers={"Retry-After": "1"},
                tests_max=PER_TENANT_MAX if of_tenant >= PER_TENANT_MAX else AT_ONCE_MAX,
            )
        event_id = new_id("evt")
        state = TestState(tenant_id=endpoint.tenant_id, livemode=endpoint.livemode, endpoint_id=endpoint.id)
        body = json.dumps(events.event_body(TEST_EVENT, now, state), ensure_ascii=False, separators=(",", ":")).encode()
        self._under_way[endpoint.tenant_id] += 1
        try:
            outcome = await self._send(
                to_delivery_target(self._encryptor, row, now), Message(event_id, body, None, now)
            )
        finally:
            self._under_way[endpoint.tenant_id] -= 1
            if not self._under_way[endpoint.tenant_id]:
                del self._under_way[endpoint.tenant_id]
        return EndpointTestResult(
            endpoint_id=endpoint.id, event_id=event_id, event_type=TEST_EVENT, attempt=_view_attempt(outcome)
        )


def _view_attempt(outcome: Outcome) -> Attempt:
    timings = outcome.timings
    return Attempt(
        number=1,
        started_at=datetime.fromtimestamp(outcome.started_us / 1e6, UTC),
        latency_ms=outcome.latency_ms,
        dns_ms=timings.dns_ms,
        connect_ms=timings.connect_ms,
        tls_ms=timings.tls_ms,
        first_byte_ms=timings.first_byte_ms,
        result="delivered" if outcome.cause is None else "failed",
        response_status=outcome.response_status,
        cause=outcome.cause,
        cause_detail=outcome.cause_detail,
        response_body=outcome.response_body,
    )
