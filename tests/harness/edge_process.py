"""The application of `edge_app` as a process that is reached through sockets, and a tenant whose owner it knows."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.devstack.forks import Forker, Program, start
from deploy.devstack.processes import free_ports
from tests.harness.edge_app import SECRETS, run_edge_app
from tests.harness.people import Tenant
from tests.harness.waiting import eventually

START_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass
class EdgeProcess:
    """The running process."""

    port: int
    program: Program
    tenant: Tenant

    @property
    def credentials(self) -> list[str]:
        """The header lines of the tenant's owner."""
        return [f"{name}: {value}" for name, value in self.tenant.owner.headers.items()]


@asynccontextmanager
async def run_edge_process(
    database_url: str, folder: Path, forker: Forker | None, **overrides: Any
) -> AsyncIterator[EdgeProcess]:
    """The process with these settings besides the usual ones."""
    async with run_edge_app(database_url) as edge:
        tenant = await edge.create_tenant()
    (port,) = free_ports(1)
    values = {**SECRETS, "port": port, "kafka_bootstrap_servers": "127.0.0.1:1", "roles": "api", **overrides}
    command = ["tests.hostile.edge_service", json.dumps({"database_url": database_url, **values})]
    log = folder / f"edge-{port}.log"
    program = start(command, {}, output=log, forker=forker)
    try:
        async with httpx.AsyncClient(trust_env=False) as client:

            async def ready() -> bool:
                assert program.poll() is None, log.read_text()[-3000:]
                try:
                    return (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(ready, seconds=START_SECONDS, what=f"the process is ready (see {log})")
        yield EdgeProcess(port, program, tenant)
    finally:
        program.terminate()
        program.wait(STOP_SECONDS)
