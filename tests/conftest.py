"""Wiring only: the servers behind the suite. What tests call lives in `tests/support`."""

from collections.abc import Iterator

import pytest

from tests.support.stack import BackingStack, start_backing_stack


@pytest.fixture(scope="session")
def backing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackingStack]:
    """PostgreSQL and Kafka of this test run; each starts when it is first asked for."""
    stack = start_backing_stack(tmp_path_factory.mktemp("backing"))
    yield stack
    stack.stop()
