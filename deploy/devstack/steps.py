"""The suite's own short commands (migrations, topics, keys), each in a process of its own that has imported everything already.

A service takes longer to import than to migrate. One process imports all services, while PostgreSQL and Kafka start, and
forks one for each command (`forks.py`).
"""

import atexit
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.devstack.failures import StackError
from deploy.devstack.forks import SERVICES, Forker, Program, start, start_forker
from deploy.devstack.processes import last_lines

TIMEOUT_SECONDS = 180
PLANS_FILE = Path(__file__).parents[1] / "plans.yaml"


@cache
def warm_up() -> Forker | None:
    """Begin to import what commands need; returns at once, however often it is called."""
    forker = start_forker(*SERVICES, "shared.messaging.topics")
    if forker is not None:
        atexit.register(forker.stop)
    return forker


def wait_until_warm() -> None:
    """Return when everything has been imported, and thereby compiled: who imports the same from then on is quicker."""
    forker = warm_up()
    if forker is not None:
        try:
            forker.wait_until_ready()
        except (OSError, EOFError) as error:  # it has died of an import, and said why
            raise StackError("nothing could be run: the services cannot be imported") from error


def prepare(service: str, environment: Mapping[str, str]) -> None:
    """Migrate the service's database, and load the plans into that of billing."""
    run([service, "migrate"], environment, f"{service} could not be migrated")
    if service == "billing":
        run([service, "load-plans", str(PLANS_FILE)], environment, "the plans could not be loaded")


def run(command: Sequence[str], environment: Mapping[str, str], failure: str) -> str:
    """Run `python -m <command>` from the root of the checkout; its standard output. StackError with its last lines if it fails."""
    with TemporaryDirectory(prefix="waybill-step-") as folder:
        output, errors = Path(folder) / "output", Path(folder) / "errors"
        try:
            program = start(command, environment, output=output, errors=errors, forker=warm_up())
        except (OSError, EOFError) as error:
            raise StackError(f"{failure}: the services cannot be imported") from error
        if _exit_status(program, failure) != 0:
            said = [*last_lines(errors), *last_lines(output)]
            raise StackError("\n".join([f"{failure} (python -m {' '.join(command)}):", *said]))
        return output.read_text()


def _exit_status(program: Program, failure: str) -> int:
    try:
        return program.wait(TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        program.kill()
        program.wait(TIMEOUT_SECONDS)
        raise StackError(f"{failure}: no end after {TIMEOUT_SECONDS} seconds") from error
