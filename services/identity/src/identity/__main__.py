"""`python -m identity serve | migrate | tasks | openapi | asyncapi | platform-key | rotate-signing-key | signing-root`."""

import argparse
import asyncio
import base64
import json
import secrets
import sys
from datetime import UTC, datetime

from identity import api_keys, signing_keys
from identity.app import create_app, create_encryptor, create_root, create_service
from identity.config import Settings
from identity.notices.consumer import BILLING_EVENTS, WEBHOOKS_EVENTS
from shared.access.signing_roots import SigningRoot
from shared.chassis.command_line import Command
from shared.chassis.settings import SECRET_BYTES
from shared.events import access, audit, billing, identity, receipts, webhooks
from shared.messaging.groups import ConsumerGroup
from shared.service.access_groups import access_groups
from shared.service.command_line import main

NAME_LENGTH_MAX = 120
TOLD_OF = "Writes mail about it to the people whom it concerns."


def _name(value: str) -> str:
    if not 0 < len(value) <= NAME_LENGTH_MAX:
        raise argparse.ArgumentTypeError(f"a name has 1 to {NAME_LENGTH_MAX} characters")
    return value


def platform_key_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, type=_name, help="who uses the key")
    parser.add_argument("--test", action="store_true", help="a key for test tenants only")


def platform_key(settings: Settings, options: argparse.Namespace) -> None:
    """Create a platform API key and print it."""

    async def create() -> tuple[str, str]:
        service = create_service(settings)
        try:
            async with service.database.transaction() as session:
                return api_keys.create_platform_key(
                    session, service.peppers, name=options.name, livemode=not options.test, now=datetime.now(UTC)
                )
        finally:
            await service.database.close()

    key_id, key = asyncio.run(create())
    sys.stdout.write(json.dumps({"id": key_id, "api_key": key}) + "\n")


def rotate_signing_key(settings: Settings, _: argparse.Namespace) -> None:
    """Publish a new signing key."""

    async def rotate() -> str:
        service = create_service(settings)
        try:
            async with service.database.transaction() as session:
                return await signing_keys.rotate(
                    session,
                    create_encryptor(settings),
                    create_root(settings),
                    datetime.now(UTC),
                    grace_seconds=settings.signing_key_grace_seconds,
                    session_seconds=settings.session_seconds,
                )
        finally:
            await service.database.close()

    sys.stdout.write(json.dumps({"key_id": asyncio.run(rotate())}) + "\n")


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
                "Create a platform API key and print it; it cannot be printed again.",
                platform_key,
                platform_key_arguments,
            ),
            "rotate-signing-key": Command(
                "Publish a new signing key; the others retire when their last tokens have expired.", rotate_signing_key
            ),
        },
        documents={"signing-root": signing_root},
    )
