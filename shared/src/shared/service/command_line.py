"""A service's commands: `python -m <service> serve | migrate | openapi | asyncapi`, and those that it adds."""

from collections.abc import Callable, Mapping, Sequence

from fastapi import FastAPI

from shared.chassis import command_line
from shared.chassis.command_line import Command
from shared.events import Event, access
from shared.messaging import asyncapi
from shared.postgres.migrations import migrate
from shared.service.settings import SettingsT


def main(
    package: str,
    settings_type: type[SettingsT],
    create_app: Callable[[SettingsT], FastAPI],
    *,
    publishes: Sequence[type[Event]],
    consumes: Mapping[str, str],
    commands: Mapping[str, Command[SettingsT]] | None = None,
) -> None:
    """Run the command that the arguments name. `consumes` maps topics to what the service does with them.

    What every service publishes (`shared.events.access`) need not be named.
    """

    def migrate_database(settings: SettingsT, _: Sequence[str]) -> None:
        migrate(package, settings.database_url)

    command_line.main(
        package,
        settings_type,
        create_app,
        commands={"migrate": migrate_database, **(commands or {})},
        documents={"asyncapi": lambda: asyncapi.build_document(package, [*publishes, *access.EVENTS], consumes)},
    )
