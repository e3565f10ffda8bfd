"""Metrics of the dispatcher: attempts, the queue, deliveries in memory, circuit breakers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.observability.metrics import Metrics
from webhooks.deliveries import AttemptResult
from webhooks.dispatch.result_writer import ResultWriter
from webhooks.dispatch.scheduler import Scheduler
from webhooks.dispatch.throttle import EndpointThrottles

REPORTED_ROWS_MAX = 100_000

_QUEUE = text(
    """
    SELECT (SELECT count(*) FROM (SELECT FROM delivery_due LIMIT :rows_max) AS queued) AS depth,
        (SELECT extract(epoch FROM now() - min(due_at)) FROM (SELECT due_at FROM delivery_due LIMIT :rows_max) AS queued) AS oldest_seconds
    """
)


class DispatchMetrics:
    """The metrics of one process."""

    def __init__(
        self,
        metrics: Metrics,
        schedulers: Mapping[str, Scheduler],
        throttles: EndpointThrottles,
        result_writer: ResultWriter,
    ):
        self._attempts = metrics.counter(
            "waybill_webhook_attempts", "Attempts by result: delivered, or the cause of the failure.", ("result",)
        )
        self._given_up = metrics.counter(
            "waybill_webhook_given_up", "Deliveries that were given up, by reason.", ("failure",)
        )
        self._delivery_seconds = metrics.distribution(
            "waybill_webhook_delivery_seconds", "Seconds from the event to the receiver's acceptance."
        )
        self._due = metrics.gauge("waybill_webhook_due", "Deliveries in the queue, counted up to a limit.")
        self._oldest_seconds = metrics.gauge(
            "waybill_webhook_oldest_due_seconds", "Seconds for which the oldest delivery in the queue has been due."
        )
        in_flight = metrics.gauge("waybill_webhook_in_flight", "Attempts in flight.", ("lane",))
        waiting = metrics.gauge("waybill_webhook_waiting", "Deliveries in memory that wait for a slot.", ("lane",))
        for name, scheduler in schedulers.items():
            in_flight.labels(name).set_function(partial(_in_flight, scheduler))
            waiting.labels(name).set_function(partial(_waiting, scheduler))
        open_breakers = metrics.gauge("waybill_webhook_open_breakers", "Endpoints whose circuit breaker is open.")
        open_breakers.set_function(throttles.open_count)
        batch_leases = metrics.gauge(
            "waybill_webhook_flights", "Batch leases with deliveries that are not recorded yet."
        )
        batch_leases.set_function(lambda: len(result_writer.batch_leases))
        stale = metrics.gauge(
            "waybill_webhook_stale_results", "Results that came after their lease had expired, so far."
        )
        stale.set_function(lambda: result_writer.stale)

    def count(self, results: Sequence[AttemptResult]) -> None:
        """Count results that were recorded."""
        met = Counter([result.outcome.cause or "delivered" for result in results])
        for cause, count in met.items():
            self._attempts.labels(cause).inc(count)
        delivered = [result for result in results if result.outcome.cause is None]
        self._delivery_seconds.observe_all([_delivery_seconds(result) for result in delivered])
        if len(delivered) < len(results):
            failures = Counter(result.decision.failure for result in results)
            for failure, count in failures.items():
                if failure is not None:
                    self._given_up.labels(failure).inc(count)

    async def measure_queue(self, session: AsyncSession) -> None:
        """Measure the queue."""
        row = (await session.execute(_QUEUE, {"rows_max": REPORTED_ROWS_MAX})).one()
        self._due.set(row.depth)
        self._oldest_seconds.set(max(0.0, float(row.oldest_seconds or 0)))


def _delivery_seconds(result: AttemptResult) -> float:
    outcome = result.outcome
    accepted_at = outcome.started_us / 1e6 + outcome.latency_ms / 1000
    return max(0.0, accepted_at - result.leased.event.message.occurred_at.timestamp())


def _in_flight(scheduler: Scheduler) -> int:
    return scheduler.in_flight


def _waiting(scheduler: Scheduler) -> int:
    return scheduler.waiting_count
