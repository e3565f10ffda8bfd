"""The suite's own short commands (migrations, topics, keys), each in a process of its own that has imported everything already.

A service takes longer to import than to migrate. One process imports all services, while PostgreSQL and Kafka start, and
forks one for each command: the commands run as `python -m` runs them, with their own environment and output.
"""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.devstack.failures import StackError
from deploy.devstack.processes import last_lines

ROOT = Path(__file__).parents[2]
# The last one is the main program of whoever asks: each process begins with what that imports.
IMPORTED = [
    *("identity.__main__", "billing.__main__", "jobs.__main__", "webhooks.__main__", "shared.messaging.topics"),
    "deploy.devstack.__main__",
]
TIMEOUT_SECONDS = 180

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(IMPORTED)


def warm_up() -> None:
    """Begin to import what commands need; returns at once, however often it is called."""
    forkserver.ensure_running()


def wait_until_warm() -> None:
    """Return when everything has been imported, and thereby compiled: who imports the same from then on is quicker."""
    _start(_forks.Process(target=_nothing), "nothing could be run").join(TIMEOUT_SECONDS)


def run(command: Sequence[str], environment: Mapping[str, str], failure: str) -> str:
    """Run `python -m <command>` from the root of the checkout; its standard output. StackError with its last lines if it fails."""
    with TemporaryDirectory(prefix="waybill-step-") as folder:
        output, errors = Path(folder) / "output", Path(folder) / "errors"
        process = _start(_forks.Process(target=_become, args=(command, dict(environment), output, errors)), failure)
        process.join(TIMEOUT_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
            raise StackError(f"{failure}: no end after {TIMEOUT_SECONDS} seconds")
        if process.exitcode != 0:
            told = [*last_lines(errors), *last_lines(output)]
            raise StackError("\n".join([f"{failure} (python -m {' '.join(command)}):", *told]))
        return output.read_text()


def _start(process: ForkServerProcess, failure: str) -> ForkServerProcess:
    try:
        process.start()
    except (OSError, EOFError) as error:  # the process that imports everything has died of it, and told why
        raise StackError(f"{failure}: the services cannot be imported") from error
    return process


def _nothing() -> None:
    """A process that does nothing shows that one can be had."""


def _become(command: Sequence[str], environment: dict[str, str], output: Path, errors: Path) -> None:
    """In the new process: write into these files and be that program."""
    for file, number in ((output, 1), (errors, 2)):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(ROOT)
    os.environ.update(environment)
    sys.argv = list(command)
    for imported in (command[0], f"{command[0]}.__main__"):  # it runs anew, as the main program
        sys.modules.pop(imported, None)
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
