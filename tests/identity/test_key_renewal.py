"""The commands that renew what is stored under an older key or pepper, and those of platform keys."""

import asyncio
import json
from argparse import Namespace
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from identity import __main__ as commands
from identity import mail
from identity.app import create_app, create_service
from identity.config import Settings
from identity.mail import Recipient
from identity.mail.operations import open_task
from shared.access.credentials import Peppers
from shared.chassis.settings import parse_keys
from shared.crypto.encryptor import Encryptor
from shared.ids import to_uuid
from shared.tasks import Task
from tests.harness.bodies import PASSWORD, secret_32
from tests.harness.client import refused
from tests.harness.identity import Identity
from tests.harness.people import Merchant, Tenant
from tests.harness.services import serve
from tests.harness.waiting import eventually

SEALED = {"merchants": "sealed_key", "signing_keys": "sealed_private_key"}


@pytest.fixture
async def merchants(tenant: Tenant) -> list[Merchant]:
    return [await tenant.create_merchant() for _ in range(3)]


@pytest.fixture
async def connection(identity: Identity) -> AsyncIterator[Any]:
    """A connection to the service's database; at the end everything is encrypted with the key that the service has."""
    connection: Any = await asyncpg.connect(identity.settings.database_url)
    before = {
        table: await connection.fetch(f"SELECT * FROM {table} WHERE {column} IS NOT NULL")
        for table, column in SEALED.items()
    }
    yield connection
    for table, column in SEALED.items():
        for row in before[table]:
            identity_column = next(iter(row.keys()))
            restore = f"UPDATE {table} SET {column} = $1 WHERE {identity_column} = $2 AND {column} IS NOT NULL"
            await connection.execute(restore, row[column], row[identity_column])
    await connection.close()


async def run(capsys: pytest.CaptureFixture[str], command: Any, settings: Settings, **options: Any) -> list[Any]:
    """What a command prints, line by line."""
    capsys.readouterr()
    await asyncio.to_thread(command, settings, Namespace(**options))
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{"')]


async def revealed(merchant: Merchant) -> dict[str, Any]:
    return await (await merchant.session()).create("/v1/api-settings/reveal", {"password": PASSWORD})


def with_keys(settings: Settings, keys: str) -> Settings:
    return settings.model_copy(update={"sealing_keys": SecretStr(keys)})


async def test_values_are_encrypted_with_the_newest_key_so_that_the_older_can_go(
    identity: Identity, merchants: list[Merchant], connection: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = [await revealed(merchant) for merchant in merchants]
    present, newer = identity.settings.sealing_keys.get_secret_value(), f"2:{secret_32()}"
    both = with_keys(identity.settings, f"{present},{newer}")

    (stranger,) = await run(capsys, commands.reseal, with_keys(identity.settings, newer))
    (first,) = await run(capsys, commands.reseal, both)
    (again,) = await run(capsys, commands.reseal, both)

    # Without the older key nothing can be done, and nothing is lost.
    assert set(stranger["resealed"].values()) == {0}
    assert stranger["left"]["api_auth_keys"] == first["resealed"]["api_auth_keys"] >= len(merchants)
    assert first["resealed"]["signing_keys"] >= 1
    assert set(first["left"].values()) == set(again["resealed"].values()) == set(again["left"].values()) == {0}
    encryptor = Encryptor(parse_keys(newer))
    for credentials in shown:
        account = credentials["api_account_id"]
        sealed = await connection.fetchval("SELECT sealed_key FROM merchants WHERE account_id = $1", to_uuid(account))
        assert encryptor.decrypt(sealed, associated_data=account).decode() == credentials["api_auth_key"]


async def test_digests_are_renewed_from_stored_copies_and_the_others_are_counted(
    identity: Identity, tenant: Tenant, merchants: list[Merchant], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = [await revealed(merchant) for merchant in merchants]
    await tenant.owner.create("/v1/api-keys", {"name": "old", "scopes": ["reports"]})
    await tenant.owner.patch("/v1/tenant/settings", {"reveal": "once"})
    rotated = await (await merchants[0].session()).create("/v1/api-settings/rotate", {"password": PASSWORD})
    other = await (await identity.create_tenant()).create_merchant()
    stored = await revealed(other)
    peppers = f"{identity.settings.key_peppers.get_secret_value()},2:{secret_32()}"
    after = identity.settings.model_copy(update={"key_peppers": SecretStr(peppers)})

    (done,) = await run(capsys, commands.re_digest, after)
    (again,) = await run(capsys, commands.re_digest, after)

    assert done["redigested"]["api_auth_keys"] >= 1
    assert again == {"redigested": {"api_auth_keys": 0}, "left": done["left"]}
    # Of three keys no copy is stored any more; the former key of one is still valid; nobody has the plain user and platform keys.
    assert done["left"]["api_auth_keys"] >= len(shown)
    assert min(done["left"][kind] for kind in ("former_api_auth_keys", "user_keys", "platform_keys")) >= 1
    event = (
        await identity.events(
            other.id, "merchant.created", "api_access.granted", "credential.revealed", "merchant.updated"
        )
    )[-1]
    (digest,) = event.data.pair.digests
    assert digest.pepper_version == 2
    assert Peppers(parse_keys(peppers)).matches(stored["api_auth_key"], digest.digest, 2)
    assert rotated["api_auth_key"] not in str(event)


async def test_what_is_used_is_digested_with_the_newest_pepper_and_no_request_of_it_is_refused(
    identity: Identity, tenant: Tenant, merchants: list[Merchant], connection: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = await revealed(merchants[0])
    await tenant.owner.patch("/v1/tenant/settings", {"reveal": "once"})
    rotated = await (await merchants[0].session()).create("/v1/api-settings/rotate", {"password": PASSWORD})
    made = await tenant.owner.create("/v1/api-keys", {"name": "old", "scopes": ["settings.api_keys.write"]})
    account_id, newer = pair["api_account_id"], f"2:{secret_32()}"
    both = f"{identity.settings.key_peppers.get_secret_value()},{newer}"
    renewing = identity.settings.model_copy(update={"key_peppers": SecretStr(both)})

    async def stored() -> list[Any]:
        return [
            *await connection.fetchrow(
                "SELECT key_digest, key_pepper_version, previous_key_digest, previous_key_pepper_version FROM merchants"
                " WHERE account_id = $1",
                to_uuid(account_id),
            ),
            *await connection.fetchrow(
                "SELECT digest, pepper_version FROM api_keys WHERE key_id = $1", to_uuid(made["id"])
            ),
        ]

    async def renewed() -> list[Any] | None:
        found = await stored()
        return found if found[1::2] == [2, 2, 2] else None

    async with serve(Identity, create_app, renewing) as service:
        user_key = service.nobody.using({"X-Api-Key": made["api_key"]})
        callers = [service.nobody.basic(account_id, key) for key in (pair["api_auth_key"], rotated["api_auth_key"])]
        # Writes check the key once more within their transaction, while its digest is changed.
        answers = await asyncio.gather(
            *(
                user_key.post("/v1/api-keys", {"name": str(n), "scopes": ["settings.api_keys.write"]})
                for n in range(20)
            ),
            *(caller.get("/v1/auth/test") for caller in callers),
        )
        found = await eventually(renewed, what="the digests are those of the newest pepper")

    assert {answer.status_code for answer in answers} == {200, 201}
    alone = Peppers(parse_keys(newer))
    for key, digest in zip((rotated["api_auth_key"], pair["api_auth_key"], made["api_key"]), found[::2], strict=True):
        assert alone.matches(key, digest, 2)
    issued = await identity.events(made["id"], "credential.issued", "credential.issued")
    assert [event.data.digests[0].pepper_version for event in issued] == [1, 2]


@pytest.mark.usefixtures("connection")
async def test_mails_that_wait_are_encrypted_with_the_newest_key(
    identity: Identity, tenant: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    present, newer = identity.settings.sealing_keys.get_secret_value(), f"2:{secret_32()}"
    service = create_service(identity.settings)
    mail.attach(service.database, mail.Mailer(Encryptor(parse_keys(present))))
    to = Recipient(tenant.owner.subject_id, tenant.id, tenant.owner_email, "Ada Lovelace", None, livemode=False)
    said = mail.PasswordChanged(changed_at=datetime.now(UTC), address="203.0.113.7")
    try:
        async with service.database.transaction() as session:
            await mail.send(session, to, said)

        (done,) = await run(capsys, commands.reseal, with_keys(identity.settings, f"{present},{newer}"))

        async with service.database.transaction() as session:
            waiting = (await session.execute(text("DELETE FROM tasks WHERE kind LIKE 'mail%' RETURNING *"))).mappings()
            opened = [
                open_task(
                    mail.Mailer(Encryptor(parse_keys(newer))),
                    Task(
                        row["task_id"],
                        row["kind"],
                        row["key"],
                        row["payload"],
                        row["due_at"],
                        1,
                        datetime.now(UTC),
                        uuid4(),
                    ),
                )
                for row in waiting
            ]
    finally:
        await service.database.close()

    assert done["resealed"]["mails"] == len(opened) >= 1
    assert done["left"]["mails"] == done["left"]["reset_requests"] == 0
    assert (to, said) in [(recipient, written) for _, recipient, written in opened]


async def test_platform_keys_are_listed_and_revoked(identity: Identity, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"action": "create", "key_id": None, "name": "to be revoked", "test": True}
    (made,) = await run(capsys, commands.platform_key, identity.settings, **options)
    operator = identity.nobody.using({"X-Api-Key": made["api_key"]})
    assert (await operator.get("/v1/auth/test")).status_code == 200

    async def listed() -> dict[str, Any]:
        keys = await run(capsys, commands.platform_key, identity.settings, **{**options, "action": "list"})
        assert made["api_key"] not in str(keys)
        return {key["id"]: key for key in keys}

    before = (await listed())[made["id"]]
    for _ in range(2):
        revoke = {**options, "action": "revoke", "key_id": made["id"]}
        assert await run(capsys, commands.platform_key, identity.settings, **revoke) == [
            {"id": made["id"], "revoked": True}
        ]
    after = (await listed())[made["id"]]

    assert (before["name"], before["livemode"], before["revoked_at"]) == ("to be revoked", False, None)
    assert after["revoked_at"] is not None

    async def is_refused() -> bool:
        return (await operator.get("/v1/auth/test")).status_code == 401

    await eventually(is_refused, what="the revoked key is refused")
    refused(await operator.get("/v1/auth/test"), 401, "credential_revoked")
    await identity.events(made["id"], "credential.issued", "credential.revoked")
    for wrong in ({"action": "revoke", "key_id": "key_no"}, {"action": "revoke", "key_id": None}, {"name": None}):
        with pytest.raises(SystemExit):
            await run(capsys, commands.platform_key, identity.settings, **{**options, **wrong})
