"""A private PostgreSQL 18 (`postgres_binaries` says where it comes from), and the databases in any server.

Invariant: each role may enter its own database only; fsync stays on; loopback and scram passwords alone. One with a certificate has
roles come over TLS alone; its superuser, whose tool here speaks no TLS, comes from this machine.
As root the server runs as `nobody`. Its folder lies below a home that only we may enter (mode 0700), so it is handed
to the server as its working directory and named `/proc/self/cwd`: reachable for this one process, closed to all others.
"""

import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import psutil

from deploy.devstack import postgres_binaries
from deploy.devstack.failures import StackError
from deploy.devstack.processes import LOOPBACK, Program, unprivileged_user, wait_until
from shared.crypto.certificates import SERVER_FILE

SUPERUSER = "postgres"
SETTINGS_FILE = Path(__file__).parents[1] / "postgres" / "postgresql.conf"
DATABASE_SCRIPT = Path(__file__).parents[1] / "postgres" / "database.sql"
ROLES_BY_TLS = f"""
host     all  {SUPERUSER}  127.0.0.1/32  scram-sha-256
hostssl  all  all       127.0.0.1/32  scram-sha-256
"""
# Fast shutdown: ends sessions, keeps every commit; the usual signal would wait for all clients to leave.
STOP_SIGNAL = signal.SIGINT
COMMAND_TIMEOUT_SECONDS = 60
READY_TIMEOUT_SECONDS = 120.0
NAME_LENGTH_MAX = 63
DAC_READ_SEARCH_BIT = 1 << 2


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One private server: where its files are, which port it has, what its superuser's password is."""

    folder: Path
    port: int
    password: str
    pid_file: Path
    server_file: Path | None = None
    """PEM with the server's key and certificate. None: it speaks no TLS."""
    more_settings: str = ""
    """Lines of postgresql.conf that count more than those of `SETTINGS_FILE`."""

    @property
    def admin_url(self) -> str:
        """How the superuser reaches it."""
        return f"postgresql://{SUPERUSER}:{quote(self.password, safe='')}@{LOOPBACK}:{self.port}/postgres"

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @cached_property
    def user(self) -> tuple[int, int] | None:
        """Who the server runs as, where that is not us."""
        user = unprivileged_user()
        if user and not Path("/proc/self/cwd").exists():
            raise StackError(
                "PostgreSQL refuses to run as root: run as another user, or set WAYBILL_POSTGRES_URL to an existing server"
            )
        return user

    @property
    def data_argument(self) -> str:
        """What the server is told as its data folder."""
        return "/proc/self/cwd" if self.user else str(self.data)

    @property
    def program(self) -> Program:
        """The server as a program in the foreground."""
        command = [str(postgres_binaries.server_folder() / "postgres"), "-D", self.data_argument]
        return Program(
            name="postgres",
            command=(*_reaching_the_binaries(self.user), *command),
            pid_file=self.pid_file,
            directory=self.data,
            # Where a prefix changes the user by itself, the launcher must still be root.
            user=None if _reaching_the_binaries(self.user) else self.user,
            stop_signal=STOP_SIGNAL,
            stop_timeout_seconds=30,
        )


def has_data(cluster: Cluster) -> bool:
    """Whether its data folder has been made, to the end."""
    return (cluster.data / "waybill.conf").exists()


def create(cluster: Cluster) -> None:
    """Make the data folder unless it exists, and bring its settings up to date."""
    cluster.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not has_data(cluster):
        shutil.rmtree(cluster.data, ignore_errors=True)  # what an interrupted attempt left
        _initialise(cluster)
    settings = SETTINGS_FILE.read_text() + (
        f"\n# Of this machine.\nlisten_addresses = '{LOOPBACK}'\nport = {cluster.port}\nunix_socket_directories = ''\n"
        + (_secured_settings(cluster, cluster.server_file) if cluster.server_file else "")
        + cluster.more_settings
    )
    _write_owned(cluster, cluster.data / "waybill.conf", settings)
    _remove_stale_lock(cluster)


def _secured_settings(cluster: Cluster, server_file: Path) -> str:
    _write_owned(cluster, cluster.data / SERVER_FILE, server_file.read_text())
    _write_owned(cluster, cluster.data / "waybill_hba.conf", ROLES_BY_TLS)
    return f"hba_file = 'waybill_hba.conf'\nssl = on\nssl_cert_file = '{SERVER_FILE}'\nssl_key_file = '{SERVER_FILE}'\n"


def wait_until_ready(admin_url: str, *, timeout_seconds: float = READY_TIMEOUT_SECONDS, hint: str = "") -> None:
    """Return once the server behind `admin_url` accepts sessions and answers."""

    def asked() -> subprocess.CompletedProcess[str]:
        return psql(admin_url, "--command=SELECT 1", check=False)

    wait_until(
        lambda: asked().returncode == 0,
        timeout_seconds=timeout_seconds,
        failure=lambda: f"PostgreSQL does not answer{hint}: {asked().stderr.strip()}",
    )


def create_database(admin_url: str, *, name: str, password: str) -> str:
    """Make the database `name` with its one role of the same name, true on every call; its URL."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or len(name) > NAME_LENGTH_MAX:
        raise ValueError(f"not a database name: {name!r}")
    psql(admin_url, f"--set=name={name}", f"--file={DATABASE_SCRIPT}", role_password=password)
    parts = urlsplit(admin_url)
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{name}:{quote(password, safe='')}@{address}", path=f"/{name}"))


def drop_database(admin_url: str, *, name: str) -> None:
    """Remove a database with its role, whoever is connected to it."""
    psql(admin_url, f'--command=DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    psql(admin_url, f'--command=DROP ROLE IF EXISTS "{name}"')


def forbid_strangers(cluster: Cluster) -> None:
    """Keep every role but the superuser out of the databases that come with a new server."""
    psql(cluster.admin_url, "--command=REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC")


def _initialise(cluster: Cluster) -> None:
    cluster.data.mkdir(mode=0o700)
    password_file = cluster.folder / "password"
    _write_owned(cluster, password_file, cluster.password)
    for folder in (cluster.folder, cluster.data):
        _give_away(cluster, folder)
    initdb = Program(
        name="initdb",
        command=(
            *_reaching_the_binaries(cluster.user),
            *(
                str(postgres_binaries.server_folder() / "initdb"),
                "-D",
                cluster.data_argument,
                f"--username={SUPERUSER}",
            ),
            *("--pwfile=../password", "--auth=scram-sha-256", "--encoding=UTF8"),
            # The same order of text on every system, whatever locales it has.
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        ),
        pid_file=cluster.folder / "initdb.pid",
        directory=cluster.data,
        user=None if _reaching_the_binaries(cluster.user) else cluster.user,
    )
    _run(initdb.launch_command, f"PostgreSQL could not make its data folder {cluster.data}")
    password_file.unlink()
    with (cluster.data / "postgresql.conf").open("a") as settings:
        settings.write("\ninclude = 'waybill.conf'\n")


def _write_owned(cluster: Cluster, file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
    _give_away(cluster, file)


def _give_away(cluster: Cluster, path: Path) -> None:
    if cluster.user:
        os.chown(path, *cluster.user)


def _remove_stale_lock(cluster: Cluster) -> None:
    """After a crash of the machine the lock file may name a process that is now something else entirely."""
    lock = cluster.data / "postmaster.pid"
    try:
        holder = psutil.Process(int(lock.read_text().splitlines()[0]))
        if holder.name() == "postgres":
            return
    except (FileNotFoundError, psutil.AccessDenied):
        return
    except (psutil.NoSuchProcess, ValueError, IndexError):
        pass
    lock.unlink(missing_ok=True)


def _reaching_the_binaries(user: tuple[int, int] | None) -> tuple[str, ...]:
    """A prefix that lets `user` run binaries below folders closed to it (a checkout in /root), or nothing.

    Only there the server keeps one capability of root's, reading past permissions; it still cannot write past them.
    """
    if user is None:
        return ()
    folders = (postgres_binaries.server_folder() / "postgres").resolve().parents
    closed = [folder for folder in folders if not folder.stat().st_mode & 0o001]
    if not closed:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None or not _may_read_past_permissions():
        raise StackError(
            f"PostgreSQL cannot run as root, and the user it would run as may not enter {closed[-1]}: allow it with"
            f" `chmod o+x {closed[-1]}`, move the checkout, or set WAYBILL_POSTGRES_URL to an existing server"
        )
    capability = "+dac_read_search"
    return (
        *(setpriv, f"--reuid={user[0]}", f"--regid={user[1]}", "--clear-groups"),
        *(f"--inh-caps=-all,{capability}", f"--ambient-caps=-all,{capability}", "--no-new-privs"),
        # Otherwise access(2), with which PostgreSQL looks for its own binaries, would ignore that capability.
        "--securebits=+no_setuid_fixup",
    )


def _may_read_past_permissions() -> bool:
    """Whether root still has CAP_DAC_READ_SEARCH here; in some containers it does not."""
    told = re.search(r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return bool(told and int(told.group(1), 16) & DAC_READ_SEARCH_BIT)


def psql(
    url: str, *arguments: str, role_password: str | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run psql against `url` with these arguments; the passwords travel in the environment, where other users cannot see them."""
    parts = urlsplit(url)
    address = parts.netloc.rpartition("@")[2]
    without_password = urlunsplit(parts._replace(netloc=f"{parts.username or SUPERUSER}@{address}"))
    environment = {**os.environ, "PGCONNECT_TIMEOUT": "5", "PGCLIENTENCODING": "UTF8"}
    if parts.password:
        environment["PGPASSWORD"] = unquote(parts.password)
    if role_password is not None:
        environment["WAYBILL_ROLE_PASSWORD"] = role_password
    program = [
        str(postgres_binaries.psql_program()),
        "--no-psqlrc",
        "--quiet",
        "--no-password",
        f"--dbname={without_password}",
    ]
    return _run([*program, *arguments], "PostgreSQL refused a command", environment=environment, check=check)


def _run(
    command: list[str], failure: str, *, environment: dict[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_SECONDS,
    )
    if check and done.returncode != 0:
        raise StackError(f"{failure}: {done.stderr.strip() or done.stdout.strip()}")
    return done
