"""Structured logs on standard output, redacted, with the ids of the current trace."""

import logging
import sys
import time

import structlog
from opentelemetry import trace

from shared.observability.redaction import EventDict, redact_event

# Libraries that log at INFO for every connection and rebalance.
_QUIET_LOGGERS = ("aiokafka", "faststream", "asyncio", "uvicorn.access")
# While Kafka is away each of its clients logs that ten times a second.
_TALKATIVE_LOGGERS = ("aiokafka", "faststream")
TALKATIVE_SECONDS = 10.0
_OWN_HANDLER_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "faststream", "faststream.access.kafka")


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
                redact_event,
                render,
            ],
        )
    )
    handler.addFilter(_RepeatLimit())
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


class _RepeatLimit(logging.Filter):
    """Lets a talkative library log the same message once in `TALKATIVE_SECONDS`. Other loggers are not limited."""

    def __init__(self) -> None:
        super().__init__()
        self._logged_at: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_TALKATIVE_LOGGERS):
            return True
        # The line of code identifies the message, whatever its arguments.
        place, now = (record.name, record.lineno), time.monotonic()
        if now - self._logged_at.get(place, float("-inf")) < TALKATIVE_SECONDS:
            return False
        self._logged_at[place] = now
        return True


def _add_trace(_logger: object, _method: str, event: EventDict) -> EventDict:
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = trace.format_trace_id(span.trace_id)
        event["span_id"] = trace.format_span_id(span.span_id)
    return event
