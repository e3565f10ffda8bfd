"""Wiring only: one process for all tests of requests, whose bounds of time are short."""

from collections.abc import AsyncIterator

import pytest

from deploy.devstack.forks import Forker
from tests.harness.edge_app import edge_database
from tests.harness.edge_process import EdgeProcess, run_edge_process
from tests.harness.stack import BackingStack


@pytest.fixture(scope="module")
async def database_url(backing: BackingStack) -> str:
    return await edge_database(backing)


@pytest.fixture(scope="module")
async def edge(
    database_url: str, forker: Forker | None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EdgeProcess]:
    bounds = {"head_seconds": 1, "body_idle_seconds": 1, "body_seconds": 2}
    async with run_edge_process(database_url, tmp_path_factory.mktemp("edge"), forker, **bounds) as process:
        yield process
