"""The whole suite as real processes, and its users as tests know them: tenants, owners, staff, merchants.

Each test makes a tenant of its own, so nothing has to be thrown away between tests. Facts travel through Kafka: `settled` waits, with a
bound, until every service knows a credential.
"""

import asyncio
import base64
import itertools
import json
import secrets
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx

from deploy.devstack.processes import free_ports
from shared.ids import to_uuid
from shared.messaging import topics
from tests.harness.forks import Forker, Program, start
from tests.harness.stack import BackingStack, migrated

SERVICES = ("identity", "billing", "jobs", "webhooks")
TOPICS_FILE = Path(__file__).parents[2] / "deploy/kafka/topics.yaml"
START_SECONDS = 150.0
STOP_SECONDS = 20.0
SETTLE_SECONDS = 30.0
COMMAND_SECONDS = 120.0
PASSWORD = "correct horse battery staple"
CHEAP_HASHES = {
    "IDENTITY_ARGON2_MEMORY_KIB": "64",
    "IDENTITY_ARGON2_TIME_COST": "1",
    "IDENTITY_ARGON2_PARALLELISM": "1",
}
"""Settings under which a password hash costs nothing: at the usual cost they would be most of what some tests do."""

ValueT = TypeVar("ValueT")
_numbers = itertools.count(1)


async def eventually(
    probe: Callable[[], Awaitable[ValueT | None]], *, seconds: float = SETTLE_SECONDS, what: str = "condition"
) -> ValueT:
    """The first value of `probe` that is neither None nor False; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = await probe()
        if value is not None and value is not False:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not seen within {seconds} s")
        await asyncio.sleep(0.02)


def unique(word: str) -> str:
    """A name that no other test uses."""
    return f"{word} {next(_numbers)} {secrets.token_hex(4)}"


def new_prefix() -> str:
    """A prefix of names in Kafka that nobody else has."""
    return f"{secrets.token_hex(4)}."


async def own_topics(backing: BackingStack) -> str:
    """Every topic of the suite, made for one installation alone; the prefix of its topics and consumer groups."""
    prefix = new_prefix()
    await make_topics(await asyncio.to_thread(lambda: backing.kafka_bootstrap), prefix)
    return prefix


async def make_topics(bootstrap_servers: str, prefix: str) -> None:
    """Every topic of the suite, under this prefix."""
    await topics.apply(bootstrap_servers, topics.load(TOPICS_FILE), prefix=prefix)


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


class Api:
    """The four services as one caller sees them, with that caller's credentials."""

    def __init__(self, suite: "Suite", headers: Mapping[str, str]):
        self._suite = suite
        self.headers = dict(headers)

    async def request(self, service: str, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        return await self._suite.client.request(
            method, f"{self._suite.urls[service]}{path}", headers=headers, **options
        )

    async def get(self, service: str, path: str, **options: Any) -> httpx.Response:
        return await self.request(service, "GET", path, **options)

    async def post(self, service: str, path: str, body: object = None, **options: Any) -> httpx.Response:
        content = {} if body is None else {"json": body}
        return await self.request(service, "POST", path, **content, **options)

    async def made(self, service: str, path: str, body: object = None, **options: Any) -> dict[str, Any]:
        """POST, expect 200 or 201, and return the document."""
        answer = await self.post(service, path, body, **options)
        assert answer.status_code in (200, 201), f"POST {path}: {answer.status_code} {answer.text}"
        document: dict[str, Any] = answer.json()
        return document

    async def settled(self, *services: str) -> "Api":
        """Wait until these services (default: all) know this caller."""
        for service in services or SERVICES:

            async def known(service: str = service) -> bool:
                answer = await self.get(service, "/v1/auth/test")
                return answer.status_code == 200

            await eventually(known, what=f"{service} knows the caller")
        return self


@dataclass
class Merchant:
    """A merchant with its session and, once revealed, its pair."""

    suite: "Suite"
    tenant: "Tenant"
    id: str
    email: str
    password: str
    document: dict[str, Any]

    async def session(self) -> Api:
        return await self.suite.session(self.tenant.id, self.email, self.password)

    async def pair(self) -> dict[str, str]:
        """The API Account ID and API Auth Key, revealed in the merchant's own session."""
        session = await self.session()
        revealed = await session.made("identity", "/v1/api-settings/reveal", {"password": self.password})
        return {"api_account_id": revealed["api_account_id"], "api_auth_key": revealed["api_auth_key"]}

    async def api(self, *, settled: bool = True) -> Api:
        """What the merchant's integration uses: HTTP Basic with the pair."""
        api = Api(self.suite, basic(**await self.pair()))
        return await api.settled() if settled else api


@dataclass
class Tenant:
    """A tenant with its owner's session."""

    suite: "Suite"
    id: str
    name: str
    owner: Api
    owner_email: str
    default_location: str
    document: dict[str, Any] = field(repr=False)

    async def create_locations(self, *names: str) -> list[str]:
        """Locations at which jobs can be from now on."""
        made = [(await self.owner.made("identity", "/v1/locations", location(name)))["id"] for name in names]
        await self.suite.located(*made)
        return made

    async def create_merchant(
        self, *, level: int = 2, api_access: bool = True, locations: Sequence[str] | None = None, **more: Any
    ) -> Merchant:
        email = f"merchant-{secrets.token_hex(6)}@example.com"
        body = {
            "business_name": unique("Boulangerie"),
            "login_email": email,
            "level": level,
            "api_access": api_access,
            "location_ids": list(locations or [self.default_location]),
            "password": PASSWORD,
            **more,
        }
        if "default_location_id" not in body:
            body["default_location_id"] = body["location_ids"][0]
        made = await self.owner.made("identity", "/v1/merchants", body)
        return Merchant(self.suite, self, made["id"], email, PASSWORD, made)

    async def create_staff(self, *permissions: str) -> Api:
        email = f"staff-{secrets.token_hex(6)}@example.com"
        body = {
            "email": email,
            "first_name": "Sam",
            "last_name": "Staff",
            "permissions": list(permissions),
            "password": PASSWORD,
        }
        await self.owner.made("identity", "/v1/staff", body)
        return await (await self.suite.session(self.id, email, PASSWORD)).settled()

    async def create_endpoint(
        self, url: str, *, events: Sequence[str] = ("*",), locations: Sequence[str] | str = "*", **more: Any
    ) -> dict[str, Any]:
        """A webhook endpoint; waits until webhooks knows the locations."""
        body = {
            "url": url,
            "event_types": list(events),
            "location_ids": locations if isinstance(locations, str) else list(locations),
            **more,
        }

        async def made() -> dict[str, Any] | None:
            answer = await self.owner.post("webhooks", "/v1/webhook-endpoints", body)
            if answer.status_code == 422 and "location" in answer.text:
                return None
            assert answer.status_code == 201, answer.text
            document: dict[str, Any] = answer.json()
            return document

        return await eventually(made, what="the endpoint is accepted")

    async def end_trial_at(self, instant: str) -> None:
        path = f"/v1/billing/tenants/{self.id}/trial/extend"
        await self.suite.platform.made("billing", path, {"trial_ends_at": instant})


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
            "WAYBILL_KEY_PEPPERS": f"1:{_secret()}",
            "WAYBILL_SECRET": _secret(),
            "IDENTITY_SEALING_KEYS": f"1:{_secret()}",
            "WEBHOOKS_SEALING_KEYS": f"1:{_secret()}",
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
        self.platform = Api(self, {})

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
        command = ["identity", "platform-key", "--name", "tests", "--test"]
        made = json.loads(await run(command, self.environment, self._home, self._forker))
        self.platform = Api(self, {"X-Api-Key": made["api_key"]})
        await self.platform.settled()

    async def stop(self) -> None:
        await self.client.aclose()
        for process in self.processes.values():
            if process.popen is not None:
                await asyncio.to_thread(process.stop)

    async def session(self, tenant: str, email: str, password: str) -> Api:
        """A person's session."""
        body = {"tenant": tenant, "email": email, "password": password}
        made = await Api(self, {}).made("identity", "/v1/sessions", body)
        return Api(self, {"Authorization": f"Bearer {made['token']}"})

    async def new_tenant(self, **more: Any) -> Tenant:
        """A tenant on trial whose owner every service knows."""
        name = unique("Livraisons")
        email = f"owner-{secrets.token_hex(6)}@example.com"
        body = {
            "name": name,
            "country": "CA",
            "timezone": "America/Montreal",
            "currency": "CAD",
            "owner": {"email": email, "first_name": "Odile", "last_name": "Owner", "password": PASSWORD},
            **more,
        }
        made = await self.platform.made("identity", "/v1/tenants", body)
        owner = await self.session(made["id"], email, PASSWORD)
        tenant = Tenant(self, made["id"], name, owner, email, made["default_location"]["id"], made)
        await owner.settled()
        for service in SERVICES:

            async def entitled(service: str = service) -> bool:
                answer = await owner.get(service, "/v1/permissions")
                return answer.status_code == 200 and answer.json()["subscription"]["entitled"] is True

            await eventually(entitled, what=f"{service} knows the subscription")
        await self.located(tenant.default_location)
        return tenant

    async def located(self, *location_ids: str) -> None:
        """Wait until jobs knows these locations: their facts come by other ways than those of people."""
        connection = await asyncpg.connect(self.databases["jobs"])
        wanted = [to_uuid(one) for one in location_ids]

        async def known() -> bool:
            counted = "SELECT count(*) FROM access_locations WHERE location_id = ANY($1::uuid[])"
            return bool(await connection.fetchval(counted, wanted) == len(wanted))

        try:
            await eventually(known, what="jobs knows the locations")
        finally:
            await connection.close()


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


def basic(api_account_id: str, api_auth_key: str) -> dict[str, str]:
    """HTTP Basic headers."""
    encoded = base64.b64encode(f"{api_account_id}:{api_auth_key}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}


def location(name: str) -> dict[str, Any]:
    return {"type": "branch", "name": name, "timezone": "America/Montreal", "address": {"raw": f"1 rue {name}"}}


def job(location_id: str | None = None, **more: Any) -> dict[str, Any]:
    """The smallest job."""
    body: dict[str, Any] = {
        "contact": {"first_name": "Ada", "phone": "+15145550100"},
        "address": {"raw": "1 Rue Sherbrooke, Montréal"},
        **more,
    }
    if location_id is not None:
        body["location_id"] = location_id
    return body


def _secret() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()
