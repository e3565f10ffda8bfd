"""`python -m bench.revocation`: how soon every replica refuses what was revoked, and what verifying credentials costs.

Two replicas of jobs with all roles; a merchant calls both without a pause while its API access ends.
"""

import argparse
import asyncio
import hashlib
import hmac
import signal
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx

from bench.figures import Figure, Results, keep, percentile, table
from shared.access.principals import EVERYONE, PresentedCredentials, RouteAccess
from tests.harness.client import Api
from tests.harness.edge_app import edge_database, run_edge_app
from tests.harness.people import Merchant, Tenant
from tests.harness.stack import BackingStack, start_private_stack
from tests.harness.suite import CHEAP_HASHES, Suite
from tests.harness.waiting import eventually

RUN_SECONDS_MAX = 300.0
SAMPLES = 240
MERCHANTS_AT_ONCE = 4
CALL_PAUSE_SECONDS = 0.001
REFUSED_FOR_GOOD_CALLS = 3
REFUSAL_P99_MS_AIM = 250.0
RECEIPT_P99_MS_AIM = 500.0
VERIFICATIONS = 20_000
ROUNDS = 5
VERIFICATION_US_AIM = 30.0
ROUTE = RouteAccess("requires", "orders.jobs.read", EVERYONE)


class BenchFailed(Exception):
    """What was measured is not what should have been measured."""


async def _merchants(tenant: Tenant, count: int) -> list[tuple[Merchant, Api]]:
    places = asyncio.Semaphore(MERCHANTS_AT_ONCE)

    async def with_access() -> tuple[Merchant, Api]:
        async with places:
            merchant = await tenant.create_merchant()
            return merchant, await merchant.reveal()

    return list(await asyncio.gather(*(with_access() for _ in range(count))))


async def _first_refusal(api: Api) -> float:
    """When this replica refused first; all that follows must be refused, too."""
    refused_at: list[float] = []
    while len(refused_at) < REFUSED_FOR_GOOD_CALLS:
        status = (await api.get("/v1/auth/test")).status_code
        if status == httpx.codes.OK and refused_at:
            raise BenchFailed("access that had been refused was granted again")
        if status != httpx.codes.OK:
            refused_at.append(time.monotonic())
        await asyncio.sleep(CALL_PAUSE_SECONDS)
    return refused_at[0]


async def _sample(tenant: Tenant, merchant: Merchant, replicas: list[Api]) -> tuple[float, float, float]:
    """Milliseconds from the answer to the last replica's first refusal and to the complete receipt; and what the receipt says."""
    for api in replicas:
        if (await api.get("/v1/auth/test")).status_code != httpx.codes.OK:
            raise BenchFailed("a replica does not know the merchant")
    calling = [asyncio.create_task(_first_refusal(api)) for api in replicas]
    answer = await tenant.owner.delete(f"/v1/merchants/{merchant.id}/api-access")
    answered_at = time.monotonic()
    path = f"/v1/revocations/{answer.headers['Revocation-Id']}"

    async def complete() -> int | None:
        receipt = await tenant.owner.read(path)
        (jobs,) = [one for one in receipt["services"] if one["service"] == "jobs"]
        known = len(jobs["replicas"]) == len(replicas)
        return receipt["applied_after_ms"] if receipt["complete"] and known else None

    told_ms = await eventually(complete, what="the receipt is complete")
    complete_at = time.monotonic()
    refused_at = max(await asyncio.gather(*calling))
    return (refused_at - answered_at) * 1000, (complete_at - answered_at) * 1000, float(told_ms)


async def measure_revocations(backing: BackingStack, home: Path, results: Results, samples: int) -> None:
    suite = await asyncio.to_thread(Suite, backing, home, {**CHEAP_HASHES, "WAYBILL_LOG_LEVEL": "WARNING"})
    try:
        await suite.start()
        async with suite.second_replica("jobs", instance="second") as second:
            tenant = await suite.create_tenant()
            merchants = await _merchants(tenant, samples)
            _say("revoking")
            measured = [
                await _sample(tenant, merchant, [api.at("jobs"), replace(api, url=second.url)])
                for merchant, api in merchants
            ]
            _say("stopping")
    finally:
        await suite.stop()
    refusals, receipts, told = zip(*measured, strict=True)
    for name, found, aim in (
        ("answered → the last of two replicas of jobs refuses", refusals, REFUSAL_P99_MS_AIM),
        ("answered → the receipt of all services is complete, as its reader sees it", receipts, RECEIPT_P99_MS_AIM),
        ("written → the last replica of all services refuses, as the receipt says", told, None),
    ):
        p99 = percentile(found, 0.99)
        results.figures += [
            Figure(f"{name}, p50", "ms", [percentile(found, 0.5)]),
            Figure(f"{name}, p99", "ms", [p99], aim=f"≤ {aim:.0f}" if aim else "", met=p99 <= aim if aim else None),
        ]
    results.remarks.append(f"{len(measured)} revocations, one after the other.")


async def measure_verification(backing: BackingStack, results: Results, count: int) -> None:
    """Processor time of `Access.caller`, the service's own code, with a warm cache, beside one bare HMAC of the key."""
    async with run_edge_app(await edge_database(backing)) as edge:
        _say("verifying")
        merchant = await (await edge.create_tenant()).create_merchant()
        presented = PresentedCredentials(authorization=merchant.api.headers["Authorization"])
        access, key, pepper = edge.service.access, merchant.key.encode(), b"p" * 32
        taken_us: list[float] = []
        bare_us: list[float] = []
        for _ in range(ROUNDS):
            began = time.process_time()
            for _ in range(count):
                await access.caller(presented, ROUTE, datetime.now(UTC))
            taken_us.append((time.process_time() - began) / count * 1e6)
            began = time.process_time()
            for _ in range(count):
                hmac.new(pepper, key, hashlib.sha256).hexdigest()
            bare_us.append((time.process_time() - began) / count * 1e6)
    figure = Figure(
        "API credentials verified with a warm cache",
        "µs of processor",
        taken_us,
        bare_us,
        "a bare HMAC-SHA256",
        f"≤ {VERIFICATION_US_AIM:.0f}",
    )
    results.figures.append(replace(figure, met=figure.value <= VERIFICATION_US_AIM))


async def _run(*, quick: bool, only: str | None) -> Results:
    # However the run is ended, its processes are.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    results = Results(quick or only is not None)
    with tempfile.TemporaryDirectory(prefix="waybill-bench-", ignore_cleanup_errors=True) as folder:
        backing = start_private_stack(Path(folder) / "stack")
        try:
            async with asyncio.timeout(RUN_SECONDS_MAX):
                if only != "verification":
                    await measure_revocations(backing, Path(folder), results, SAMPLES // 10 if quick else SAMPLES)
                if only != "revocations":
                    await measure_verification(backing, results, VERIFICATIONS // 10 if quick else VERIFICATIONS)
        finally:
            backing.stop()
    return results


def main() -> int:
    """Run the bench. Returns 0 when everything was measured, also when an aim is not met."""
    parser = argparse.ArgumentParser(prog="python -m bench.revocation", description="Revocation and verification.")
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    parser.add_argument("--only", choices=("revocations", "verification"), help="one part; its figures are not kept")
    options = parser.parse_args()
    results = asyncio.run(_run(quick=options.quick, only=options.only))
    keep(results, "revocation")
    sys.stdout.write(table(results) + "\n")
    return 0


_began = time.monotonic()


def _say(what: str) -> None:
    sys.stderr.write(f"{time.monotonic() - _began:6.1f} s  {what}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
