"""The whole suite as real processes.

Each test makes a tenant of its own, so nothing has to be thrown away between tests. Events travel through Kafka: `settled` waits, with a
bound, until every service knows a credential.
"""

import asyncio
import json
import secrets
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from deploy.devstack.forks import Forker, Program, start
from deploy.devstack.processes import free_ports
from shared.ids import to_uuid
from tests.harness.bodies import SIGNING_ROOT, SIGNING_ROOT_KEY, secret_32
from tests.harness.client import Api
from tests.harness.people import FromIdentity, Tenant
from tests.harness.stack import BackingStack, make_topics, migrated
from tests.harness.waiting import eventually

SERVICES = ("identity", "billing", "jobs", "webhooks")
START_SECONDS = 150.0
STOP_SECONDS = 20.0
COMMAND_SECONDS = 120.0
PLANS = Path(__file__).parents[2] / "deploy/plans.yaml"
CHEAP_HASHES = {
    "IDENTITY_ARGON2_MEMORY_KIB": "64",
    "IDENTITY_ARGON2_TIME_COST": "1",
    "IDENTITY_ARGON2_PARALLELISM": "1",
}
"""Settings under which a password hash costs nothing: at the usual cost they would be most of what some tests do."""


@dataclass
class Process:
    """One service as a process of its own."""

    name: str
    environment: Mapping[str, str]
    log: Path
    url: str
    forker: Forker | None = None
    popen: Program | None = None

    def start(self) -> None:
        self.popen = start([self.name, "serve"], self.environment, output=self.log, forker=self.forker)

    def kill9(self) -> None:
        assert self.popen is not None
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait(STOP_SECONDS)

    def stop(self) -> int:
        """SIGTERM and wait; the exit status."""
        assert self.popen is not None
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            return self.popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(STOP_SECONDS)
            raise AssertionError(f"{self.name} did not stop within {STOP_SECONDS} s of SIGTERM") from None

    async def ready(self) -> None:
        """Wait until /readyz says yes."""
        # One client for all questions: making one costs more than asking, and what is waited for needs the processor.
        async with httpx.AsyncClient(trust_env=False) as client:

            async def answers() -> bool:
                assert self.popen is not None
                if self.popen.poll() is not None:
                    said = self.log.read_text()[-3000:]
                    raise AssertionError(f"{self.name} ended with {self.popen.returncode}:\n{said}")
                try:
                    return (await client.get(f"{self.url}/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(answers, seconds=START_SECONDS, what=f"{self.name} is ready (see {self.log})")


@dataclass(frozen=True, slots=True)
class Route:
    """A route, as a service's document describes it."""

    service: str
    method: str
    path: str
    operation: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.service} {self.method} {self.path}"

    @property
    def permission(self) -> str | None:
        found: str | None = self.operation.get("x-required-permission")
        return found

    @property
    def is_free(self) -> bool:
        """Whether it is open to a tenant that has not paid."""
        return bool(self.operation["x-subscription-exempt"]) or (self.permission or "").startswith("platform.")

    def admits(self, kind: str) -> bool:
        return kind in self.operation["x-admits"]

    async def call(self, api: Api) -> httpx.Response:
        """Ask for it with names in place of ids, and without a body."""
        return await api.at(self.service).request(self.method, self.path.replace("{", "").replace("}", ""))


class Suite:
    """Four services on one PostgreSQL and one Kafka. Making one blocks: from a coroutine, call `asyncio.to_thread`."""

    def __init__(
        self,
        backing: BackingStack,
        home: Path,
        environment: Mapping[str, str] | None = None,
        forker: Forker | None = None,
    ):
        self._backing = backing
        self._forker = forker
        self._home = home
        ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        self.databases = {name: migrated(backing, name) for name in SERVICES}
        self.environment = {
            "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": backing.kafka_bootstrap,
            "WAYBILL_INSTANCE": "tests",
            "WAYBILL_KEY_PEPPERS": f"1:{secret_32()}",
            "WAYBILL_SECRET": secret_32(),
            "WAYBILL_SIGNING_ROOTS": SIGNING_ROOT.public_text,
            "IDENTITY_SIGNING_ROOT_KEY": SIGNING_ROOT_KEY,
            "IDENTITY_SEALING_KEYS": f"1:{secret_32()}",
            "WEBHOOKS_SEALING_KEYS": f"1:{secret_32()}",
            "WEBHOOKS_ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8",
            "WEBHOOKS_ALLOW_HTTP": "true",
            "WEBHOOKS_RETRY_SCHEDULE_SECONDS": "[0.3,0.5,1,1,1,2,2,5,5,5,5,5,5,5,5]",
            **{f"{name.upper()}_DATABASE_URL": self.databases[name] for name in SERVICES},
            **{f"{name.upper()}_PORT": str(port) for name, port in ports.items()},
            **(environment or {}),
        }
        self.processes = {
            name: Process(name, self.environment, home / f"{name}.log", self.urls[name], forker) for name in SERVICES
        }
        self.client = httpx.AsyncClient(timeout=30, trust_env=False, limits=httpx.Limits(max_connections=400))
        self.nobody = Api(self.client, urls=self.urls, url=self.urls["identity"])
        self.platform = self.nobody

    async def start(self) -> None:
        """Topics, processes, a platform key; nothing is left running when that fails."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        await make_topics(self._backing.kafka_bootstrap, self.environment.get("WAYBILL_KAFKA_PREFIX", ""))
        for process in self.processes.values():
            process.start()
        await asyncio.gather(*(process.ready() for process in self.processes.values()))
        self.platform = await self.platform_key("--test")
        await run(["billing", "load-plans", str(PLANS)], self.environment, self._home, self._forker)

    async def platform_key(self, *options: str) -> Api:
        """A caller with a new platform key, which every service knows."""
        command = ["identity", "platform-key", "--name", "tests", *options]
        made = json.loads(await run(command, self.environment, self._home, self._forker))
        return await self.nobody.using({"X-Api-Key": made["api_key"]}).settled()

    async def stop(self) -> None:
        await self.client.aclose()
        for process in self.processes.values():
            if process.popen is not None:
                await asyncio.to_thread(process.stop)

    @asynccontextmanager
    async def second_replica(self, service: str, *, instance: str | None, **settings: str) -> AsyncIterator[Process]:
        """A second replica of a service, named or not, which may be paused; with these settings, else those of the first."""
        first = self.processes[service]
        (port,) = free_ports(1)
        environment = {**first.environment, f"{service.upper()}_PORT": str(port), **settings}
        if instance is None:
            del environment["WAYBILL_INSTANCE"]
        else:
            environment["WAYBILL_INSTANCE"] = instance
        log = first.log.with_name(f"{service}-second.log")
        process = replace(first, environment=environment, url=f"http://127.0.0.1:{port}", log=log, popen=None)
        process.start()
        try:
            await process.ready()
            yield process
        finally:
            assert process.popen is not None
            process.popen.send_signal(signal.SIGCONT)
            await asyncio.to_thread(process.stop)

    async def routes(self) -> list[Route]:
        """All routes of all services that are not public."""
        return [route for route in await self.all_routes() if route.operation["x-access"] != "public"]

    async def all_routes(self) -> list[Route]:
        """All routes of all services."""
        found = []
        for service in SERVICES:
            document = (await self.client.get(f"{self.urls[service]}/openapi.json")).json()
            for path, operations in document["paths"].items():
                found += [Route(service, method.upper(), path, operation) for method, operation in operations.items()]
        return found

    @property
    def people(self) -> FromIdentity:
        return FromIdentity(self.platform, entitled=self._entitled, located=self._located)

    async def create_tenant(self, **more: Any) -> Tenant:
        """A tenant on trial whose owner every service knows."""
        return await self.people.create_tenant(**more)

    async def _entitled(self, tenant: Tenant) -> None:
        """Wait until every service knows the subscription."""
        for service in SERVICES:

            async def entitled(service: str = service) -> bool:
                answer = await tenant.owner.at(service).get("/v1/permissions")
                return answer.status_code == 200 and answer.json()["subscription"]["entitled"] is True

            await eventually(entitled, what=f"{service} knows the subscription")

    async def _located(self, location_id: str) -> None:
        """Wait until jobs knows a location, whose events travel apart from those of people."""
        connection = await asyncpg.connect(self.databases["jobs"])
        found = "SELECT location_id FROM access_locations JOIN tenant_settings USING (tenant_id) WHERE location_id = $1"
        try:
            await eventually(lambda: connection.fetchval(found, to_uuid(location_id)), what="jobs knows the location")
        finally:
            await connection.close()


async def end_trial(tenant: Tenant) -> None:
    """End the tenant's trial and wait until every service says so."""
    await tenant.end_trial_at(datetime.now(UTC) + timedelta(seconds=3))
    for service in SERVICES:

        async def over(service: str = service) -> bool:
            answer = await tenant.owner.at(service).read("/v1/permissions")
            return answer["subscription"]["entitled"] is False

        await eventually(over, what=f"{service} sees the end of the trial")


async def run(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, forker: Forker | None = None
) -> str:
    """The last line that a command of the suite writes (`identity platform-key …`); it must end well."""
    name = secrets.token_hex(4)
    output, errors = folder / f"{name}.out", folder / f"{name}.err"
    program = start(command, environment, output=output, errors=errors, forker=forker)
    try:
        status = await asyncio.to_thread(program.wait, COMMAND_SECONDS)
    finally:
        program.kill()
    assert status == 0, f"{command}: {errors.read_text()[-3000:]}"
    written = output.read_text().strip()
    return written.splitlines()[-1] if written else ""
