"""`python -m bench.log_in`: what a log-in costs besides its argon2 hash, which bounds it alone.

Identity is whole (API, consumers, relay and worker, in this process), with its own PostgreSQL and Kafka. One person logs in again and
again, with hashes so cheap that the rest is seen; the hash of the default settings is timed by itself. Between two log-ins there is a
pause, because each has such a hash: what a log-in leaves to the relay and the consumers is done in that time. The processor time is that
of the loop's thread, in which no hash is computed, with everything else that it does, in the pauses, too.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import uvloop
from pydantic import SecretStr

from bench.figures import Figure, Results, percentile
from bench.single import run
from bench.stage import BenchFailed
from identity.config import Settings
from identity.logins import Passwords
from shared.observability.logs import configure_logging
from tests.harness.bodies import PASSWORD
from tests.harness.identity import Identity, running
from tests.harness.people import Tenant
from tests.harness.stack import BackingStack

RUN_SECONDS_MAX = 300.0
ROUNDS = 5
LOG_INS = 200
HASHES = 10
PAUSE_SECONDS = 0.03
"""Less than the hash of the default settings takes."""
REST_MS_AIM = 5.0


async def _milliseconds(
    work: Callable[[], Awaitable[object]], count: int, *, pause_seconds: float = 0.0
) -> list[float]:
    found = []
    for _ in range(count):
        began = time.perf_counter()
        await work()
        found.append((time.perf_counter() - began) * 1000)
        if pause_seconds:
            await asyncio.sleep(pause_seconds)
    return found


def _passwords(memory_kib: int, time_cost: int, parallelism: int) -> Passwords:
    return Passwords(memory_kib=memory_kib, time_cost=time_cost, parallelism=parallelism, at_once=2, waiting_max=2)


async def _verifying(passwords: Passwords, count: int) -> float:
    """The median milliseconds of a hash."""
    password = SecretStr(PASSWORD)
    stored = await passwords.hash(password)
    return percentile(await _milliseconds(lambda: passwords.verify(stored, password), count), 0.5)


async def _log_ins(service: Identity, tenant: Tenant, count: int) -> list[float]:
    body = json.dumps({"tenant": tenant.id, "email": tenant.owner_email, "password": PASSWORD}).encode()
    headers = [(b"host", b"identity"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]

    async def log_in() -> None:
        # As a server hands the request on: a client of Python would cost a fifth of what is measured.
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/sessions",
            "raw_path": b"/v1/sessions",
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8000),
        }
        arriving: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            # After its body the request says nothing more.
            return arriving.pop() if arriving else await asyncio.Future()

        async def send(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await service.app(scope, receive, send)
        if statuses != [201]:
            raise BenchFailed(f"a log-in was answered {statuses}")

    return await _milliseconds(log_in, count, pause_seconds=PAUSE_SECONDS)


async def measure(backing: BackingStack, *, quick: bool) -> Results:
    """Log-ins with cheap hashes, less those hashes; and a hash of the default cost."""
    configure_logging("bench", "WARNING")
    results = Results(quick)
    count = LOG_INS // 4 if quick else LOG_INS
    rest_p50, rest_p99, processor = [], [], []
    async with running(backing) as service:
        settings = service.settings
        cheap = _passwords(settings.argon2_memory_kib, settings.argon2_time_cost, settings.argon2_parallelism)
        tenant = await service.create_tenant()
        await _log_ins(service, tenant, count // 4)
        for _ in range(1 if quick else ROUNDS):
            hash_ms = await _verifying(cheap, count)
            began = time.thread_time()
            found = await _log_ins(service, tenant, count)
            processor.append((time.thread_time() - began) * 1000 / count)
            rest_p50.append(percentile(found, 0.5) - hash_ms)
            rest_p99.append(percentile(found, 0.99) - hash_ms)
    fields = Settings.model_fields
    default = [fields[f"argon2_{name}"].default for name in ("memory_kib", "time_cost", "parallelism")]
    hashes = [await _verifying(_passwords(*default), HASHES) for _ in range(1 if quick else ROUNDS)]
    p50 = sorted(rest_p50)[len(rest_p50) // 2]
    results.figures += [
        Figure(
            "a log-in without its hash, p50",
            "ms",
            rest_p50,
            hashes,
            "one argon2 hash of the default settings",
            f"≤ {REST_MS_AIM:.0f} ms",
            p50 <= REST_MS_AIM,
        ),
        Figure("a log-in without its hash, p99", "ms", rest_p99),
        Figure("processor of a log-in without its hash", "ms", processor),
    ]
    results.remarks.append(f"{count} log-ins a round, one after the other, each committed with its audit event.")
    return results


if __name__ == "__main__":
    sys.exit(
        run("log_in", "What a log-in costs beside its hash.", measure, seconds_max=RUN_SECONDS_MAX, loop=uvloop.run)
    )
