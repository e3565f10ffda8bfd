"""supervisord as our process supervisor: it starts what it is told, restarts what dies with backoff, rotates the logs.

It does not know about readiness, so nothing starts by itself: `stack.up` starts the processes in order and waits.
"""

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import cast
from xmlrpc.client import Error as XmlRpcError
from xmlrpc.client import Fault, ServerProxy, Transport

import psutil

from deploy.devstack.failures import StackError
from deploy.devstack.processes import MARK_VARIABLE, POLL_SECONDS, Program, end, find, last_lines, wait_until

START_TIMEOUT_SECONDS = 20.0
ANSWER_TIMEOUT_SECONDS = 10.0
# Longer than any program's own bound, after which supervisord kills it.
STOP_TIMEOUT_SECONDS = 45.0
# A process that ends sooner than this counts as not started: supervisord waits longer before each next try.
SETTLED_AFTER_SECONDS = 5
START_ATTEMPTS_MAX = 20
LOG_BYTES_MAX = 10 * 1024 * 1024
LOG_BACKUPS = 3
UNSAYABLE = ("\n", "\r", " ;", " #", "\t;", "\t#")
RUNNING_STATES = ("STARTING", "RUNNING")


@dataclass(frozen=True)
class Supervisor:
    """The supervisord of one home."""

    home: Path

    @property
    def configuration_file(self) -> Path:
        """Its configuration; holds the services' secrets, so it is ours alone."""
        return self.home / "supervisord.conf"

    @property
    def socket(self) -> Path:
        """Where it listens, inside a folder that only we may enter."""
        return self.home / "run" / "supervisord.sock"

    @property
    def pid_file(self) -> Path:
        """Its process id."""
        return self.home / "run" / "supervisord.pid"


def configuration(supervisor: Supervisor, programs: Sequence[Program]) -> str:
    """The text of supervisord's configuration for these programs."""
    lines = [
        "[supervisord]",
        f"logfile={_escape(str(supervisor.home / 'logs' / 'supervisord.log'))}",
        f"logfile_maxbytes={LOG_BYTES_MAX}",
        f"logfile_backups={LOG_BACKUPS}",
        f"pidfile={_escape(str(supervisor.pid_file))}",
        f"childlogdir={_escape(str(supervisor.home / 'logs'))}",
        "identifier=waybill",
        *(["user=root"] if os.geteuid() == 0 else []),
        "",
        "[unix_http_server]",
        f"file={_escape(str(supervisor.socket))}",
        "chmod=0600",
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
        "",
        "[supervisorctl]",
        f"serverurl=unix://{_escape(str(supervisor.socket))}",
    ]
    for program in programs:
        lines += ["", *_section(supervisor, program)]
    return "\n".join(lines) + "\n"


def is_running(supervisor: Supervisor) -> bool:
    """Whether this home's supervisord is alive and answers."""
    if find(supervisor.pid_file) is None:
        return False
    try:
        with _remote(supervisor) as remote:
            remote.supervisor.getState()
    except (OSError, HTTPException, XmlRpcError):
        return False
    return True


def start(supervisor: Supervisor) -> None:
    """Start supervisord in the background with its configuration file; returns when it answers."""
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(supervisor.configuration_file)]
    started = subprocess.run(
        command,
        cwd=supervisor.home,
        env={**os.environ, MARK_VARIABLE: str(supervisor.pid_file)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_SECONDS,
    )
    if started.returncode != 0:
        raise StackError(f"supervisord did not start: {(started.stderr + started.stdout).strip()}")
    log_file = supervisor.home / "logs" / "supervisord.log"
    wait_until(
        lambda: is_running(supervisor),
        timeout_seconds=START_TIMEOUT_SECONDS,
        failure=lambda: "\n".join(["supervisord does not answer", *last_lines(log_file)]),
    )


def states(supervisor: Supervisor) -> Mapping[str, str]:
    """The state of every program: RUNNING, STARTING, BACKOFF, STOPPED, EXITED, FATAL, …"""
    try:
        with _remote(supervisor) as remote:
            told = cast("list[dict[str, str]]", remote.supervisor.getAllProcessInfo())
    except (OSError, HTTPException, XmlRpcError) as error:
        raise StackError(f"supervisord does not answer any more ({error}): try again") from error
    return {program["name"]: program["statename"] for program in told}


def start_programs(supervisor: Supervisor, names: Sequence[str]) -> list[str]:
    """Start those of `names` that do not run yet, without waiting for any; which ones those were."""
    now = states(supervisor)
    started = [name for name in names if now[name] not in RUNNING_STATES]
    with _remote(supervisor) as remote:
        for name in started:
            # A fault says that it has just changed its state by itself: whoever waits for it will see.
            with suppress(Fault):
                if now[name] == "BACKOFF":  # it waits for its next try: cut the wait short
                    remote.supervisor.stopProcess(name)
                remote.supervisor.startProcess(name, False)
    return started


def stop(supervisor: Supervisor, stages: Sequence[Sequence[str]]) -> None:
    """Stop the programs of each stage at once, stage by stage, then supervisord; returns when all are gone."""
    for stage in stages:
        now = states(supervisor)
        with _remote(supervisor) as remote:
            for name in stage:
                if now.get(name) in (*RUNNING_STATES, "BACKOFF"):
                    with suppress(Fault):  # it has just ended by itself
                        remote.supervisor.stopProcess(name, False)
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while {states(supervisor).get(name) for name in stage} & {*RUNNING_STATES, "STOPPING"}:
            if time.monotonic() >= deadline:
                break  # the shutdown below kills what is left
            time.sleep(POLL_SECONDS)
    process = find(supervisor.pid_file)
    with suppress(OSError, HTTPException, XmlRpcError), _remote(supervisor) as remote:
        remote.supervisor.shutdown()
    if process is not None:
        psutil.wait_procs([process], timeout=START_TIMEOUT_SECONDS)
        end([process])


def _section(supervisor: Supervisor, program: Program) -> list[str]:
    log_file = supervisor.home / "logs" / f"{program.name}.log"
    environment = ",".join(f"{name}={_quote(value)}" for name, value in sorted(program.launch_environment.items()))
    return [
        f"[program:{program.name}]",
        f"command={_escape(shlex.join(program.launch_command))}",
        f"environment={environment}",
        "autostart=false",
        "autorestart=true",
        f"startsecs={SETTLED_AFTER_SECONDS}",
        f"startretries={START_ATTEMPTS_MAX}",
        f"stopsignal={program.stop_signal.name.removeprefix('SIG')}",
        f"stopwaitsecs={program.stop_timeout_seconds}",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_escape(str(log_file))}",
        f"stdout_logfile_maxbytes={LOG_BYTES_MAX}",
        f"stdout_logfile_backups={LOG_BACKUPS}",
    ]


def _escape(text: str) -> str:
    """supervisord expands `%`, and has no way to say a line break or a comment sign after a space."""
    if any(sign in text for sign in UNSAYABLE):
        raise StackError(f"this cannot stand in the configuration of supervisord, use another folder: {text!r}")
    return text.replace("%", "%%")


def _quote(value: str) -> str:
    if '"' in value:
        raise StackError(f"a double quote cannot stand in an environment variable of supervisord: {value!r}")
    return f'"{_escape(value)}"'


def _remote(supervisor: Supervisor) -> ServerProxy:
    return ServerProxy("http://localhost", transport=_UnixTransport(supervisor.socket))


class _UnixTransport(Transport):
    """XML-RPC over supervisord's Unix socket, with a bound on every answer."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._opened = _UnixConnection(path)

    def make_connection(self, host: tuple[str, dict[str, str]] | str) -> HTTPConnection:
        return self._opened

    def close(self) -> None:
        self._opened.close()


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_TIMEOUT_SECONDS)
        self.sock.connect(str(self._path))
