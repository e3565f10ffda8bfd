"""The command line of a service: `python -m <service> serve | migrate | tasks | openapi | asyncapi`, and its own commands."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI

from shared.chassis import command_line
from shared.chassis.command_line import Command, Document
from shared.events import Event, access, audit, receipts
from shared.messaging.groups import ConsumerGroup
from shared.service.settings import SettingsT
from shared.tasks import commands as tasks_commands


def main(
    package: str,
    settings_type: type[SettingsT],
    create_app: Callable[[SettingsT], FastAPI],
    *,
    publishes: Sequence[type[Event]],
    consumes: Sequence[ConsumerGroup],
    commands: Mapping[str, Command[SettingsT]] | None = None,
    documents: Mapping[str, Document] | None = None,
) -> None:
    """Run the command in the arguments.

    `documents` are printed as JSON and need no settings.
    `publishes` is without the events that every service publishes (`shared.events.access`, `audit`, `receipts`).
    """

    # A service that serves needs neither Alembic nor AsyncAPI: they are imported by the commands that do.
    def migrate_database(settings: SettingsT, _: argparse.Namespace) -> None:
        from shared.postgres.migrations import migrate

        migrate(package, settings.database_url)

    def run_tasks(settings: SettingsT, options: argparse.Namespace) -> None:
        sys.exit(tasks_commands.run(package, settings.database_url, options))

    def asyncapi_document() -> Mapping[str, Any]:
        """Print the AsyncAPI document."""
        from shared.messaging import asyncapi

        return asyncapi.build_document(package, [*publishes, *access.EVENTS, *audit.EVENTS, *receipts.EVENTS], consumes)

    command_line.main(
        package,
        settings_type,
        create_app,
        commands={
            "migrate": Command("Bring the database to the present revision.", migrate_database),
            "tasks": Command(
                "List tasks, and try those again that were set aside.", run_tasks, tasks_commands.add_arguments
            ),
            **(commands or {}),
        },
        documents={"asyncapi": asyncapi_document, **(documents or {})},
    )
