"""`python -m identity serve | migrate | tasks | openapi | asyncapi | platform-key | rotate-signing-key | reseal | re-digest |
signing-root`."""

import argparse
import asyncio
import base64
import json
import secrets
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from identity import api_keys, key_renewal, signing_keys
from identity.app import create_app, create_encryptor, create_root, create_service
from identity.config import Settings
from identity.merchants import CredentialIssuer
from identity.notices.consumer import BILLING_EVENTS, WEBHOOKS_EVENTS
from shared.access.signing_roots import SigningRoot
from shared.chassis.command_line import Command
from shared.chassis.settings import SECRET_BYTES
from shared.events import access, audit, billing, identity, receipts, webhooks
from shared.ids import to_uuid
from shared.messaging.groups import ConsumerGroup
from shared.service.access_groups import access_groups
from shared.service.command_line import main
from shared.service.composition import Service

NAME_LENGTH_MAX = 120
TOLD_OF = "Writes mail about it to the people whom it concerns."


def _name(value: str) -> str:
    if not 0 < len(value) <= NAME_LENGTH_MAX:
        raise argparse.ArgumentTypeError(f"a name has 1 to {NAME_LENGTH_MAX} characters")
    return value


def platform_key_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["create", "list", "revoke"], default="create")
    parser.add_argument("key_id", nargs="?", help="the key to revoke, as `list` shows it")
    parser.add_argument("--name", type=_name, help="who uses the key to create")
    parser.add_argument("--test", action="store_true", help="create a key for test tenants only")


def platform_key(settings: Settings, options: argparse.Namespace) -> None:
    """Create, list or revoke platform API keys."""
    match options.action:
        case "create" if options.name is None:
            raise SystemExit("platform-key create: --name is missing")
        case "create":
            _in_transaction(settings, lambda service, session: _create_platform_key(service, session, options))
        case "list":
            _in_transaction(settings, _list_platform_keys)
        case "revoke" if options.key_id is None:
            raise SystemExit("platform-key revoke: the id of the key is missing; platform-key list shows it")
        case "revoke":
            _in_transaction(settings, lambda _, session: _revoke_platform_key(session, options.key_id))


async def _create_platform_key(
    service: Service, session: AsyncSession, options: argparse.Namespace
) -> list[dict[str, object]]:
    key_id, key = api_keys.create_platform_key(
        session, service.peppers, name=options.name, livemode=not options.test, now=datetime.now(UTC)
    )
    return [{"id": key_id, "api_key": key}]


async def _list_platform_keys(_: Service, session: AsyncSession) -> list[dict[str, object]]:
    return [
        {
            "id": row.key_id,
            "name": row.name,
            "livemode": row.livemode,
            "hint": row.hint,
            "created_at": row.created_at.isoformat(),
            "last_used_at": row.last_used_at.isoformat() if row.last_used_at else None,
            "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
        }
        for row in await api_keys.list_platform_keys(session)
    ]


async def _revoke_platform_key(session: AsyncSession, key_id: str) -> list[dict[str, object]]:
    try:
        to_uuid(key_id)
    except ValueError as error:
        raise SystemExit(f"{key_id} is no id of a key; platform-key list shows them") from error
    if not await api_keys.revoke_platform_key(session, key_id):
        raise SystemExit(f"there is no platform key {key_id}; platform-key list shows them")
    return [{"id": key_id, "revoked": True}]


def rotate_signing_key(settings: Settings, _: argparse.Namespace) -> None:
    """Publish a new signing key."""

    async def rotate(_: Service, session: AsyncSession) -> list[dict[str, object]]:
        key_id = await signing_keys.rotate(
            session,
            create_encryptor(settings),
            create_root(settings),
            datetime.now(UTC),
            grace_seconds=settings.signing_key_grace_seconds,
            session_seconds=settings.session_seconds,
        )
        return [{"key_id": key_id}]

    _in_transaction(settings, rotate)


def reseal(settings: Settings, _: argparse.Namespace) -> None:
    """Encrypt with the newest sealing key whatever an older one encrypts, and say what is left."""

    async def run(service: Service) -> list[dict[str, object]]:
        encryptor = create_encryptor(settings)
        renewed = await key_renewal.reseal(service.database, encryptor)
        async with service.database.reading() as session:
            left = await key_renewal.count_sealed_with_older(session, encryptor)
        return [{"resealed": renewed, "left": left}]

    _with_service(settings, run)


def re_digest(settings: Settings, _: argparse.Namespace) -> None:
    """Digest with the newest pepper the keys of which a copy is stored, and say what is left."""

    async def run(service: Service) -> list[dict[str, object]]:
        issuer = CredentialIssuer(service.peppers, create_encryptor(settings))
        renewed = await key_renewal.redigest(service.database, issuer)
        async with service.database.reading() as session:
            left = await key_renewal.count_older_digests(session, service.peppers)
        return [{"redigested": {"api_auth_keys": renewed}, "left": left}]

    _with_service(settings, run)


def _with_service(settings: Settings, run: Callable[[Service], Awaitable[list[dict[str, object]]]]) -> None:
    """Print what comes of this work, a line of JSON for each."""

    async def with_service() -> list[dict[str, object]]:
        service = create_service(settings)
        try:
            return await run(service)
        finally:
            await service.database.close()

    for document in asyncio.run(with_service()):
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")


def _in_transaction(
    settings: Settings, run: Callable[[Service, AsyncSession], Awaitable[list[dict[str, object]]]]
) -> None:
    """The same in one transaction: nothing is printed that is not committed."""

    async def in_transaction(service: Service) -> list[dict[str, object]]:
        async with service.database.transaction() as session:
            return await run(service, session)

    _with_service(settings, in_transaction)


def signing_root() -> dict[str, str]:
    """Print a new root key: both its halves, as the settings want them."""
    seed = secrets.token_bytes(SECRET_BYTES)
    return {
        "IDENTITY_SIGNING_ROOT_KEY": base64.b64encode(seed).decode(),
        "WAYBILL_SIGNING_ROOTS": SigningRoot(seed).public_text,
    }


if __name__ == "__main__":
    main(
        "identity",
        Settings,
        create_app,
        publishes=identity.EVENTS,
        consumes=[
            *access_groups("identity", billing.TOPIC),
            ConsumerGroup("identity.usage", access.TOPIC, access.EVENTS, "Stores when each credential was last used."),
            ConsumerGroup("identity.audit", audit.TOPIC, audit.EVENTS, "Stores the audit events of all services."),
            ConsumerGroup("identity.notices", billing.TOPIC, list(BILLING_EVENTS.types.values()), TOLD_OF),
            ConsumerGroup("identity.notices", webhooks.TOPIC, list(WEBHOOKS_EVENTS.types.values()), TOLD_OF),
            ConsumerGroup(
                "identity.receipts",
                receipts.TOPIC,
                receipts.EVENTS,
                "Stores which replicas run, and since when each refuses what was revoked.",
            ),
        ],
        commands={
            "platform-key": Command(
                "Create a platform API key and print it (it cannot be printed again), list them, or revoke one.",
                platform_key,
                platform_key_arguments,
            ),
            "rotate-signing-key": Command(
                "Publish a new signing key; the others retire when their last tokens have expired.", rotate_signing_key
            ),
            "reseal": Command(
                "Encrypt with the newest sealing key whatever an older one encrypts, and print what is left.", reseal
            ),
            "re-digest": Command(
                "Digest with the newest pepper the keys of which a copy is stored, and print what is left: each is digested when it is "
                "next used here.",
                re_digest,
            ),
        },
        documents={"signing-root": signing_root},
    )
