"""Prometheus metrics of one application, with a registry of its own."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import TypeVar, cast

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

REQUEST_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
DELAY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)

MetricT = TypeVar("MetricT", bound=Collector)


class Metrics:
    """The metrics of one application, with a registry of its own.

    The metrics of every service are attributes; `counter`, `gauge` and `histogram` add those of one service, and return the same
    metric when called again with its name.
    """

    def __init__(self, service: str):
        self.service = service
        self.registry = CollectorRegistry()
        self._registered: dict[str, Collector] = {}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.gauge("waybill_service_info", "Always 1; the label names the service.", ("service",)).labels(service).set(
            1
        )

        self.http_requests = self.counter(
            "waybill_http_requests", "Answered requests; the route is the template.", ("method", "route", "status")
        )
        self.http_duration_seconds = self.histogram(
            "waybill_http_request_duration_seconds",
            "Seconds from the request's first byte to the answer's last.",
            ("method", "route"),
            buckets=REQUEST_BUCKETS_SECONDS,
        )

        self.outbox_waiting = self.gauge(
            "waybill_outbox_waiting_rows", "Events not yet in Kafka (counted up to a bound)."
        )
        self.outbox_oldest_seconds = self.gauge(
            "waybill_outbox_oldest_seconds", "Age of the oldest event not yet in Kafka."
        )
        self.outbox_relayed = self.counter("waybill_outbox_relayed", "Events that Kafka acknowledged.", ("topic",))
        self.outbox_errors = self.counter(
            "waybill_outbox_relay_errors", "Relay turns that failed, in whole or for a shard."
        )
        self.outbox_blocked_shards = self.gauge(
            "waybill_outbox_held_back_shards", "Shards whose next event Kafka refuses."
        )

        consumer = ("consumer", "topic")
        self.consumer_lag = self.gauge(
            "waybill_consumer_lag_records", "Records not yet handled, all partitions.", consumer
        )
        self.consumer_staleness_seconds = self.gauge(
            "waybill_consumer_staleness_seconds",
            "Seconds since the consumer was last proven to have handled everything.",
            consumer,
        )
        self.consumed = self.counter("waybill_consumer_records", "Records handled, unknown types included.", consumer)
        self.consumer_errors = self.counter(
            "waybill_consumer_errors", "Batches that failed and are tried again.", consumer
        )
        self.dead_letters = self.counter(
            "waybill_consumer_dead_letters", "Records sent to the dead letter topic.", consumer
        )
        self.consumer_delay_seconds = self.histogram(
            "waybill_consumer_delay_seconds",
            "Age of the oldest record of a batch when the batch was done.",
            consumer,
            buckets=DELAY_BUCKETS_SECONDS,
        )

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        return self._once(name, lambda: Counter(name, documentation, labels, registry=self.registry))

    def gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        return self._once(name, lambda: Gauge(name, documentation, labels, registry=self.registry))

    def histogram(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = DELAY_BUCKETS_SECONDS,
    ) -> Histogram:
        return self._once(name, lambda: Histogram(name, documentation, labels, registry=self.registry, buckets=buckets))

    def distribution(self, name: str, documentation: str) -> "Distribution":
        """A histogram without labels, for many values at once."""
        return self._once(name, lambda: Distribution(name, documentation, registry=self.registry))

    def exposition(self) -> tuple[bytes, str]:
        """Body and media type of `GET /metrics`."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _once(self, name: str, create: Callable[[], MetricT]) -> MetricT:
        if name not in self._registered:
            self._registered[name] = create()
        return cast("MetricT", self._registered[name])


class Distribution(Collector):
    """A histogram that counts many values at once, in a fifth of the time. Only one event loop may use it."""

    def __init__(
        self,
        name: str,
        documentation: str,
        *,
        registry: CollectorRegistry,
        buckets: Sequence[float] = DELAY_BUCKETS_SECONDS,
    ):
        self._name = name
        self._documentation = documentation
        self._bounds = (*buckets, math.inf)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        registry.register(self)

    def observe_all(self, values: Sequence[float]) -> None:
        """Count these values."""
        bounds, counts = self._bounds, self._counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self._sum = sum(values, self._sum)

    def collect(self) -> Iterable[Metric]:
        bounds = map(floatToGoString, self._bounds)
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)
