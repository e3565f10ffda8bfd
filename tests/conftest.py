"""Wiring only: the servers behind the suite. What tests call lives in `tests/support`."""

from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.receiver import Receiver, run_receiver
from tests.support.stack import BackingStack, start_backing_stack
from tests.support.transport import plain_logs

# How long an example takes says how busy the machine is; each test has a bound of its own.
settings.register_profile("waybill", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("waybill")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-on-skip", action="store_true", help="a test that is skipped fails the run (for the gate)")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped and terminalreporter.config.getoption("--fail-on-skip"):
        terminalreporter.write_line(f"{len(skipped)} skipped: each test has to run here", red=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus == 0 and session.config.getoption("--fail-on-skip") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def readable_logs() -> Iterator[None]:
    with plain_logs():
        yield


@pytest.fixture(scope="session")
def backing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackingStack]:
    """PostgreSQL and Kafka of this test run; each starts when it is first asked for."""
    stack = start_backing_stack(tmp_path_factory.mktemp("backing"))
    yield stack
    stack.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of webhooks, of one test alone."""
    async with run_receiver() as running:
        yield running
