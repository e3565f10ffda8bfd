"""Wiring only: one private stack for all tests that look at one."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from deploy.devstack import stack
from deploy.devstack.settings import StackSettings
from tests.harness.private_stack import free_offset, settings_in
from tests.harness.sharing import PRIVATE_STACK, scope_of


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Whoever looks at the stack is in the group that shares it: any other worker would start one more."""
    lookers = {item.path.name for item in items if "running" in getattr(item, "fixturenames", ())}
    scattered = {name for name in lookers if scope_of(f"tests/devstack/{name}") != PRIVATE_STACK}
    assert not scattered, f"not in tests/harness/sharing.py: {scattered}"


@pytest.fixture(scope="package")
def running() -> Iterator[StackSettings]:
    with TemporaryDirectory(prefix="wb-") as folder:
        settings = settings_in(Path(folder) / "home", free_offset())
        try:
            stack.up(settings, print)
            yield settings
        finally:
            stack.reset(settings, print)
