"""Wiring only: the servers behind the suite, and which worker runs what. What tests call lives in `tests/harness`."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
import uvloop

from deploy.devstack.forks import SERVICES, Forker, forking
from tests.harness import effort, runtimes
from tests.harness.lending import BorrowedStack, Lender
from tests.harness.receiver import Receiver, run_receiver
from tests.harness.sharing import Scheduler
from tests.harness.stack import BackingStack, start_backing_stack
from tests.harness.transport import plain_logs

LENDER = pytest.StashKey[Lender]()

effort.load_profile()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-on-skip", action="store_true", help="a test that is skipped fails the run (for the gate)")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not runtimes.has_stripe_mock():
        terminalreporter.write_line(
            "neither stripe-mock nor Go is here: the shapes of what is asked of Stripe were not checked"
        )
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped and terminalreporter.config.getoption("--fail-on-skip"):
        terminalreporter.write_line(f"{len(skipped)} skipped: each test has to run here", red=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus == 0 and session.config.getoption("--fail-on-skip") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Services run on uvloop, which calls protocols a little differently: tests that say so run on it alone."""
    production = item.get_closest_marker("production_loop")
    return {"uvloop": uvloop.new_event_loop} if production else {"asyncio": asyncio.new_event_loop}


def pytest_configure(config: pytest.Config) -> None:
    """SIGTERM ends a run as Ctrl-C does: fixtures end what they started, and remove what they wrote."""
    if not hasattr(config, "workerinput"):
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduler:
    return Scheduler(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In the process that starts the workers: give each the addresses of the servers."""
    stash = node.config.stash
    if LENDER not in stash:
        # Below the folder that pytest gives to each run, and removes some runs later.
        stash[LENDER] = Lender(node.config._tmp_path_factory.mktemp("servers"))
    node.workerinput["servers"] = stash[LENDER].terms


def pytest_unconfigure(config: pytest.Config) -> None:
    if LENDER in config.stash:
        config.stash[LENDER].stop()


@pytest.fixture(scope="session", autouse=True)
def readable_logs() -> Iterator[None]:
    with plain_logs():
        yield


@pytest.fixture(scope="session")
def backing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackingStack]:
    """PostgreSQL and Kafka of this test run; each starts when it is first asked for."""
    worker = getattr(request.config, "workerinput", None)
    stack = BorrowedStack(worker["servers"]) if worker else start_backing_stack(tmp_path_factory.mktemp("backing"))
    yield stack
    stack.stop()


@pytest.fixture(scope="session")
def forker() -> Iterator[Forker | None]:
    """What starts the services' processes; None where they start from nothing."""
    with forking(*SERVICES) as forker:
        yield forker


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of webhooks, of one test alone."""
    async with run_receiver() as running:
        yield running
