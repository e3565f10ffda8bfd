"""The command `tasks` of a service: what waits, what was set aside and why, and another try.

python -m billing tasks list --set-aside
python -m billing tasks retry 6f1c2c1e-5f0e-4a3b-9d2e-1f4b8e1c7a90
python -m billing tasks retry --kind subscription_due
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from shared.postgres.database import Database
from shared.tasks import store

LISTED_MAX = 50

ResultT = TypeVar("ResultT")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Let the parser read what `run` takes."""
    commands = parser.add_subparsers(dest="tasks_command", required=True)
    list_command = commands.add_parser("list", help="print tasks by their instants, one JSON line each")
    list_command.add_argument("--kind", help="only of this kind")
    list_command.add_argument("--set-aside", action="store_true", help="only those whose attempts have all failed")
    list_command.add_argument("--limit", type=int, default=LISTED_MAX, help="how many at most")
    retry_command = commands.add_parser("retry", help="make tasks that were set aside due again")
    retry_command.add_argument("ids", nargs="*", type=UUID, metavar="ID", help="tasks to try again")
    retry_command.add_argument("--kind", help="all of this kind")


def run(package: str, database_url: str, options: argparse.Namespace) -> int:
    """Run the command in the options on a service's database. Returns the exit status."""
    if options.tasks_command == "retry" and bool(options.ids) == bool(options.kind):
        sys.stderr.write("say either ids or --kind\n")
        return 2

    async def list_tasks(session: AsyncSession) -> list[dict[str, object]]:
        return await store.list_tasks(
            session, kind=options.kind, only_set_aside=options.set_aside, rows_max=options.limit
        )

    async def retry(session: AsyncSession) -> int:
        return await store.retry(session, ids=options.ids or None, kind=options.kind)

    if options.tasks_command == "list":
        for task in asyncio.run(_in_transaction(package, database_url, list_tasks)):
            sys.stdout.write(json.dumps(task, default=str, ensure_ascii=False) + "\n")
        return 0
    count = asyncio.run(_in_transaction(package, database_url, retry))
    sys.stdout.write(f"{count} due again\n")
    return 0 if count >= len(options.ids) else 2


async def _in_transaction(
    package: str, database_url: str, work: Callable[[AsyncSession], Awaitable[ResultT]]
) -> ResultT:
    database = Database(database_url, application_name=f"{package}-tasks", pool_size=1)
    try:
        async with database.transaction() as session:
            return await work(session)
    finally:
        await database.close()
