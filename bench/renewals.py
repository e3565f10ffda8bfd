"""`python -m bench.renewals`: renewing ten thousand subscriptions, beside writing their invoices by COPY; a PDF; an entitlement."""

import asyncio
import sys
import time
import timeit
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.billing_stage import COUNT, BillingStage, on_stage
from bench.figures import Figure, Results, percentile
from bench.single import run
from billing.invoice_documents import Seller, contents, rendering
from billing.invoices import Invoice, get
from shared.access.entitlement import entitled
from shared.ids import from_uuid

ROUNDS = 3
RATIO_AIM = 3.0
PDF_AIM_MS = 150.0
PDFS = 50
ENTITLEMENT_AIM_US = 2.0
ENTITLEMENT_CALLS = 200_000
RUN_SECONDS_MAX = 900.0

_MAKE_CUSTOMERS = """
    UPDATE subscriptions SET status = 'active', plan = 'starter_monthly', plan_version = 1, access_until = NULL, trial_reminder_at = NULL,
        trial_outcome = 'converted', anchor_at = now() - interval '1 month', current_period_start = now() - interval '1 month',
        current_period_end = now()
"""
_TASKS_ARE_DUE = "UPDATE tasks SET due_at = now(), next_at = now()"
_NOT_RENEWED = "SELECT FROM subscriptions WHERE current_period_end <= now()"
_COPIED = ("invoices", "ledger_entries", "outbox", "tasks", "subscriptions", "invoice_counters")
"""What the renewals have written: the rows of each table as they are afterwards."""


async def measure(stage: BillingStage, *, quick: bool) -> Results:
    """Several rounds of both, in turn."""
    results = Results(quick)
    count = COUNT // 10 if quick else COUNT
    renewed, copied = [], []
    for _ in range(1 if quick else ROUNDS):
        await stage.begin_trials(count, lambda _: datetime.now(UTC) + timedelta(days=1))
        await stage.connection.execute(_MAKE_CUSTOMERS)
        await stage.connection.execute(_TASKS_ARE_DUE)
        async with stage.working():
            renewed.append(await stage.seconds_until_none(_NOT_RENEWED))
        copied.append(await _copy(stage))
    results.figures.append(
        Figure(
            f"{count:,} subscriptions renewed: invoice, ledger, events, next task",
            "s",
            renewed,
            copied,
            "the same rows by COPY",
            f"≤ {RATIO_AIM:g} ×",
            sum(renewed) <= RATIO_AIM * sum(copied),
        )
    )
    milliseconds = await _draw(stage)
    p95 = percentile(milliseconds, 0.95)
    results.figures.append(
        Figure("PDF of an invoice with its XML, p95", "ms", [p95], aim=f"≤ {PDF_AIM_MS:g} ms", met=p95 <= PDF_AIM_MS)
    )
    us = _decide()
    aim = f"≤ {ENTITLEMENT_AIM_US:g} µs"
    results.figures.append(Figure("entitlement decided", "µs", [us], aim=aim, met=us <= ENTITLEMENT_AIM_US))
    return results


async def _copy(stage: BillingStage) -> float:
    """The seconds that COPY takes for the same rows into tables of the same shape."""
    rows: dict[str, Sequence[Any]] = {}
    for name in _COPIED:
        rows[name] = [tuple(row) for row in await stage.connection.fetch(f"SELECT * FROM {name}")]
        await stage.connection.execute(f"DROP TABLE IF EXISTS copy_of_{name}")
        await stage.connection.execute(f"CREATE TABLE copy_of_{name} (LIKE {name} INCLUDING ALL)")
    began = time.monotonic()
    for name in _COPIED:
        await stage.connection.copy_records_to_table(f"copy_of_{name}", records=rows[name])
    return time.monotonic() - began


async def _draw(stage: BillingStage) -> list[float]:
    row = await stage.connection.fetchrow("SELECT id, tenant_id FROM invoices LIMIT 1")
    seller = Seller("Waybill Inc.", "CA", "100 Rue Saint-Paul", "H2Y 1Z3", "Montréal (QC)", tax_id="123456789 RT0001")
    async with stage.database.reading() as session:
        invoice = await get(session, from_uuid("ten", row["tenant_id"]), from_uuid("inv", row["id"]))

    def made(of: Invoice) -> float:
        began = time.perf_counter()
        xml = rendering.xml_of(contents.for_programs(of, seller, language="en", zone="America/Toronto"))
        rendering.pdf_of(contents.for_readers(of, seller, language="en", zone="America/Toronto"), xml)
        return (time.perf_counter() - began) * 1000

    return [await asyncio.to_thread(made, invoice) for _ in range(PDFS)]


def _decide() -> float:
    now = datetime.now(UTC)
    until = now + timedelta(days=1)
    seconds = timeit.timeit(lambda: entitled("past_due", until, now), number=ENTITLEMENT_CALLS)
    return seconds / ENTITLEMENT_CALLS * 1e6


if __name__ == "__main__":
    sys.exit(run("renewals", "What renewing subscriptions costs.", on_stage(measure), seconds_max=RUN_SECONDS_MAX))
