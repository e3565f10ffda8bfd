"""Wiring only: one private stack for all tests that look at one."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from deploy.devstack import stack
from deploy.devstack.settings import StackSettings
from tests.harness.private_stack import free_offset, settings_in


@pytest.fixture(scope="session")
def running() -> Iterator[StackSettings]:
    with TemporaryDirectory(prefix="wb-") as folder:
        settings = settings_in(Path(folder) / "home", free_offset())
        try:
            stack.up(settings, print)
            yield settings
        finally:
            stack.reset(settings, print)
