"""`python -m bench.console`: how long pages of the console take, how much a browser loads, live notices, open tabs, memory.

The console, the four services, PostgreSQL and Kafka are processes of a stack of its own; pages are requested as people open them, each with
all calls of services that it makes. First the company has one of everything, then ten thousand merchants and a million jobs and deliveries.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import psutil
from playwright.async_api import Browser

from bench import console_stock
from bench.cpu import Account
from bench.figures import Figure, Results, percentile
from bench.single import run
from bench.stage import ENVIRONMENT, BenchFailed, pid_of
from console.pages import PAGES
from tests.harness.bodies import smallest_job
from tests.harness.console import ConsoleStack, Stock, Visitor, chromium, open_context, stock_up
from tests.harness.receiver import Received, Receiver, run_receiver
from tests.harness.stack import BackingStack
from tests.harness.suite import CHEAP_HASHES, Suite
from tests.harness.waiting import eventually

RUN_SECONDS_MAX = 3600.0
SMALL_MS_AIM, LARGE_MS_AIM = 100.0, 300.0
FIRST_PAGE_KB_AIM = 120.0
NOTICE_MS_AIM = 500.0
TABS, TABS_SHARE_AIM = 200, 20.0
MEMORY_MIB_AIM = 200.0
SIZES = console_stock.Sizes(merchants=10_000, jobs=1_000_000, deliveries=1_000_000)
QUICK_SIZES = console_stock.Sizes(merchants=1_000, jobs=10_000, deliveries=10_000)
ROUNDS, ASKED_TIMES, WARMING_TIMES = 3, 25, 3
NOTICES = 40
IDLE_SECONDS = 20.0

SEARCHES: Sequence[tuple[str, str]] = (
    ("merchants: one by number", "/merchants?q=numero77"),
    ("merchants: a word that a fifth has", "/merchants?q=boulangerie"),
    ("merchants: with access", "/merchants?level=2&api_access=true"),
    ("merchants: nobody", "/merchants?q=zzz"),
    ("jobs: a reference", "/jobs?q=WEB00000123"),
    ("jobs: a common word", "/jobs?q=sofa"),
    ("jobs: nothing", "/jobs?q=zzzzzz"),
    ("jobs: of a status and a type", "/jobs?status=damaged&type=pickup"),
    ("jobs: of a merchant", "/jobs?merchant_id={merchant_id}"),
    ("jobs: of some days", "/jobs?scheduled_date_gte=2026-10-01&scheduled_date_lte=2026-10-02"),
    ("jobs: of a location", "/jobs?location_id={location_id}"),
    ("reports: 90 days", "/reports?days=90"),
    ("deliveries: failed", "/deliveries?status=failed"),
    ("deliveries: an answer", "/deliveries?response_status=503"),
    ("deliveries: none of an answer", "/deliveries?response_status=418"),
    ("deliveries: of a reference", "/deliveries?job_reference=WEB01000123"),
    ("deliveries: of an endpoint", "/deliveries?endpoint_id={endpoint_id}&status=delivered"),
    ("deliveries: of a location", "/deliveries?location_id={location_id}"),
    ("webhooks: health of an endpoint", "/webhooks/{endpoint_id}/now"),
)
"""What people look for, beside the first page of every page."""
ROW_SEEN = """
window.seen = {};
new MutationObserver(() => requestAnimationFrame(() => {
  for (const row of document.querySelectorAll("#now tbody tr")) {
    const reference = row.cells[1].textContent.trim();
    if (row.textContent.includes("200") && !(reference in window.seen))
      window.seen[reference] = performance.timeOrigin + performance.now();
  }
})).observe(document, { childList: true, subtree: true });
"""
"""Keeps when the row of each delivery was on the screen, in milliseconds of the machine's clock."""


@dataclass(frozen=True, slots=True)
class Case:
    """One page, as somebody opens it."""

    name: str
    address: str
    visitor: Visitor


@dataclass(slots=True)
class Stage:
    """What all phases work with."""

    backing: BackingStack
    suite: Suite
    console: ConsoleStack
    hooks: Receiver
    stock: Stock
    owner: Visitor
    results: Results
    answered_at: dict[str, float] = field(default_factory=dict)
    """By the job's reference: when the receiver answered, in seconds of the machine's clock."""
    memory_mib: float = 0.0

    @property
    def pid(self) -> int:
        assert self.console.process.popen is not None
        return self.console.process.popen.pid

    def look_at_memory(self) -> None:
        """Keep the most that the console has taken."""
        self.memory_mib = max(self.memory_mib, psutil.Process(self.pid).memory_info().rss / 2**20)

    def add(self, name: str, unit: str, *rounds: float, at_most: float | None = None) -> None:
        figure = Figure(name, unit, rounds, aim="" if at_most is None else f"≤ {at_most:,g}")
        met = None if at_most is None else figure.value <= at_most
        self.results.figures.append(Figure(name, unit, rounds, aim=figure.aim, met=met))
        say(f"{name}: {figure.value:,.1f} {unit} {figure.aim}")


@asynccontextmanager
async def set_up(backing: BackingStack, results: Results) -> AsyncIterator[Stage]:
    """The stage, ready; everything that was started is stopped at the end of the block."""
    many = {"WAYBILL_REQUESTS_IN_FLIGHT_PER_ADDRESS_MAX": "1000", "CONSOLE_REQUESTS_IN_FLIGHT_MAX": "1000"}
    environment = {**ENVIRONMENT, **CHEAP_HASHES, **many}
    async with AsyncExitStack() as cleanup:
        home = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="waybill-bench-console-")))
        suite = await asyncio.to_thread(Suite, backing, home, environment)
        cleanup.push_async_callback(suite.stop)
        await suite.start()
        console = await asyncio.to_thread(ConsoleStack, suite, backing, home, None, environment)
        cleanup.push_async_callback(console.stop)
        await console.start()
        hooks = await cleanup.enter_async_context(run_receiver())
        stock = await stock_up(suite, hooks.url("/hooks"))
        owner = await console.signed_in(stock.tenant.id, stock.tenant.owner_email)
        stage = Stage(backing, suite, console, hooks, stock, owner, results)
        hooks.answer = _noting(stage)
        yield stage


def _noting(stage: Stage) -> Callable[[Received], int]:
    def answer(received: Received) -> int:
        job = received.json()["data"].get("job") or {}
        if job.get("reference_id"):
            stage.answered_at[job["reference_id"]] = time.time()
        return 200

    return answer


# -- pages -----------------------------------------------------------------------------------------------------------------


async def cases_of(stage: Stage) -> list[Case]:
    """Every page by the person whom it is for, and what people look for."""
    console, stock = stage.console, stage.stock
    people = {
        "anybody": console.visitor(),
        "merchant": await console.signed_in(stock.tenant.id, stock.merchant_email),
        "operator": await console.operating(),
    }
    shown = [page for page in PAGES if page.sample is not None]
    found = [Case(page.path, stock.fill(page.sample or ""), people.get(page.audience, stage.owner)) for page in shown]
    return [*found, *(Case(name, stock.fill(address), stage.owner) for name, address in SEARCHES)]


async def time_pages(cases: Sequence[Case], *, quick: bool) -> dict[str, list[float]]:
    """By page: p95 of the milliseconds from the request to the whole page, for each round. Pages come in turns."""
    found: dict[str, list[float]] = {case.name: [] for case in cases}
    for _ in range(1 if quick else ROUNDS):
        took: dict[str, list[float]] = {case.name: [] for case in cases}
        for number in range(WARMING_TIMES + ASKED_TIMES):
            for case in cases:
                began = time.perf_counter()
                answer = await case.visitor.get(case.address)
                spent = (time.perf_counter() - began) * 1e3
                if answer.status_code != 200:
                    raise BenchFailed(f"{case.address}: {answer.status_code} {answer.text[:500]}")
                if number >= WARMING_TIMES:
                    took[case.name].append(spent)
        for name, times in took.items():
            found[name].append(percentile(times, 0.95))
    return found


def compare(stage: Stage, small: dict[str, list[float]], large: dict[str, list[float]]) -> None:
    """A figure for the slowest page of both companies, and one for each page."""
    for name, times, aim in (("one of everything", small, SMALL_MS_AIM), ("the large company", large, LARGE_MS_AIM)):
        slowest = max(times, key=lambda page: Figure(page, "ms", times[page]).value)
        stage.add(f"p95 of the slowest page, {name} ({slowest})", "ms", *times[slowest], at_most=aim)
    for page, rounds in large.items():
        figure = Figure(f"p95 of {page}", "ms", rounds, small[page], "one of everything", f"≤ {LARGE_MS_AIM:g}")
        stage.results.figures.append(replace(figure, met=figure.value <= LARGE_MS_AIM))


# -- in a browser ----------------------------------------------------------------------------------------------------------


async def load_first_pages(stage: Stage, browser: Browser) -> None:
    """What a browser loads that has nothing yet: of the page to sign in, and of pages behind it."""
    for name, address, visitor in (
        ("/sign-in", "/sign-in", None),
        ("/", "/", stage.owner),
        ("/jobs", "/jobs", stage.owner),
        ("/webhooks/{endpoint_id}", stage.stock.fill("/webhooks/{endpoint_id}"), stage.owner),
    ):
        loaded: list[float] = []
        window = await open_context(browser, stage.console, visitor)
        tab = await window.new_page()
        session = await window.new_cdp_session(tab)
        # With its head, as it came over the wire; a stream that goes on is not counted.
        session.on("Network.loadingFinished", lambda event, to=loaded: to.append(event["encodedDataLength"]))
        await session.send("Network.enable")
        await tab.goto(address, wait_until="load")
        await window.close()
        stage.add(f"loaded for {name} as the first page", "kB", sum(loaded) / 1000, at_most=FIRST_PAGE_KB_AIM)


async def time_notices(stage: Stage, browser: Browser, *, quick: bool) -> None:
    """From the answer of the receiver to the row on the screen of an endpoint's page."""
    window = await open_context(browser, stage.console, stage.owner)
    await window.add_init_script(ROW_SEEN)
    tab = await window.new_page()
    await tab.goto(stage.stock.fill("/webhooks/{endpoint_id}"))
    jobs = stage.suite.platform.in_tenant(stage.stock.tenant.id).at("jobs")
    merchant_id = stage.stock.ids["merchant_id"]
    took = []
    for number in range(10 if quick else NOTICES):
        reference = f"N-{number}"
        # At no fixed distance from the notice before.
        await asyncio.sleep(0.4 + 0.09 * (number % 8))
        await jobs.create("/v1/jobs", smallest_job(merchant_id=merchant_id, reference_id=reference))

        async def seen(reference: str = reference) -> float | None:
            found: float | None = await tab.evaluate("reference => window.seen[reference] ?? null", reference)
            return found

        shown_at = await eventually(seen, seconds=10, what=f"{reference} is on the screen")
        took.append(shown_at - stage.answered_at[reference] * 1e3)
    await window.close()
    stage.add("attempt answered → on the screen, p50", "ms", percentile(took, 0.5))
    stage.add("attempt answered → on the screen, p95", "ms", percentile(took, 0.95), at_most=NOTICE_MS_AIM)


# -- open tabs -------------------------------------------------------------------------------------------------------------


async def open_tabs(stage: Stage, *, quick: bool) -> None:
    """What so many open streams cost while nothing happens."""
    seconds = 5.0 if quick else IDLE_SECONDS
    before = await shares(stage, seconds)
    opened: set[int] = set()
    client = httpx.AsyncClient(
        base_url=stage.console.url,
        trust_env=False,
        timeout=60,
        limits=httpx.Limits(max_connections=TABS),
        cookies={"waybill_session": stage.owner.cookie},
    )
    async with client, asyncio.TaskGroup() as group:
        readers = [group.create_task(read_stream(client, number, opened)) for number in range(TABS)]
        await eventually(lambda: len(opened) == TABS, seconds=60, what="all streams are open")
        after = await shares(stage, seconds)
        stage.look_at_memory()
        if any(reader.done() for reader in readers):
            raise BenchFailed("a stream has ended")
        for reader in readers:
            reader.cancel()
    spent = {name: after[name] - before[name] for name in after}
    stage.add(f"{TABS} open tabs, idle: the console", "% of a core", after["console"])
    all_together = after["console"] + sum(max(0.0, spent[name]) for name in spent if name != "console")
    stage.add(
        f"{TABS} open tabs, idle: with what the services do more",
        "% of a core",
        all_together,
        at_most=TABS_SHARE_AIM,
    )


async def read_stream(client: httpx.AsyncClient, number: int, opened: set[int]) -> None:
    """The stream of one tab: of webhooks, or of jobs."""
    async with client.stream("GET", "/live/webhooks" if number % 2 else "/live/jobs") as stream:
        if stream.status_code != 200:
            raise BenchFailed(f"a stream was refused: {stream.status_code}")
        async for _ in stream.aiter_bytes():
            opened.add(number)


async def shares(stage: Stage, seconds: float) -> dict[str, float]:
    """Percent of a core that each process takes."""
    processes = {name: psutil.Process(pid_of(stage.suite, name)) for name in stage.suite.processes}
    account = Account({**processes, "console": psutil.Process(stage.pid)})
    await asyncio.sleep(seconds)
    usage = account.usage()
    return {name: 100 * spent / seconds for name, spent in usage.seconds.items()}


# -- all of it -------------------------------------------------------------------------------------------------------------


async def measure(backing: BackingStack, *, quick: bool) -> Results:
    results = Results(quick)
    async with set_up(backing, results) as stage, chromium() as browser:
        await load_first_pages(stage, browser)
        await time_notices(stage, browser, quick=quick)
        await open_tabs(stage, quick=quick)
        cases = await cases_of(stage)
        small = await time_pages(cases, quick=quick)
        stage.look_at_memory()
        sizes = QUICK_SIZES if quick else SIZES
        endpoints = [stage.stock.ids["endpoint_id"]]
        await console_stock.fill(backing, stage.suite, stage.stock.tenant, endpoints, sizes)
        compare(stage, small, await time_pages(await cases_of(stage), quick=quick))
        stage.look_at_memory()
        stage.add("most memory of the console", "MiB", stage.memory_mib, at_most=MEMORY_MIB_AIM)
    return results


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(run("console", "Pages, live notices and open tabs of the console.", measure, seconds_max=RUN_SECONDS_MAX))
