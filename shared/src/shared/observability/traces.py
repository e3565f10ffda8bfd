"""OpenTelemetry traces, and their context as W3C headers.

Only the tracer in use is global, so that one process can contain several applications.
"""

from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

OTLP_TIMEOUT_SECONDS = 5
TRACER_NAME = "waybill"

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
    """Start tracing: the trace of a sampled caller is always recorded, and of traces that begin here the share `sample_ratio`.

    Without a collector nothing is recorded, but trace ids are still made and passed on, so that logs can be joined.
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
    """The tracer in use. Before `configure_tracing` its spans are not recorded."""
    return _tracer


def inject() -> dict[str, str]:
    """The current span as W3C headers (`traceparent`, perhaps `tracestate`); empty without a span."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier


def extract(carrier: Mapping[str, str]) -> Context:
    """The context in such headers: the parent of a span that continues their trace."""
    return _propagator.extract(carrier, Context())
