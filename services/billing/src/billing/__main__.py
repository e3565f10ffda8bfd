"""`python -m billing serve | migrate | load-plans | reconcile | tasks | openapi | asyncapi`."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from pydantic import ValidationError

from billing import plans
from billing.app import create_app, create_provider
from billing.config import Settings
from billing.plans import PlanChanged, PlanFile
from billing.reconciliation import Difference
from billing.reconciliation.worker import reconcile
from billing.subscriptions.consumer import IDENTITY_EVENTS
from billing.tenants.consumer import TENANT_EVENTS
from shared.chassis.command_line import Command
from shared.events import billing, identity, receipts
from shared.messaging.groups import ConsumerGroup
from shared.postgres.database import Database
from shared.service.access_groups import access_groups
from shared.service.command_line import main

PLANS = Path("deploy/plans.yaml")


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", type=Path, default=PLANS, help=f"the file of plans (default: {PLANS})")


def _load_plans(settings: Settings, options: argparse.Namespace) -> None:
    try:
        file = PlanFile.model_validate(yaml.safe_load(options.file.read_text()))
        added = asyncio.run(_load(settings, file))
    except (OSError, ValidationError, PlanChanged, yaml.YAMLError) as error:
        sys.exit(f"{options.file}: nothing was loaded. {error}")
    sys.stdout.write(f"{added} new versions of plans\n")


async def _load(settings: Settings, file: PlanFile) -> int:
    async with _database(settings) as database, database.transaction() as session:
        return await plans.load(session, file, datetime.now(UTC))


def _add_reconcile_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--apply", action="store_true", help="put right what can be; without it nothing is changed")
    parser.add_argument("--days", type=int, default=35, help="compare the charges of so many days (default: 35)")


def _reconcile(settings: Settings, options: argparse.Namespace) -> None:
    found = asyncio.run(_compare(settings, timedelta(days=options.days), apply=options.apply))
    sys.stdout.writelines(f"{difference}\n" for difference in found)
    sys.exit(1 if found else 0)


async def _compare(settings: Settings, since: timedelta, *, apply: bool) -> list[Difference]:
    provider = create_provider(settings)
    try:
        async with _database(settings) as database:
            return await reconcile(database, {provider.name: provider} if provider else {}, since=since, apply=apply)
    finally:
        if provider is not None:
            await provider.close()


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.database_url, application_name="billing", pool_size=2)
    try:
        yield database
    finally:
        await database.close()


if __name__ == "__main__":
    main(
        "billing",
        Settings,
        create_app,
        publishes=billing.EVENTS,
        consumes=[
            *access_groups("billing", identity.TOPIC),
            ConsumerGroup(
                "billing.trials",
                identity.TOPIC,
                IDENTITY_EVENTS.types.values(),
                "Starts a trial with a tenant, and ends with it.",
            ),
            ConsumerGroup(
                "billing.tenants",
                identity.TOPIC,
                TENANT_EVENTS.types.values(),
                "Names, countries and zones for invoices.",
            ),
            ConsumerGroup(
                "billing.receipts", receipts.TOPIC, receipts.EVENTS, "Knows when a test clock is in force everywhere."
            ),
        ],
        commands={
            "load-plans": Command("Load new versions of plans from a file.", _load_plans, _add_file),
            "reconcile": Command(
                "Compare invoices, ledger, charges and providers; prints differences.",
                _reconcile,
                _add_reconcile_options,
            ),
        },
    )
