"""What a running service says about itself: metrics, structured logs without secrets, traces that follow a fact.

Only the root logger and the tracer in use are global, so that several applications can live in one process.
"""

import logging
import math
import re
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import accumulate
from typing import Any, TypeVar, cast

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
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

REDACTED = "[redacted]"
LOGGED_CHARACTERS_MAX = 10_000
LOGGED_DEPTH_MAX = 6
LOGGED_ITEMS_MAX = 100

OTLP_TIMEOUT_SECONDS = 5
TRACER_NAME = "waybill"

# -- Metrics -----------------------------------------------------------------------------------------------------------

MetricT = TypeVar("MetricT", bound=Collector)


class Metrics:
    """The metrics of one application, with a registry of its own.

    What every service measures stands here as attributes; `counter`, `gauge` and `histogram` add a service's own and
    return the same one when asked again by the same name.
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
            "waybill_outbox_waiting_rows", "Facts not yet in Kafka (counted up to a bound)."
        )
        self.outbox_oldest_seconds = self.gauge(
            "waybill_outbox_oldest_seconds", "Age of the oldest fact not yet in Kafka."
        )
        self.outbox_relayed = self.counter("waybill_outbox_relayed", "Facts that Kafka acknowledged.", ("topic",))
        self.outbox_errors = self.counter(
            "waybill_outbox_relay_errors", "Relay turns that failed, in whole or for a shard."
        )
        self.outbox_held_back_shards = self.gauge(
            "waybill_outbox_held_back_shards", "Shards whose next fact Kafka does not take."
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
            "waybill_consumer_dead_letters", "Records set aside in the dead letter topic.", consumer
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
        """A histogram without labels, for values that come many at once."""
        return self._once(name, lambda: Distribution(name, documentation, registry=self.registry))

    def exposition(self) -> tuple[bytes, str]:
        """Body and media type of `GET /metrics`."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _once(self, name: str, create: Callable[[], MetricT]) -> MetricT:
        if name not in self._registered:
            self._registered[name] = create()
        return cast("MetricT", self._registered[name])


class Distribution(Collector):
    """A histogram that takes many values at once, in a fifth of the time. For use inside one event loop."""

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


# -- Logs --------------------------------------------------------------------------------------------------------------

_SECRET_KEY = re.compile(
    r"(?:^|[_\-. ])(?:authorization|password|passwd|secret|token|cookie|pepper"
    r"|auth[_-]?key|api[_-]?key|private[_-]?key|sealing[_-]?key)s?$",
    re.IGNORECASE,
)
_SECRET_VALUES = (
    # First, and not beyond the next scheme: whatever took that word away would leave what follows it.
    (
        re.compile(r"\b(Bearer|Basic)\s+(?:(?!\b(?:Bearer|Basic)\s)[A-Za-z0-9._~+/=\-]){6,}", re.IGNORECASE),
        rf"\1 {REDACTED}",
    ),
    # API keys and webhook secrets: what kind it was stays readable.
    (re.compile(r"\b(wbk_(?:live_|test_)?)[A-Za-z0-9_\-]{6,}"), rf"\1{REDACTED}"),
    (re.compile(r"\b(whsec_)[A-Za-z0-9+/=_\-]{6,}"), rf"\1{REDACTED}"),
    (re.compile(r"\beyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]*"), REDACTED),
    (re.compile(r"(\b[a-z][a-z0-9+.\-]*://[^\s:/@]*:)[^\s@/]+@", re.IGNORECASE), rf"\1{REDACTED}@"),
)

# Libraries that tell at INFO, for every connection and rebalance, what only their authors need.
_QUIET_LOGGERS = ("aiokafka", "faststream", "asyncio", "uvicorn.access")
# While Kafka is away each of its clients says so ten times a second.
_TALKATIVE_LOGGERS = ("aiokafka", "faststream")
TALKATIVE_SECONDS = 10.0
_OWN_HANDLER_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "faststream", "faststream.access.kafka")

EventDict = MutableMapping[str, Any]


def redact(value: object, depth: int = 0) -> object:
    """The value without secrets, bounded: nothing under a telling key, nothing that looks like a key or a token."""
    if isinstance(value, str):
        text = value if len(value) <= LOGGED_CHARACTERS_MAX else f"{value[:LOGGED_CHARACTERS_MAX]}…"
        for pattern, replacement in _SECRET_VALUES:
            text = pattern.sub(replacement, text)
        return text
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= LOGGED_DEPTH_MAX:
        return "…"
    if isinstance(value, Mapping):
        return {
            str(key): REDACTED if _SECRET_KEY.search(str(key)) else redact(item, depth + 1)
            for key, item in _first(value.items())
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth + 1) for item in _first(value)]
    return redact(value.decode(errors="replace") if isinstance(value, bytes) else str(value), depth)


def configure_logging(service: str, level: str, *, json: bool = True) -> None:
    """Send all logs of the process (structlog's, the standard library's, uvicorn's) to standard output, redacted."""

    def name_service(_logger: object, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    enrich: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_service,
        _add_trace,
    ]
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False) if json else structlog.dev.ConsoleRenderer(colors=False)
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=enrich,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,
                _redact_event,
                render,
            ],
        )
    )
    handler.addFilter(_Occasionally())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _OWN_HANDLER_LOGGERS:
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.getLevelName(level), logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *enrich,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


class _Occasionally(logging.Filter):
    """Lets a talkative library say the same thing once in `TALKATIVE_SECONDS`; everybody else may say anything."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_TALKATIVE_LOGGERS):
            return True
        # The place in the code stands for the message: there are only so many, whatever is filled in.
        place, now = (record.name, record.lineno), time.monotonic()
        if now - self._said_at.get(place, float("-inf")) < TALKATIVE_SECONDS:
            return False
        self._said_at[place] = now
        return True


def _first(items: Iterable[Any]) -> Iterator[Any]:
    for index, item in enumerate(items):
        if index >= LOGGED_ITEMS_MAX:
            return
        yield item


def _add_trace(_logger: object, _method: str, event: EventDict) -> EventDict:
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = trace.format_trace_id(span.trace_id)
        event["span_id"] = trace.format_span_id(span.span_id)
    return event


def _redact_event(_logger: object, _method: str, event: EventDict) -> EventDict:
    return {key: REDACTED if _SECRET_KEY.search(key) else redact(value) for key, value in event.items()}


# -- Traces ------------------------------------------------------------------------------------------------------------

_propagator = TraceContextTextMapPropagator()
_provider: TracerProvider | None = None
_tracer: trace.Tracer = trace.NoOpTracer()


class Tracing:
    """The tracing of one application, until `shutdown`."""

    def __init__(self, provider: TracerProvider):
        self.provider = provider

    def add_span_processor(self, processor: SpanProcessor) -> None:
        self.provider.add_span_processor(processor)

    def shutdown(self) -> None:
        """Export what is left (within `OTLP_TIMEOUT_SECONDS`) and end. Blocks: call it from a thread."""
        global _provider, _tracer
        if _provider is self.provider:
            _provider, _tracer = None, trace.NoOpTracer()
        self.provider.shutdown()


def configure_tracing(service: str, *, otlp_endpoint: str | None, sample_ratio: float) -> Tracing:
    """Start tracing: a sampled caller is always followed, `sample_ratio` of the traces that begin here are recorded.

    Without a collector nothing is recorded, but ids are still made and handed on, so that logs can be joined.
    """
    global _provider, _tracer
    sampler: Sampler = ParentBased(TraceIdRatioBased(sample_ratio)) if otlp_endpoint or sample_ratio > 0 else ALWAYS_OFF
    provider = TracerProvider(
        sampler=sampler, resource=Resource.create({"service.name": service}), shutdown_on_exit=False
    )
    if otlp_endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=f"{otlp_endpoint.rstrip('/')}/v1/traces", timeout=OTLP_TIMEOUT_SECONDS)
        provider.add_span_processor(BatchSpanProcessor(exporter))
    _provider, _tracer = provider, provider.get_tracer(TRACER_NAME)
    return Tracing(provider)


def tracer() -> trace.Tracer:
    """Makes spans; they go nowhere until `configure_tracing` was called."""
    return _tracer


def inject() -> dict[str, str]:
    """The current span as W3C headers (`traceparent`, perhaps `tracestate`); empty outside of any."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier


def extracted(carrier: Mapping[str, str]) -> Context:
    """The context that such headers describe: the parent of a span that goes on with them."""
    return _propagator.extract(carrier, Context())
