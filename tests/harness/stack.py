"""PostgreSQL and Kafka for a test run: the servers named by the environment, else containers, else private processes.

Each is started when it is first asked for, so that tests of one service's rules do not wait for a broker. The workers of one run
(pytest-xdist) share one of each: see `tests.harness.lending`.
"""

import asyncio
import fcntl
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from deploy.devstack import broker, postgres
from deploy.devstack.failures import StackError
from deploy.devstack.processes import LOOPBACK, Program, end, find, free_ports, last_lines, wait_until
from shared.messaging import topics
from shared.postgres.migrations import migrate

TOPICS_FILE = Path(__file__).parents[2] / "deploy/kafka/topics.yaml"
POSTGRES_IMAGE = "postgres:18"
KAFKA_IMAGE = "apache/kafka:4.2.0"
RESTART_TIMEOUT_SECONDS = 100.0
DOCKER_TIMEOUT_SECONDS = 10
DATABASE_PASSWORD_BYTES = 18
# Each module of tests has topics of its own: with as many partitions as in production most of a broker's time would go into making them.
PARTITIONS_MAX = 3
# Nothing kills these servers, and nobody needs their data tomorrow: what makes data survive is left out. One server has the pools
# of every service of every process of a run, and a connection that nobody opens costs nothing.
FLEETING_POSTGRES = """
fsync = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_connections = 1000
"""
FLEETING_KAFKA = """
log.index.size.max.bytes=65536
"""


class NotPrivate(Exception):
    """Only servers that this run started as processes of its own can be killed and started again."""


class BackingStack:
    """PostgreSQL and Kafka until `stop()`. Everything blocks: from a coroutine, call through `asyncio.to_thread`.

    Private servers keep what they acknowledge, whatever kills them, as the suite's own do; unless `fleeting`, which is cheaper.
    """

    def __init__(self, home: Path, *, use_docker: bool, use_existing: bool = True, fleeting: bool = False) -> None:
        self._home = home
        self._use_docker = use_docker
        self._fleeting = fleeting
        self._environment: Mapping[str, str] = os.environ if use_existing else {}
        self._private: dict[str, PrivateProcess] = {}
        self._databases: list[str] = []
        self._cleanup = ExitStack()

    @cached_property
    def postgres_admin_url(self) -> str:
        """Where the superuser reaches PostgreSQL (database `postgres`)."""
        existing = self._environment.get("WAYBILL_POSTGRES_URL")
        if existing:
            postgres.wait_until_ready(existing, timeout_seconds=5.0, hint=" (WAYBILL_POSTGRES_URL)")
            return existing
        return self._postgres_in_docker() if self._use_docker else self._private_postgres()

    @cached_property
    def kafka_bootstrap(self) -> str:
        """Bootstrap servers of Kafka, as `host:port`."""
        existing = self._environment.get("WAYBILL_KAFKA_BOOTSTRAP_SERVERS")
        if existing:
            broker.wait_until_ready(existing, timeout_seconds=5.0, hint=" (WAYBILL_KAFKA_BOOTSTRAP_SERVERS)")
            return existing
        return self._kafka_in_docker() if self._use_docker else self._private_kafka()

    @property
    def can_fail(self) -> bool:
        """Whether both servers are private processes that lose nothing when they are killed."""
        external = ("WAYBILL_POSTGRES_URL", "WAYBILL_KAFKA_BOOTSTRAP_SERVERS")
        existing = any(self._environment.get(variable) for variable in external)
        return not self._use_docker and not self._fleeting and not existing

    def create_database(self, name: str) -> str:
        """A new database with a role of its own and the extensions; its URL. It is dropped when the run ends."""
        unique = f"{name}_{secrets.token_hex(4)}"
        password = secrets.token_urlsafe(DATABASE_PASSWORD_BYTES)
        url = postgres.create_database(self.postgres_admin_url, name=unique, password=password)
        self._databases.append(unique)
        return url

    def copy_database(self, name: str, prepare: Callable[[str], None]) -> str:
        """A new database like one that `prepare` has filled, once for all that ask for this name; its URL.

        Its role is the one of that original, and it is dropped when the run ends.
        """
        original = urlsplit(self._original(name, prepare))
        unique = f"{name}_{secrets.token_hex(4)}"
        self._run_sql(
            f'CREATE DATABASE "{unique}" TEMPLATE "{original.path[1:]}" OWNER "{original.username}"',
            f'REVOKE ALL ON DATABASE "{unique}" FROM PUBLIC',
        )
        self._databases.append(unique)
        return urlunsplit(original._replace(path=f"/{unique}"))

    def _original(self, name: str, prepare: Callable[[str], None]) -> str:
        """The database that copies are made of; nobody connects to it any more. The first of all workers to ask makes it."""
        written = self._home / f"{name}.original"
        with written.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not written.exists():
                url = self.create_database(name)
                self._databases.remove(urlsplit(url).path[1:])
                prepare(url)
                written.write_text(url)
            return written.read_text()

    def _run_sql(self, *statements: str) -> None:
        """Have the superuser run these, one by one, in the database `postgres`."""
        postgres.psql(
            self.postgres_admin_url, "--set=ON_ERROR_STOP=1", *(f"--command={statement}" for statement in statements)
        )

    def kill9_postgres(self) -> None:
        """Kill PostgreSQL with SIGKILL; returns when it is dead."""
        self._killable("postgres").kill9()

    def stop_postgres(self) -> None:
        """Stop PostgreSQL in order; returns when it has ended."""
        self._killable("postgres").stop()

    def restart_postgres(self) -> None:
        """Start PostgreSQL again on the same port and data; returns when it answers."""
        self._killable("postgres").start()

    def kill9_kafka(self) -> None:
        """Kill the broker with SIGKILL; returns when it is dead."""
        self._killable("kafka").kill9()

    def restart_kafka(self) -> None:
        """Start the broker again on the same port and data; returns when it answers."""
        self._killable("kafka").start()

    def stop(self) -> None:
        """End what this run started; servers that existed before lose only the databases made here."""
        self._databases += [urlsplit(file.read_text()).path[1:] for file in self._home.glob("*.original")]
        self.drop_databases()
        self._cleanup.close()
        for name, process in self._private.items():
            if name == "kafka":
                # Its data go with the run; in order it would first write all of them, for up to half a minute.
                process.kill9()
            else:
                process.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def drop_databases(self) -> None:
        """Remove what was made here from a server that existed before; a server of this run goes as a whole."""
        if not self._environment.get("WAYBILL_POSTGRES_URL"):
            return
        for name in self._databases:
            with suppress(StackError):  # an existing server that went away has nothing to clean
                postgres.drop_database(self.postgres_admin_url, name=name)
        self._databases.clear()

    def _killable(self, name: str) -> "PrivateProcess":
        if not self.can_fail:
            raise NotPrivate(f"{name} was not started by this test run")
        _ = self.kafka_bootstrap if name == "kafka" else self.postgres_admin_url
        return self._private[name]

    def _private_postgres(self) -> str:
        (port,) = free_ports(1)
        cluster = postgres.Cluster(
            folder=self._home / "postgres",
            port=port,
            password=secrets.token_urlsafe(DATABASE_PASSWORD_BYTES),
            pid_file=self._home / "postgres.pid",
            more_settings=FLEETING_POSTGRES if self._fleeting else "",
        )
        postgres.create(cluster)

        def ready(hint: str) -> None:
            postgres.wait_until_ready(cluster.admin_url, timeout_seconds=RESTART_TIMEOUT_SECONDS, hint=hint)

        self._start("postgres", cluster.program, ready)
        postgres.forbid_strangers(cluster)
        return cluster.admin_url

    def _private_kafka(self) -> str:
        port, controller_port = free_ports(2)
        node = broker.Node(
            folder=self._home / "kafka",
            port=port,
            controller_port=controller_port,
            pid_file=self._home / "kafka.pid",
            more_settings=FLEETING_KAFKA if self._fleeting else "",
        )
        broker.create(node)

        def ready(hint: str) -> None:
            broker.wait_until_ready(node.bootstrap_servers, timeout_seconds=RESTART_TIMEOUT_SECONDS, hint=hint)

        self._start("kafka", node.program, ready)
        return node.bootstrap_servers

    def _start(self, name: str, program: Program, ready: Callable[[str], None]) -> None:
        self._private[name] = PrivateProcess(program, log_file=self._home / f"{name}.log", ready=ready)
        self._private[name].start()

    def _postgres_in_docker(self) -> str:
        password = secrets.token_urlsafe(DATABASE_PASSWORD_BYTES)
        (port,) = free_ports(1)
        environment = {"POSTGRES_PASSWORD": password}
        self._run_container(POSTGRES_IMAGE, environment, ports=(5432, port), command="postgres -c max_connections=200")
        url = f"postgresql://{postgres.SUPERUSER}:{password}@{LOOPBACK}:{port}/postgres"
        postgres.wait_until_ready(url)
        return url

    def _kafka_in_docker(self) -> str:
        # The broker must name the port that clients see before it starts, so the port is chosen here.
        (port,) = free_ports(1)
        environment = {
            "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{LOOPBACK}:{port}",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@127.0.0.1:9093",
        }
        for line in broker.SETTINGS_FILE.read_text().splitlines():
            key, separator, value = line.partition("=")
            if separator and not line.startswith("#"):
                environment["KAFKA_" + key.upper().replace(".", "_")] = value
        self._run_container(KAFKA_IMAGE, environment, ports=(9092, port))
        bootstrap = f"{LOOPBACK}:{port}"
        broker.wait_until_ready(bootstrap)
        return bootstrap

    def _run_container(
        self, image: str, environment: dict[str, str], *, ports: tuple[int, int], command: str | None = None
    ) -> None:
        from testcontainers.core.container import DockerContainer  # only where there is an engine

        container = DockerContainer(image).with_bind_ports(*ports)
        for name, value in environment.items():
            container.with_env(name, value)
        if command:
            container.with_command(command)
        self._cleanup.enter_context(container)


class PrivateProcess:
    """One server that can be killed and started again; it ends with the test run even where that is killed."""

    def __init__(self, program: Program, *, log_file: Path, ready: Callable[[str], None]) -> None:
        self._program = program
        self._log_file = log_file
        self._ready = ready
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return when it answers; nothing happens while it runs."""
        if find(self._program.pid_file) is not None:
            return
        guard = Path(__file__).with_name("child_guard.py")
        launch = self._program.launch_command
        with self._log_file.open("ab") as log:
            self._guard = subprocess.Popen(
                [*launch[:2], str(guard), str(int(self._program.stop_signal)), *launch],
                env={**os.environ, **self._program.launch_environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C ends the tests, which end the server in their own order.
                start_new_session=True,
            )
        try:
            self._ready("")
        except StackError as error:
            self.stop()
            raise StackError("\n".join([str(error), *last_lines(self._log_file)])) from error

    def kill9(self) -> None:
        """Kill it with SIGKILL and wait until it is gone."""
        process = find(self._program.pid_file)
        if process is not None:
            children = process.children(recursive=True)
            process.kill()
            wait_until(
                lambda: not process.is_running() and not any(child.is_running() for child in children),
                timeout_seconds=RESTART_TIMEOUT_SECONDS,
                failure=lambda: f"{self._program.name} survived SIGKILL",
            )
        self._reap()

    def stop(self) -> None:
        """Stop it in its own orderly way."""
        process = find(self._program.pid_file)
        if process is not None:
            end([process], stop_signal=self._program.stop_signal)
        elif self._guard is not None:
            # It has only just been started, and is not recorded yet.
            self._guard.terminate()
        self._reap()

    def _reap(self) -> None:
        if self._guard is not None:
            self._guard.wait(timeout=RESTART_TIMEOUT_SECONDS)
            self._guard = None


def migrated(backing: BackingStack, service: str) -> str:
    """The URL of a new database with the tables of a service. Blocks."""
    return backing.copy_database(service, partial(migrate, service))


def new_prefix() -> str:
    """A prefix of names in Kafka that nobody else has."""
    return f"{secrets.token_hex(4)}."


async def own_topics(backing: BackingStack, *, without: Collection[str] = ()) -> str:
    """Every topic of the suite but these, created for one installation alone; the prefix of its topics and consumer groups."""
    prefix = new_prefix()
    await make_topics(await asyncio.to_thread(lambda: backing.kafka_bootstrap), prefix, without=without)
    return prefix


async def make_topics(bootstrap_servers: str, prefix: str, *, without: Collection[str] = ()) -> None:
    """Create every topic of the suite but these, under this prefix."""
    wanted = [
        topic.model_copy(update={"partitions": min(topic.partitions, PARTITIONS_MAX)})
        for topic in topics.load(TOPICS_FILE)
        if topic.name not in without
    ]
    await topics.apply(bootstrap_servers, wanted, prefix=prefix)


def start_backing_stack(home: Path) -> BackingStack:
    """PostgreSQL and Kafka for a test run, with `home` for their files; nothing runs before it is asked for."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return BackingStack(home, use_docker=docker_answers(), fleeting=True)


def start_private_stack(home: Path) -> BackingStack:
    """PostgreSQL and Kafka as processes of this run's own, whatever the environment offers: a test may kill them."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return BackingStack(home, use_docker=False, use_existing=False)


def docker_answers() -> bool:
    """Whether a Docker engine of this machine can be used; ports of a remote one would not be on loopback."""
    docker = shutil.which("docker")
    if docker is None or not os.environ.get("DOCKER_HOST", "unix://").startswith("unix://"):
        return False
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run([docker, "version"], capture_output=True, timeout=DOCKER_TIMEOUT_SECONDS).returncode == 0
    return False
