"""The private stack as operations: up, down, status, reset. Tests and the command line call the same functions.

Invariant: every operation may run twice; what is right already is left alone, and only processes that this home's stack
started are ever stopped.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlencode, urlsplit

from deploy.devstack import broker, jars, postgres, postgres_binaries, steps, supervision
from deploy.devstack.failures import StackError
from deploy.devstack.processes import (
    LOOPBACK,
    Program,
    end,
    find,
    holder_of,
    last_lines,
    port_answers,
    port_is_taken,
    wait_until,
)
from deploy.devstack.settings import APPLICATIONS, CERTIFIED, HELPERS, ROOT, StackSettings, prepare_home, write_private
from deploy.devstack.supervision import Supervisor
from shared.crypto import certificates

TOPICS_FILE = ROOT / "deploy" / "kafka" / "topics.yaml"
SERVERS = ("postgres", "kafka")
# A migration may use any module of its service and of `shared`.
PREPARED_FROM = (
    *("services/*/src/**/*.py", "shared/src/**/*.py", "shared/src/**/*.sql"),
    *("deploy/postgres/database.sql", "deploy/kafka/topics.yaml"),
)
READY_TIMEOUT_SECONDS = 180.0
EXISTING_SERVER_TIMEOUT_SECONDS = 5.0
# A server that fails this long at starting will not come by itself.
FAILING_SECONDS_MAX = 12.0
READY_POLL_SECONDS = 0.1
PROBE_TIMEOUT_SECONDS = 2.0
LOCK_TIMEOUT_SECONDS = 300.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class ProcessStatus:
    """One line of `status`."""

    name: str
    state: str
    address: str
    process_id: int | None
    started_at: datetime | None


def up(settings: StackSettings, say: Say) -> None:
    """Return with the whole stack ready. A stack that is ready is left as it is."""
    prepare_home(settings)
    _fetch(settings, say)
    with _one_operation_at_a_time(settings):
        supervisor = Supervisor(settings.home)
        databases = database_urls(settings)
        programs = _programs(settings, databases)
        wanted = supervision.configuration(supervisor, list(programs.values()))
        if supervision.is_running(supervisor) and supervisor.configuration_file.read_text() != wanted:
            say("the settings have changed: stopping the old stack first")
            _stop_everything(settings, supervisor)
        if not supervision.is_running(supervisor):
            _end_left_over(settings)
        _refuse_taken_ports(settings)
        if set(SERVERS) & set(settings.processes):
            certificates.ensure(settings.certificates, CERTIFIED)
        idle = [name for name in (*APPLICATIONS, *HELPERS) if find(settings.pid_file(name)) is None]
        to_prepare = bool(idle) and needs_preparation(settings)
        if idle:
            settings.prepared_file.unlink(missing_ok=True)  # services that start now wait for it
        if to_prepare:
            steps.warm_up()
        if not supervision.is_running(supervisor):
            write_private(supervisor.configuration_file, wanted)
            supervision.start(supervisor)
        _start(settings, supervisor, databases if to_prepare else {}, say)
        if idle:
            write_private(settings.prepared_file, state_to_prepare())
        _wait_for_services(settings, supervisor)
        if idle:
            say("ready: " + ", ".join(f"{name} {settings.url(name)}" for name in (*APPLICATIONS, *HELPERS)))


def down(settings: StackSettings, say: Say) -> None:
    """Stop what this home's stack started; its data stay."""
    if not settings.secrets_file.exists():
        say("nothing was ever started here")
        return
    with _one_operation_at_a_time(settings):
        _stop_everything(settings, Supervisor(settings.home))
    say("stopped")


def reset(settings: StackSettings, say: Say) -> None:
    """Stop the stack and throw its home away; fetched jars stay."""
    down(settings, say)
    if settings.secrets_file.exists():
        shutil.rmtree(settings.home)
        say(f"deleted {settings.home}")


def status(settings: StackSettings) -> list[ProcessStatus]:
    """Every process of the stack: its state, where it listens, since when it runs."""
    supervisor = Supervisor(settings.home)
    states = supervision.states(supervisor) if supervision.is_running(supervisor) else {}
    lines = []
    for name in (*SERVERS, *APPLICATIONS, *HELPERS):
        process = find(settings.pid_file(name))
        if name not in settings.processes:
            lines.append(ProcessStatus(name, "existing server", _address(settings, name), None, None))
        elif process is None:
            state = states.get(name, "STOPPED").lower()
            lines.append(ProcessStatus(name, "stopped" if state == "running" else state, "-", None, None))
        else:
            started_at = datetime.fromtimestamp(process.create_time(), UTC)
            state = "ready" if _is_ready(settings, name) else "running, not ready"
            lines.append(ProcessStatus(name, state, _address(settings, name), process.pid, started_at))
    return lines


def follow_logs(settings: StackSettings, process: str | None) -> None:
    """Become `tail`, following the log of one process or of all. Returns only by StackError."""
    known = (*settings.processes, "supervisord")
    if process is not None and process not in known:
        raise StackError(f"there is no process {process!r}: one of {', '.join(known)}")
    files = [file for name in ([process] if process else known) if (file := settings.log_file(name)).exists()]
    if not files:
        raise StackError("there are no logs yet: start the stack with `make up`")
    os.execvp("tail", ["tail", "-n", "20", "-F", *map(str, files)])


def needs_preparation(settings: StackSettings) -> bool:
    """Whether databases or topics may not be as the code wants them: another code prepared them, or none did to the end."""
    if not {"postgres", "kafka"} <= set(settings.processes):
        return True  # what others own may have changed since
    if not (postgres.has_data(settings.cluster) and broker.has_data(settings.node)):
        return True
    return not settings.prepared_file.exists() or settings.prepared_file.read_text() != state_to_prepare()


def state_to_prepare() -> str:
    """Stands for everything that databases and topics are made from."""
    state = hashlib.sha256()
    for file in sorted(file for pattern in PREPARED_FROM for file in ROOT.glob(pattern)):
        state.update(f"{file.relative_to(ROOT)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return state.hexdigest()


def database_urls(settings: StackSettings) -> dict[str, str]:
    """Each service's own database as its own role; in the private server over TLS, which proves that it is that server."""
    admin = urlsplit(settings.postgres_admin_url)
    address = admin.netloc.rpartition("@")[2]
    passwords = settings.secrets["database_passwords"]
    query = admin.query
    if "postgres" in settings.processes:
        query = urlencode({"sslmode": "verify-full", "sslrootcert": settings.certificates / certificates.CA_FILE})
    return {
        service: admin._replace(
            netloc=f"waybill_{service}:{passwords[service]}@{address}", path=f"/waybill_{service}", query=query
        ).geturl()
        for service in APPLICATIONS
    }


def _fetch(settings: StackSettings, say: Say) -> None:
    """Fetch the servers that this stack runs and this machine has not, side by side."""
    missing: dict[str, Callable[[], object]] = {}
    if "postgres" in settings.processes and not postgres_binaries.are_here():
        missing["PostgreSQL"] = postgres_binaries.server_folder
    if "kafka" in settings.processes and not jars.folder(broker.JARS).is_dir():
        missing["Kafka"] = partial(jars.ensure, broker.JARS)
    if missing:
        say(f"fetching {' and '.join(missing)}, once for this machine")
        _side_by_side(*missing.values())


def _programs(settings: StackSettings, databases: dict[str, str]) -> dict[str, Program]:
    programs = {}
    if "postgres" in settings.processes:
        programs["postgres"] = settings.cluster.program
    if "kafka" in settings.processes:
        programs["kafka"] = settings.node.program
    for service in APPLICATIONS:
        programs[service] = Program(
            name=service,
            command=(
                *(sys.executable, "-m", "deploy.devstack.service", service),
                *("--after", str(settings.prepared_file)),
            ),
            pid_file=settings.pid_file(service),
            environment=settings.service_environment(service, databases[service]),
            directory=ROOT,
            stop_timeout_seconds=20,
        )
    for helper in HELPERS:
        programs[helper] = Program(
            name=helper,
            command=(sys.executable, "-m", f"deploy.devstack.{helper}", *settings.helper_options(helper)),
            pid_file=settings.pid_file(helper),
            environment=settings.helper_environment(helper),
            directory=ROOT,
        )
    return programs


def _start(settings: StackSettings, supervisor: Supervisor, databases: dict[str, str], say: Say) -> None:
    """Everything side by side: each server is prepared as soon as it answers. Without `databases` there is nothing to prepare."""
    environments = {service: settings.service_environment(service, url) for service, url in databases.items()}

    def prepare_database(service: str) -> None:
        password = settings.secrets["database_passwords"][service]
        postgres.create_database(settings.postgres_admin_url, name=f"waybill_{service}", password=password)
        steps.prepare(service, environments[service])

    def start_postgres() -> None:
        _start_postgres(settings, supervisor, say)
        if environments:
            if "postgres" in settings.processes:
                postgres.forbid_strangers(settings.cluster)
            _side_by_side(*(partial(prepare_database, service) for service in environments))
            say("databases migrated")

    def start_kafka() -> None:
        _start_kafka(settings, supervisor, say)
        if environments:
            command = ["shared.messaging.topics", str(TOPICS_FILE)]
            if "kafka" in settings.processes:
                command.append("--access")
            steps.run(command, settings.kafka_environment(broker.ADMIN), "the topics could not be made")
            say("topics made")

    def start_services() -> None:
        if environments:
            steps.wait_until_warm()
        supervision.start_programs(supervisor, (*APPLICATIONS, *HELPERS))

    _side_by_side(start_postgres, start_kafka, start_services)


def _start_postgres(settings: StackSettings, supervisor: Supervisor, say: Say) -> None:
    """Return with PostgreSQL ready; a server that was named instead must answer at once."""
    if "postgres" not in settings.processes:
        postgres.wait_until_ready(
            settings.postgres_admin_url,
            timeout_seconds=EXISTING_SERVER_TIMEOUT_SECONDS,
            hint=" (the server that WAYBILL_POSTGRES_URL names)",
        )
        return
    if find(settings.pid_file("postgres")) is None:
        postgres.create(settings.cluster)
        supervision.start_programs(supervisor, ["postgres"])
        say(f"postgres: {LOOPBACK}:{settings.port('postgres')}")
    _with_log(settings, "postgres", lambda: postgres.wait_until_ready(settings.postgres_admin_url))


def _start_kafka(settings: StackSettings, supervisor: Supervisor, say: Say) -> None:
    """Return with Kafka ready; a cluster that was named instead must answer at once."""
    if "kafka" not in settings.processes:
        broker.wait_until_ready(
            settings.kafka,
            timeout_seconds=EXISTING_SERVER_TIMEOUT_SECONDS,
            hint=" (the cluster that WAYBILL_KAFKA_BOOTSTRAP_SERVERS names)",
        )
        return
    if find(settings.pid_file("kafka")) is None:
        broker.create(settings.node)
        write_private(settings.kafka_client_file, broker.client_settings(settings.node, broker.ADMIN))
        supervision.start_programs(supervisor, ["kafka"])
        say(f"kafka: {settings.kafka}")
    _with_log(settings, "kafka", lambda: broker.wait_until_ready(settings.kafka, ca_file=settings.kafka_ca_file))


def _wait_for_services(settings: StackSettings, supervisor: Supervisor) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    failing_since: dict[str, float] = {}
    waiting = [*APPLICATIONS, *HELPERS]
    while waiting := [name for name in waiting if not _is_ready(settings, name)]:
        now = time.monotonic()
        states = supervision.states(supervisor)
        for name in waiting:
            if states[name] == "RUNNING":
                failing_since.pop(name, None)
            elif states[name] != "STARTING":  # a new try says nothing yet about how it will end
                failing_since.setdefault(name, now)
            hopeless = states[name] == "FATAL" or now - failing_since.get(name, now) > FAILING_SECONDS_MAX
            if hopeless or now >= deadline:
                what = "keeps ending" if hopeless else f"is not ready after {READY_TIMEOUT_SECONDS:.0f} seconds"
                raise StackError(_with_last_lines(settings, name, f"{name} {what}"))
        time.sleep(READY_POLL_SECONDS)


def _is_ready(settings: StackSettings, name: str) -> bool:
    if name in SERVERS:
        return port_answers(settings.port(name))
    connection = HTTPConnection(LOOPBACK, settings.port(name), timeout=PROBE_TIMEOUT_SECONDS)
    try:
        connection.request("GET", settings.ready_path(name))
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _refuse_taken_ports(settings: StackSettings) -> None:
    for name in settings.processes:
        if find(settings.pid_file(name)) is not None:
            continue
        for port_name in settings.port_names(name):
            port = settings.port(port_name)
            if port_is_taken(port):
                raise StackError(
                    f"port {port} ({port_name}) is taken{holder_of(port)}: stop that process, or shift every"
                    " port of this stack with the setting WAYBILL_PORT_OFFSET (for example WAYBILL_PORT_OFFSET=1000)"
                )


def _stop_everything(settings: StackSettings, supervisor: Supervisor) -> None:
    if supervision.is_running(supervisor):
        supervision.stop(supervisor, [(*APPLICATIONS, *HELPERS), SERVERS])
    _end_left_over(settings)


def _end_left_over(settings: StackSettings) -> None:
    """End what this home's stack started and nobody supervises any more (supervisord itself was killed)."""
    files = {file.stem: file for file in (settings.home / "run").glob("*.pid")}
    found = {name: process for name, file in files.items() if (process := find(file))}
    end([found.pop("supervisord")] if "supervisord" in found else [])
    end([process for name, process in found.items() if name not in SERVERS])
    end([process for name, process in found.items() if name == "kafka"])
    end([process for name, process in found.items() if name == "postgres"], stop_signal=postgres.STOP_SIGNAL)
    for file in files.values():
        file.unlink(missing_ok=True)


def _address(settings: StackSettings, name: str) -> str:
    if name == "kafka":
        return settings.kafka
    if name == "postgres":
        return urlsplit(settings.postgres_admin_url).netloc.rpartition("@")[2]
    return settings.url(name)


def _with_log(settings: StackSettings, name: str, wait: Callable[[], None]) -> None:
    try:
        wait()
    except StackError as error:
        raise StackError(_with_last_lines(settings, name, str(error))) from error


def _with_last_lines(settings: StackSettings, name: str, failure: str) -> str:
    log_file = settings.log_file(name)
    return "\n".join([f"{failure}; the end of {log_file}:", *last_lines(log_file)])


def _side_by_side(*steps: Callable[[], object]) -> None:
    with ThreadPoolExecutor(max_workers=len(steps)) as threads:
        for future in [threads.submit(step) for step in steps]:
            future.result()


@contextmanager
def _one_operation_at_a_time(settings: StackSettings) -> Iterator[None]:
    with (settings.home / "lock").open("w") as lock:

        def taken() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        wait_until(
            taken,
            timeout_seconds=LOCK_TIMEOUT_SECONDS,
            failure=lambda: (
                f"another command has been working on {settings.home} for {LOCK_TIMEOUT_SECONDS:.0f} seconds"
            ),
        )
        yield
