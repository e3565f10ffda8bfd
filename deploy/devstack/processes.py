"""Processes that the stack started: how one is started, recognised, looked up and ended.

Invariant: nothing is ever signalled because of its name. A process is ours only if its recorded id still belongs to a
process whose environment carries our mark, so that a recycled id never ends a stranger.
"""

import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deploy.devstack.failures import StackError

LOOPBACK = "127.0.0.1"
MARK_VARIABLE = "WAYBILL_STACK_PROCESS"
POLL_SECONDS = 0.05
STOP_TIMEOUT_SECONDS = 15.0
CONNECT_TIMEOUT_SECONDS = 2.0
# Below the ports that systems give to outgoing connections, which could take a port before its server starts.
FREE_PORTS = range(20_000, 32_000)
FREE_PORT_TRIES_MAX = 1_000
TOLD_LOG_BYTES_MAX = 256 * 1024
TOLD_LOG_LINES = 12
TOLD_LINE_LENGTH_MAX = 500


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run for one process: supervisord and the tests start the same thing."""

    name: str
    command: tuple[str, ...]
    pid_file: Path
    environment: dict[str, str] = field(default_factory=dict)
    directory: Path | None = None
    user: tuple[int, int] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_seconds: int = 15

    @property
    def mark(self) -> str:
        """What the environment of our process carries and no other one's does."""
        return str(self.pid_file)

    @property
    def launch_command(self) -> list[str]:
        """The command line that records the process and becomes the program."""
        launcher = Path(__file__).with_name("launch.py")
        options = ["--pid-file", str(self.pid_file)]
        if self.directory:
            options += ["--directory", str(self.directory)]
        if self.user:
            options += ["--user", "{}:{}".format(*self.user)]
        return [sys.executable, "-I", str(launcher), *options, "--", *self.command]

    @property
    def launch_environment(self) -> dict[str, str]:
        """What is added to the environment of whoever starts the program."""
        return {**self.environment, MARK_VARIABLE: self.mark}


def find(pid_file: Path) -> psutil.Process | None:
    """The living process that `pid_file` names, or None: also where its number now belongs to another."""
    try:
        process = psutil.Process(int(pid_file.read_text()))
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process if process.environ().get(MARK_VARIABLE) == str(pid_file) else None
    except (OSError, ValueError, psutil.Error):
        return None


def end(processes: Iterable[psutil.Process], *, stop_signal: signal.Signals = signal.SIGTERM) -> None:
    """Ask these processes to stop, wait, and kill those that did not listen."""
    asked = list(processes)
    for process in asked:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(stop_signal)
    _, deaf = psutil.wait_procs(asked, timeout=STOP_TIMEOUT_SECONDS)
    for process in deaf:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(deaf, timeout=STOP_TIMEOUT_SECONDS)


def wait_until(
    condition: Callable[[], bool],
    *,
    timeout_seconds: float,
    failure: Callable[[], str],
    poll_seconds: float = POLL_SECONDS,
) -> None:
    """Return as soon as `condition` holds; StackError with `failure()` once the time is up."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            raise StackError(failure())
        time.sleep(poll_seconds)


def port_answers(port: int) -> bool:
    """Whether some process accepts connections on this loopback port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=CONNECT_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


def port_is_taken(port: int) -> bool:
    """Whether a server could not listen on this loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers bind: a connection of the past that lingers does not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def holder_of(port: int) -> str:
    """Who listens there, as words to put after “is taken”; empty where the system does not tell us."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return (
                    f" by process {connection.pid} ({psutil.Process(connection.pid).name()})" if connection.pid else ""
                )
    except (psutil.Error, OSError):
        pass
    return ""


def free_ports(count: int) -> list[int]:
    """Loopback ports that were free a moment ago, all different; StackError where there are hardly any."""
    found: list[int] = []
    for _ in range(FREE_PORT_TRIES_MAX):
        port = random.choice(FREE_PORTS)
        if port not in found and not port_is_taken(port):
            found.append(port)
        if len(found) == count:
            return found
    raise StackError(f"no {count} free ports between {FREE_PORTS.start} and {FREE_PORTS.stop}")


def unprivileged_user() -> tuple[int, int] | None:
    """User and group for programs that refuse to run as root; None where nobody runs as root."""
    if os.geteuid() != 0:
        return None
    import pwd  # not on every platform, and only needed where there is a root

    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        raise StackError(
            "PostgreSQL refuses to run as root and this system has no user `nobody`:"
            " run as another user, or set WAYBILL_POSTGRES_URL to an existing server"
        ) from error
    return entry.pw_uid, entry.pw_gid


def last_lines(log_file: Path) -> Sequence[str]:
    """The end of a log, for the message of a failure; of long lines the beginning and the end."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log_file.stat().st_size - TOLD_LOG_BYTES_MAX))
            lines = log.read().decode(errors="replace").splitlines()[-TOLD_LOG_LINES:]
    except OSError:
        return []
    half = TOLD_LINE_LENGTH_MAX // 2
    return [line if len(line) <= TOLD_LINE_LENGTH_MAX else f"{line[:half]} … {line[-half:]}" for line in lines]
