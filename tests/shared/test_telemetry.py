"""Logs without secrets, metrics per application, traces that begin or go on."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.observability import logs, traces
from shared.observability.metrics import Metrics
from shared.observability.redaction import redact

KEY = "wbk_live_9zXcVbNm1QwErTyUiOp2AsDfGhJkL3"
WEBHOOK_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1c3JfMSJ9.c2lnbmF0dXJl-_x"
BASIC = "Basic YWNjdF8xOndia19saXZlX3h5eg=="
SECRETS = (KEY, WEBHOOK_SECRET, JWT, BASIC.removeprefix("Basic "))


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator["Logged"]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configuration = structlog.get_config()
    yield Logged(capsys)
    root.handlers, root.level = handlers, level
    structlog.configure(**configuration)


class Logged:
    def __init__(self, capsys: pytest.CaptureFixture[str]):
        self._capsys = capsys
        self.text = ""

    def begin(self) -> None:
        """In the test itself: pytest gives it another standard output than its fixtures."""
        logs.configure_logging("jobs", "INFO")

    def lines(self) -> list[dict[str, object]]:
        self.text += self._capsys.readouterr().out
        return [json.loads(line) for line in self.text.splitlines()]


# -- Logs --------------------------------------------------------------------------------------------------------------


def test_secrets_never_reach_the_log_wherever_they_stand(logged: Logged) -> None:
    logged.begin()
    log = structlog.get_logger("test")

    log.info("call", authorization=BASIC, headers={"Authorization": f"Bearer {JWT}", "X-Request-Id": "r1"})
    log.info(f"key {KEY} was used", api_auth_key="short", nested=[{"signing_secret": "s3"}, WEBHOOK_SECRET])
    log.info(
        "database", url="postgresql://jobs:hunter2@db:5432/jobs", body=f'{{"secret": "{WEBHOOK_SECRET}"}}'.encode()
    )
    logging.getLogger("uvicorn.error").info("got %s", f"Authorization: {BASIC}")
    try:
        raise ValueError(f"cannot use {KEY}")
    except ValueError:
        log.exception("failed")

    lines = logged.lines()
    assert len(lines) == 5
    assert not [secret for secret in (*SECRETS, "hunter2", "short", "s3") if secret in logged.text]
    assert lines[0]["headers"] == {"Authorization": "[redacted]", "X-Request-Id": "r1"}
    assert lines[1]["event"] == "key wbk_live_[redacted] was used"
    assert lines[2]["url"] == "postgresql://jobs:[redacted]@db:5432/jobs"
    assert "ValueError: cannot use wbk_live_[redacted]" in str(lines[4]["exception"])


def test_a_line_says_when_who_and_in_which_context(logged: Logged) -> None:
    logged.begin()
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger("jobs.api").warning("slow", seconds=1.5)
    logging.getLogger("some.library").warning("careful: %d", 3)
    structlog.get_logger("jobs.api").debug("not at this level")

    own, foreign = logged.lines()
    assert (own["event"], own["level"], own["logger"], own["service"]) == ("slow", "warning", "jobs.api", "jobs")
    assert (own["request_id"], own["seconds"]) == ("r1", 1.5)
    assert str(own["timestamp"]).endswith("Z")
    assert (foreign["event"], foreign["logger"], foreign["service"]) == ("careful: 3", "some.library", "jobs")


def test_a_line_within_a_span_carries_its_ids(logged: Logged) -> None:
    logged.begin()
    tracing = traces.configure_tracing("jobs", otlp_endpoint=None, sample_ratio=1)
    try:
        with traces.tracer().start_as_current_span("work") as span:
            structlog.get_logger("t").info("inside")
    finally:
        tracing.shutdown()

    (line,) = logged.lines()
    assert line["trace_id"] == trace.format_trace_id(span.get_span_context().trace_id)


def test_a_talkative_library_says_the_same_thing_only_now_and_then(logged: Logged) -> None:
    logged.begin()
    for attempt in range(5):
        logging.getLogger("aiokafka.client").error("Unable to connect to node, attempt %d", attempt)
        structlog.get_logger("jobs").error("own", attempt=attempt)
    logging.getLogger("aiokafka.client").error("Something else")

    events = [str(line["event"]) for line in logged.lines()]
    assert [event for event in events if event != "own"] == ["Unable to connect to node, attempt 0", "Something else"]
    assert events.count("own") == 5


def test_what_is_logged_is_bounded() -> None:
    deep: list[object] = []
    deep.append(deep)

    assert len(str(redact("x" * 1_000_000))) < 11_000
    assert str(redact(list(range(10_000)))).count(",") == 99
    assert "…" in str(redact(deep))


@example("Basic ", BASIC.removeprefix("Basic "), "=")
@example("whsec_", BASIC.removeprefix("Basic "), "=")
@given(st.text(max_size=20), st.sampled_from(SECRETS), st.sampled_from([" ", "=", '"', "'", ",", "\n", ":", "("]))
def test_a_secret_is_found_in_any_surroundings(before: str, secret: str, separator: str) -> None:
    prefix = "Basic " if secret == BASIC.removeprefix("Basic ") else ""

    assert secret not in str(redact(f"{before}{separator}{prefix}{secret}{separator}after"))


@pytest.mark.parametrize(
    "key", ["password", "client_secret", "X-Api-Key", "Cookie", "auth_key", "access_token", "peppers"]
)
def test_anything_under_a_telling_key_is_hidden(key: str) -> None:
    assert redact({key: "plain"}) == {key: "[redacted]"}


@pytest.mark.parametrize(
    "key", ["token_count", "secretary", "passwords_changed_at", "key", "idempotency_key", "author"]
)
def test_other_keys_are_not(key: str) -> None:
    assert redact({key: "plain"}) == {key: "plain"}


# -- Metrics -----------------------------------------------------------------------------------------------------------


def test_each_application_has_metrics_of_its_own() -> None:
    one, other = Metrics("jobs"), Metrics("billing")
    one.http_requests.labels("GET", "/v1/jobs/{id}", "200").inc()

    body, media_type = one.exposition()

    assert b'waybill_http_requests_total{method="GET",route="/v1/jobs/{id}",status="200"} 1.0' in body
    assert b'waybill_service_info{service="jobs"} 1.0' in body
    assert b"/v1/jobs/{id}" not in other.exposition()[0]
    assert media_type.startswith("text/plain")


def test_a_metric_asked_for_twice_is_the_same() -> None:
    metrics = Metrics("jobs")

    assert metrics.counter("a_total", "A.", ("x",)) is metrics.counter("a_total", "A.", ("x",))
    assert metrics.gauge("b", "B.") is metrics.gauge("b", "B.")
    assert metrics.histogram("c", "C.", buckets=(1, 2)) is metrics.histogram("c", "C.")
    assert metrics.distribution("d", "D.") is metrics.distribution("d", "D.")


def test_a_distribution_shows_what_a_histogram_does() -> None:
    one, other = Metrics("jobs"), Metrics("jobs")
    values = [0.0, 0.001, 0.0011, 0.3, 59.9, 60.0, 4000.0]
    one.distribution("waits", "How long.").observe_all(values[:3])
    one.distribution("waits", "How long.").observe_all(values[3:])
    for value in values:
        other.histogram("waits", "How long.").observe(value)

    def shown(metrics: Metrics) -> list[str]:
        lines = metrics.exposition()[0].decode().splitlines()
        return [line for line in lines if "waits" in line and "_created" not in line]

    assert shown(one) == shown(other)
    assert "waits_count 7.0" in shown(one)


# -- Traces ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "recorded"), [(1.0, 2), (0.0, 0)])
def test_a_trace_goes_on_where_its_headers_are_taken_up(ratio: float, recorded: int) -> None:
    exporter = InMemorySpanExporter()
    tracing = traces.configure_tracing("jobs", otlp_endpoint=None, sample_ratio=ratio)
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    try:
        with traces.tracer().start_as_current_span("request") as first:
            carrier = traces.inject()
        with traces.tracer().start_as_current_span("process", context=traces.extract(carrier)) as second:
            pass
    finally:
        tracing.shutdown()

    assert second.get_span_context().trace_id == first.get_span_context().trace_id
    assert second.get_span_context().span_id != first.get_span_context().span_id
    assert len(exporter.get_finished_spans()) == recorded


def test_a_sampled_caller_is_followed_whatever_the_own_ratio_is() -> None:
    tracing = traces.configure_tracing("jobs", otlp_endpoint=None, sample_ratio=1e-12)
    sampled = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    try:
        with traces.tracer().start_as_current_span("x", context=traces.extract(sampled)) as followed:
            assert followed.is_recording()
        with traces.tracer().start_as_current_span("y") as own:
            assert not own.is_recording()
    finally:
        tracing.shutdown()


def test_without_a_span_there_is_nothing_to_hand_on() -> None:
    assert traces.inject() == {}
    assert trace.get_current_span(traces.extract({"traceparent": "nonsense"})).get_span_context().is_valid is False
