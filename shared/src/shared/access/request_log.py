"""Notes what was answered to requests with credentials: in memory for each request, and published to identity from time to time.

All requests are counted, by credential and hour. Of those that were answered with an error each is kept: route, status, problem code,
request id, time taken; never a body, a query or an address. What a stranger presents belongs to nobody and is not noted.

A request that was accepted costs an entry in a map. What is kept is bounded: beyond the bounds failures are counted only, and further
credentials are left out. An orderly stop publishes the rest. A crash loses the failures of some seconds and the counts of a minute.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import uuid4

from shared.access.principals import Principal
from shared.chassis.parts import periodically_until_the_end
from shared.events.access import FailedRequestState, RequestCountState, RequestsLogged, RequestsState
from shared.ids import new_id
from shared.messaging import outbox
from shared.observability.metrics import Metrics
from shared.postgres.database import Database

WRITE_SECONDS = 5.0
REPEAT_AFTER = timedelta(seconds=60)
"""The counts of a credential are published no more often than this."""
CREDENTIALS_MAX = 50_000
"""Credentials that one process counts in an hour."""
FAILURES_MAX = 5_000
"""Failures that wait to be published."""
FAILURES_PER_HOUR_MAX = 1_000
"""Failures of one credential that one process keeps in an hour; the rest is counted."""
COUNTS_PER_EVENT_MAX = 1_000
FAILURES_PER_EVENT_MAX = 500
ERROR_STATUS_MIN = 400

_NEVER = datetime.min.replace(tzinfo=UTC)
ItemT = TypeVar("ItemT")


@dataclass(slots=True)
class _Count:
    subject_id: str | None
    livemode: bool
    calls: int = 0
    errors: int = 0
    published_calls: int = 0
    published_errors: int = 0
    published_at: datetime = _NEVER


class RequestLog:
    """The requests that one process has answered."""

    def __init__(
        self,
        database: Database,
        *,
        service: str,
        metrics: Metrics,
        credentials_max: int = CREDENTIALS_MAX,
        failures_max: int = FAILURES_MAX,
        failures_per_hour_max: int = FAILURES_PER_HOUR_MAX,
    ):
        self._database = database
        self._service = service
        self._credentials_max = credentials_max
        self._failures_max = failures_max
        self._failures_per_hour_max = failures_per_hour_max
        self._process_id = uuid4()
        self._hour = _hour_of(datetime.now(UTC))
        self._counts: dict[tuple[str, str], _Count] = {}
        self._failures: list[FailedRequestState] = []
        self._left_out = metrics.counter(
            "waybill_request_log_left_out",
            "Failed requests that were counted but not kept, because there were too many.",
        )

    def note(
        self,
        principal: Principal,
        *,
        method: str,
        path: str,
        status: int,
        code: str | None,
        request_id: str,
        seconds: float,
    ) -> None:
        """Note an answer. `path` is that of the route. Without a tenant or a credential, as in a session, there is nothing to note."""
        tenant_id, credential_id = principal.tenant_id, principal.credential_id
        if tenant_id is None or credential_id is None:
            return
        count = self._counts.get((tenant_id, credential_id))
        if count is None:
            if len(self._counts) >= self._credentials_max:
                return
            livemode = principal.livemode and principal.tenant_livemode is not False
            count = self._counts[tenant_id, credential_id] = _Count(principal.subject_id, livemode)
        count.calls += 1
        if status < ERROR_STATUS_MIN:
            return
        count.errors += 1
        if count.errors > self._failures_per_hour_max or len(self._failures) >= self._failures_max:
            self._left_out.inc()
            return
        self._failures.append(
            FailedRequestState(
                failed_request_id=new_id("frq"),
                tenant_id=tenant_id,
                credential_id=credential_id,
                subject_id=count.subject_id,
                livemode=count.livemode,
                at=datetime.now(UTC),
                method=method,
                path=path,
                status=status,
                code=code,
                request_id=request_id,
                milliseconds=round(seconds * 1000, 1),
            )
        )

    async def run(self) -> None:
        """Publish every few seconds until cancelled, then publish the rest."""
        await periodically_until_the_end(self.write, WRITE_SECONDS)

    async def write(self, now: datetime, *, rest: bool = False) -> None:
        """Publish all failures, and the counts that are due, or with `rest` all new ones. When it fails, they are published later.

        An hour ends with the first write after it: what was answered a few seconds before counts for the same hour.
        """
        ended = _hour_of(now) > self._hour
        due = [
            (named, count, count.calls, count.errors)
            for named, count in self._counts.items()
            if count.calls > count.published_calls and (rest or ended or now - count.published_at >= REPEAT_AFTER)
        ]
        counts = [
            RequestCountState(
                tenant_id=tenant_id,
                credential_id=credential_id,
                subject_id=count.subject_id,
                livemode=count.livemode,
                hour=self._hour,
                calls=calls,
                errors=errors,
            )
            for (tenant_id, credential_id), count, calls, errors in due
        ]
        failures = list(self._failures)
        if counts or failures:
            async with self._database.transaction() as session:
                for some in _in_pieces(counts, COUNTS_PER_EVENT_MAX):
                    outbox.publish(session, self._event(some, []))
                for listed in _in_pieces(failures, FAILURES_PER_EVENT_MAX):
                    outbox.publish(session, self._event([], listed))
        del self._failures[: len(failures)]
        for _, count, calls, errors in due:
            count.published_calls, count.published_errors, count.published_at = calls, errors, now
        if ended:
            self._begin_hour(now)

    def _begin_hour(self, now: datetime) -> None:
        """Forget the counts of the hour before; what came in during the write is the first of the new one."""
        self._hour = _hour_of(now)
        self._counts = {
            named: _Count(
                count.subject_id,
                count.livemode,
                calls=count.calls - count.published_calls,
                errors=count.errors - count.published_errors,
            )
            for named, count in self._counts.items()
            if count.calls > count.published_calls
        }

    def _event(self, counts: Sequence[RequestCountState], failed: Sequence[FailedRequestState]) -> RequestsLogged:
        state = RequestsState(process_id=self._process_id, counts=list(counts), failed=list(failed))
        return RequestsLogged(tenant_id=None, subject=self._service, sequence=0, data=state)


def _hour_of(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def _in_pieces(items: Sequence[ItemT], size: int) -> list[Sequence[ItemT]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
