"""Programs of the suite as processes of their own, forked from one that has imported the services already.

To import a service takes longer than most of what is done with it. What is forked then runs as `python -m` runs it, with its own
environment, output and end; it can be killed, and it does not outlive whoever started it. The private stack runs its short commands
so (`steps.py`), and the tests their services.

    python -m deploy.devstack.forks MODULE...      # what forks: a request a line, an answer a line
"""

import ctypes
import gc
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]
SERVICES = ("identity.__main__", "billing.__main__", "jobs.__main__", "webhooks.__main__", "console.__main__")
PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have this process killed when its parent ends (Linux; elsewhere it is ended by those who started it alone)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    output: Path,
    errors: Path | None = None,
    forker: "Forker | None" = None,
) -> "Program":
    """Run `python -m <command>` with these variables besides ours, forked or, without a forker, from nothing; files get what it says."""
    whole, errors = {**os.environ, **environment}, errors or output
    if forker is not None:
        return forker.start(command, whole, output=output, errors=errors)
    with output.open("ab") as out, errors.open("ab") as err:
        return subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=whole, stdout=out, stderr=err, preexec_fn=end_with_parent
        )


def start_forker(*imported: str) -> "Forker | None":
    """What forks programs that need these modules; None where processes cannot be told apart surely enough."""
    return Forker(imported) if hasattr(os, "pidfd_open") else None


@contextmanager
def forking(*imported: str) -> Iterator["Forker | None"]:
    """What forks programs that need these modules, until the block ends."""
    forker = start_forker(*imported)
    try:
        yield forker
    finally:
        if forker is not None:
            forker.stop()


class Forker:
    """Starts programs that need these modules, until `stop()`; what still runs then is killed."""

    def __init__(self, imported: Sequence[str]) -> None:
        self._turn = Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "deploy.devstack.forks", *imported],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent,
        )

    def start(self, command: Sequence[str], environment: Mapping[str, str], *, output: Path, errors: Path) -> "Forked":
        """Run `python -m <command>` with this environment alone, from the root of the checkout; files get what it says, at their end."""
        asked = {"command": list(command), "environment": dict(environment), "files": [str(output), str(errors)]}
        return Forked(self, list(command), self._ask(asked))

    def wait_until_ready(self) -> None:
        """Return when everything has been imported. Raises `EOFError` or `OSError` if that failed."""
        self._ask({})

    def reap(self, pid: int) -> int:
        """The exit status of a process that has ended, as `subprocess` has it."""
        return self._ask({"ended": pid})

    def stop(self) -> None:
        """End what forks, and with it all that it has forked."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, asked: Mapping[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turn:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        if not answer:
            raise EOFError("the process that imports everything has ended")
        return int(answer)


class Forked:
    """One process, to be handled as a `subprocess.Popen`."""

    def __init__(self, forker: Forker, command: list[str], pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._command = command
        self._forker = forker
        # It names this process alone, also when the number has gone to another.
        self._descriptor = os.pidfd_open(pid)
        weakref.finalize(self, os.close, self._descriptor)
        # Threads may ask at the same time, but an end can be learnt only once.
        self._turn = Lock()

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float) -> int:
        """The exit status. Raises `subprocess.TimeoutExpired`."""
        status = self._ended(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self._command, timeout)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._descriptor, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, seconds: float) -> int | None:
        if self.returncode is None and select.select([self._descriptor], [], [], seconds)[0]:
            with self._turn:
                if self.returncode is None:
                    self.returncode = self._forker.reap(self.pid)
        return self.returncode


Program = subprocess.Popen[bytes] | Forked


def _serve() -> None:
    """Fork what each line asks for, until there are no more."""
    # Ctrl-C ends whoever started this, who ends what was forked in their own order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    # Whatever else is said belongs to the starter's own output.
    os.dup2(2, 1)
    for name in sys.argv[1:]:
        import_module(name)
    # What was imported stays, and is not looked through again in each process.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        answer = 0
        if "ended" in asked:
            answer = os.waitstatus_to_exitcode(os.waitpid(asked["ended"], 0)[1])
        elif "command" in asked:
            answer = os.fork()
            if answer == 0:
                answers.close()
                _become(asked["command"], asked["environment"], asked["files"])
        answers.write(f"{answer}\n")
        answers.flush()


def _become(command: list[str], environment: dict[str, str], files: list[str]) -> NoReturn:
    """In the new process: be that program, to its end."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = command
    # It runs anew, as the main program.
    main = f"{command[0]}.__main__"
    sys.modules.pop(main if main in sys.modules else command[0], None)
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    _serve()
