"""`python -m console serve | migrate`."""

import argparse

from console.app import create_app
from console.config import Settings
from shared.chassis.command_line import Command, main


def migrate_database(settings: Settings, _: argparse.Namespace) -> None:
    # What serves needs no Alembic.
    from shared.postgres.migrations import migrate

    migrate("console", settings.database_url)


if __name__ == "__main__":
    main(
        "console",
        Settings,
        create_app,
        commands={"migrate": Command("Bring the database to the present revision.", migrate_database)},
        documents={},
    )
