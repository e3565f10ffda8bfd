"""A service whose processor time is sampled: `python -m bench.sampled serve` runs the service that `BENCH_SAMPLED` names.

A timer of the process's processor time interrupts it every few milliseconds; each sample counts for the stage of the innermost frame that
belongs to one (`STAGES`). SIGUSR1 writes what was counted since the last one to `BENCH_SAMPLES`, and counts anew. Code in C counts for the
Python function that called it; what no Python function called (the loop itself, most of the driver's reading) for "event loop and driver".
"""

import json
import os
import runpy
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

PERIOD_SECONDS = 0.002
ELSE = "event loop and driver"

STAGES: Sequence[tuple[str, str, Sequence[str]]] = (
    # The path of a module contains …; the stage; functions, if only some of the module's.
    ("/uvicorn/", "HTTP server", ()),
    ("shared/chassis/", "HTTP server", ()),
    ("shared/api/middleware", "edge and router", ()),
    ("shared/api/in_flight", "edge and router", ()),
    ("shared/api/request_body", "parsing and validation", ()),
    ("fastapi/_compat", "parsing and validation", ()),
    ("shared/fields/", "parsing and validation", ()),
    ("jobs/fields/", "parsing and validation", ()),
    ("job_store/schemas", "parsing and validation", ()),
    ("search/schemas", "parsing and validation", ()),
    ("fastapi/dependencies", "FastAPI's solving", ()),
    ("fastapi/", "FastAPI's solving", ()),
    ("starlette/responses", "answer", ()),
    ("shared/api/responses", "answer", ()),
    ("shared/api/entity_tags", "answer", ()),
    ("starlette/", "edge and router", ()),
    ("shared/api/routes", "edge and router", ()),
    ("shared/api/rate_limits", "admission", ()),
    ("shared/access/request_log", "telemetry", ()),
    ("shared/access/", "admission", ()),
    ("opentelemetry", "telemetry", ()),
    ("prometheus_client", "telemetry", ()),
    ("structlog", "telemetry", ()),
    ("/logging/", "telemetry", ()),
    ("shared/observability/", "telemetry", ()),
    ("jobs/search_index/", "tokens", ()),
    ("shared/folding", "tokens", ()),
    ("jobs/search/", "statement building", ()),
    ("shared/api/pagination", "statement building", ()),
    ("job_store/operations", "rows", ("_job_row", "_action_row", "insert_jobs")),
    ("job_store/queries", "rows to models", ("view_job", "view_action", "with_actions")),
    ("job_store/operations", "draft", ()),
    ("jobs/jobs/operations", "draft", ()),
    ("jobs/reference_data", "draft", ()),
    ("sqlalchemy/dialects/postgresql/asyncpg", "driver", ()),
    ("sqlalchemy/", "SQLAlchemy", ()),
    ("asyncpg/", "driver", ()),
    ("shared/messaging/outbox", "outbox", ()),
    ("shared/events/", "outbox", ()),
    ("shared/messaging/relay", "relay and Kafka", ()),
    ("shared/messaging/shard_publisher", "relay and Kafka", ()),
    ("shared/messaging/", "relay and Kafka", ()),
    ("aiokafka/", "relay and Kafka", ()),
    ("faststream/", "relay and Kafka", ()),
    ("shared/api/group", "group commit", ()),
    ("shared/api/idempotency", "group commit", ()),
    ("shared/postgres/", "group commit", ()),
)

_counts: Counter[str] = Counter()
_places: Counter[str] = Counter()
_stage_of: dict[object, str | None] = {}


def _stage(frame: FrameType) -> str | None:
    code = frame.f_code
    if code not in _stage_of:
        path, name = code.co_filename, code.co_name
        found = (stage for part, stage, names in STAGES if part in path and (not names or name in names))
        _stage_of[code] = next(found, None)
    return _stage_of[code]


def _sample(_number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if (stage := _stage(frame)) is not None:
            code = frame.f_code
            _counts[stage] += 1
            _places["/".join(code.co_filename.split("/")[-3:]) + ":" + code.co_name] += 1
            return
        frame = frame.f_back
    _counts[ELSE] += 1


def _write(_number: int, _frame: FrameType | None) -> None:
    file = Path(os.environ["BENCH_SAMPLES"])
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps({"stages": _counts, "places": _places}))
    partial.rename(file)
    _counts.clear()
    _places.clear()


if __name__ == "__main__":
    signal.signal(signal.SIGPROF, _sample)
    signal.signal(signal.SIGUSR1, _write)
    signal.setitimer(signal.ITIMER_PROF, PERIOD_SECONDS, PERIOD_SECONDS)
    runpy.run_module(os.environ["BENCH_SAMPLED"], run_name="__main__", alter_sys=True)
