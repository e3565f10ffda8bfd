"""Commands, migrations, the process and the generated documents."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from deploy.devstack.forks import Forker
from deploy.devstack.processes import free_ports
from identity.__main__ import signing_root
from identity.config import Settings
from identity.metadata import Base
from shared.chassis.settings import load_settings
from tests.harness import suite
from tests.harness.identity import Identity
from tests.harness.schema_drift import drift
from tests.harness.suite import Process

Command = Callable[..., Awaitable[dict[str, str]]]


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment of a process that shares this service's database and secrets."""
    return {
        "IDENTITY_DATABASE_URL": settings.database_url,
        "IDENTITY_SEALING_KEYS": settings.sealing_keys.get_secret_value(),
        "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "WAYBILL_KAFKA_PREFIX": settings.kafka_prefix,
        "WAYBILL_KEY_PEPPERS": settings.key_peppers.get_secret_value(),
        "WAYBILL_SECRET": settings.secret.get_secret_value(),
        "WAYBILL_SIGNING_ROOTS": settings.signing_roots,
        "IDENTITY_SIGNING_ROOT_KEY": settings.signing_root_key.get_secret_value(),
    }


@pytest.fixture
def run(identity: Identity, forker: Forker | None, tmp_path: Path) -> Command:
    """Runs a command of identity and returns the JSON that it prints."""

    async def run_command(*arguments: str) -> dict[str, str]:
        command, environment = ["identity", *arguments], environment_of(identity.settings)
        printed: dict[str, str] = json.loads(await suite.run(command, environment, tmp_path, forker))
        return printed

    return run_command


async def test_the_migrated_database_is_what_the_models_say(identity: Identity) -> None:
    assert await asyncio.to_thread(drift, identity.settings.database_url, Base.metadata) == []


async def test_a_command_creates_a_platform_key_that_works_at_once(identity: Identity, run: Command) -> None:
    made = await run("platform-key", "--name", "operator", "--test")

    assert made["api_key"].startswith("wbk_test_")
    operator = identity.nobody.using({"X-Api-Key": made["api_key"]})
    who = await operator.read("/v1/auth/test")
    assert (who["principal"], who["tenant_id"], who["livemode"]) == ("platform", None, False)
    assert (await operator.get("/v1/tenants")).status_code == 200
    issued = (await identity.events(made["id"], "credential.issued"))[0]
    assert "platform" in issued.data.scopes
    assert made["api_key"] not in issued.data.model_dump_json()


def test_a_command_makes_a_root_key_that_settings_accept(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made, other = signing_root(), signing_root()
    for name, value in {**environment_of(identity.settings), **made}.items():
        monkeypatch.setenv(name, value)

    assert load_settings(Settings).signing_roots == made["WAYBILL_SIGNING_ROOTS"]
    monkeypatch.setenv("WAYBILL_SIGNING_ROOTS", other["WAYBILL_SIGNING_ROOTS"])
    with pytest.raises(SystemExit):
        load_settings(Settings)
    error = capsys.readouterr().err
    assert error.startswith("IDENTITY_SIGNING_ROOT_KEY: ")
    assert made["IDENTITY_SIGNING_ROOT_KEY"] not in error


async def test_a_command_rotates_the_signing_key(identity: Identity, run: Command) -> None:
    rotated = await run("rotate-signing-key")

    (published,) = await identity.events(rotated["key_id"], "signing_key.published")
    assert published.data.algorithm == "EdDSA"
    assert set(published.data.model_dump()) == {"key_id", "algorithm", "public_key", "retires_at", "proof"}


async def test_a_process_serves_and_stops_in_order(identity: Identity, forker: Forker | None, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    environment = {**environment_of(identity.settings), "IDENTITY_PORT": str(port)}
    process = Process("identity", environment, tmp_path / "identity.log", f"http://127.0.0.1:{port}", forker)
    process.start()
    try:
        await process.ready()
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{process.url}/v1/tenants", headers=identity.platform.headers)
        assert answer.status_code == 200
    finally:
        status = await asyncio.to_thread(process.stop)
    assert status == 0


async def test_every_route_says_who_may_call_it(identity: Identity) -> None:
    found = (await identity.client.get("/openapi.json")).json()

    operations = [operation for path in found["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    for operation in operations:
        assert operation["x-access"] in ("public", "authenticated", "requires")
        assert operation["summary"]
