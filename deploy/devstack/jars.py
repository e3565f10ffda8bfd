"""Java libraries from a committed list: fetched side by side, checked by their SHA-256, kept in the user's cache.

A list (`jars.lock`) is complete: each line has the Maven coordinates of one jar and its hash, so nothing is resolved here and
nobody needs Maven. `python -m deploy.devstack.lock_jars` makes the lists.
"""

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit
from xml.etree import ElementTree

from deploy.devstack.failures import StackError

if TYPE_CHECKING:
    from maven_artifact import Downloader
    from requests import Response

LINE = re.compile(r"(?P<coordinates>[\w.-]+:[\w.-]+:[\w.-]+) sha256:(?P<sha256>[0-9a-f]{64})", re.ASCII)
FETCHES_AT_ONCE = 8
FETCH_ATTEMPTS_MAX = 3
FETCH_PAUSE_SECONDS = 1.0
# To connect, and between two parts of an answer.
ANSWER_TIMEOUT_SECONDS = 30.0
JAR_BYTES_MAX = 200 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
# As other clients of this machine are told which certificates to trust; the library by itself reads the first two.
CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT")


@dataclass(frozen=True, slots=True)
class Jar:
    """One library: where it is in a Maven repository, and what its bytes must be."""

    coordinates: str
    sha256: str

    @property
    def artifact(self) -> str:
        """The middle of its coordinates."""
        return self.coordinates.split(":")[1]

    @property
    def file_name(self) -> str:
        """Its name in the folder of its list."""
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


@dataclass(frozen=True, slots=True)
class Repository:
    """A Maven repository; without an address the public one that the library knows."""

    url: str | None = None
    username: str | None = None
    password: str | None = None


def read(lock: Path) -> list[Jar]:
    """The jars of a list; StackError that names the line which is none."""
    jars = []
    for number, line in enumerate(lock.read_text().splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        match = LINE.fullmatch(line)
        if match is None:
            raise StackError(
                f"{lock}:{number} is not `group:artifact:version sha256:…`: make the list again with `make lock`"
            )
        jars.append(Jar(match["coordinates"], match["sha256"]))
    return jars


def folder(lock: Path, artifact: str = "") -> Path:
    """Where the jars of this list, or the one of this artifact, are or will be: another list has another folder."""
    return cache() / f"{artifact or lock.parent.name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"


def cache() -> Path:
    """The folder that all checkouts of this user share."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "waybill" / "jars"


def ensure(lock: Path, artifact: str = "", *, unpack: Callable[[Path, Path], None] | None = None) -> Path:
    """The folder with exactly the jars of this list, or the one of this artifact, fetched unless they are there already.

    With `unpack(jar, folder)` it has what that makes of each jar in the jar's place.
    """
    target = folder(lock, artifact)
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(
            f"no jars can be kept in {target.parent} ({error.strerror}): set XDG_CACHE_HOME to a folder"
        ) from error
    with only_one_at_a_time(target.with_suffix(".lock")):
        if not target.is_dir():  # else another process fetched them while this one waited
            # What an interrupted attempt has fetched is taken from there, by its hash.
            unfinished = target.with_suffix(".partial")
            unfinished.mkdir(exist_ok=True)
            wanted = [jar for jar in read(lock) if artifact in ("", jar.artifact)]
            fetch(wanted, unfinished, repository(os.environ))
            if unpack is not None:
                for jar in wanted:
                    unpack(unfinished / jar.file_name, unfinished)
                    (unfinished / jar.file_name).unlink()
            unfinished.rename(target)
    return target


def fetch(jars: Sequence[Jar], target: Path, source: Repository) -> None:
    """Bring what is missing to `target`, several at once; StackError with the first jar that cannot be had."""
    missing = [jar for jar in jars if not _is_right(target / jar.file_name, jar.sha256)]
    if not missing:
        return
    downloader = _downloader(source)
    with ThreadPoolExecutor(max_workers=FETCHES_AT_ONCE) as threads:
        futures = [threads.submit(_fetch, downloader, jar, target) for jar in missing]
        try:
            for future in futures:
                future.result()
        finally:
            threads.shutdown(cancel_futures=True)


def hash_of(coordinates: str, source: Repository, scratch: Path) -> str:
    """The SHA-256 of a jar as the repository has it now: how lists are made."""
    file = scratch / Jar(coordinates, "").file_name
    _download(_downloader(source), coordinates, file)
    return _sha256(file)


def repository(environment: Mapping[str, str]) -> Repository:
    """`WAYBILL_MAVEN_REPOSITORY`, else the mirror of Maven Central in Maven's own settings, else Maven Central itself."""
    told = environment.get("WAYBILL_MAVEN_REPOSITORY")
    if told:
        parts = urlsplit(told)
        address = parts.netloc.rpartition("@")[2]
        username, password = (unquote(part) if part else None for part in (parts.username, parts.password))
        return Repository(urlunsplit(parts._replace(netloc=address)), username, password)
    settings = Path(environment.get("HOME") or "/") / ".m2" / "settings.xml"
    return _mirror(settings, environment) if settings.is_file() else Repository()


def _mirror(settings: Path, environment: Mapping[str, str]) -> Repository:
    try:
        tree = ElementTree.parse(settings).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise StackError(f"{settings} cannot be read ({error}): mend it, or set WAYBILL_MAVEN_REPOSITORY") from error
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]  # with a namespace or without

    def text(element: ElementTree.Element, name: str) -> str:
        told = (element.findtext(name) or "").strip()
        return re.sub(r"\$\{env\.(\w+)\}", lambda match: environment.get(match[1], ""), told)

    for mirror in tree.iterfind("mirrors/mirror"):
        mirrored = [name.strip() for name in text(mirror, "mirrorOf").split(",")]
        if text(mirror, "blocked") == "true" or "!central" in mirrored:
            continue
        if {"*", "central", "external:*"} & set(mirrored):
            servers = [server for server in tree.iterfind("servers/server") if text(server, "id") == text(mirror, "id")]
            credentials = [text(servers[0], name) or None for name in ("username", "password")] if servers else []
            return Repository(text(mirror, "url"), *credentials)
    return Repository()


def _downloader(source: Repository) -> "Downloader":
    # Imported where something is really fetched: they take longer to import than all the rest.
    from maven_artifact import Downloader

    named = {"base": source.url} if source.url else {}
    return Downloader(**named, username=source.username, password=source.password)


def _fetch(downloader: "Downloader", jar: Jar, target: Path) -> None:
    unfinished = target / f"{jar.file_name}.new"
    _download(downloader, jar.coordinates, unfinished)
    found = _sha256(unfinished)
    if found != jar.sha256:
        unfinished.unlink()
        raise StackError(
            f"{jar.coordinates} is not the jar of the list: its SHA-256 is {found} instead of {jar.sha256};"
            f" ask whoever runs {_told(downloader)} before you trust it"
        )
    unfinished.rename(target / jar.file_name)


def _download(downloader: "Downloader", coordinates: str, file: Path) -> None:
    """The bytes of one jar, on disk."""
    from maven_artifact import Artifact

    url = downloader.resolver.uri_for_artifact(Artifact.parse(coordinates))
    certificates = next((told for name in CERTIFICATE_VARIABLES if (told := os.environ.get(name))), True)

    def keep(answer: "Response") -> None:
        received = 0
        with answer, file.open("wb") as opened:
            for chunk in answer.iter_content(CHUNK_BYTES):
                received += len(chunk)
                if received > JAR_BYTES_MAX:
                    raise StackError(f"{coordinates} has more than {JAR_BYTES_MAX} bytes")
                opened.write(chunk)
            opened.flush()
            os.fsync(opened.fileno())

    def give_up(_url: str, error: Exception) -> None:
        answer = getattr(error, "response", None)
        if answer is not None:
            answer.close()
        raise error

    for attempt in range(1, FETCH_ATTEMPTS_MAX + 1):
        try:
            downloader.requestor.request(
                url, give_up, keep, stream=True, timeout=ANSWER_TIMEOUT_SECONDS, verify=certificates
            )
        except StackError:
            raise
        except Exception as error:
            # 4xx is final: the repository has answered.
            status = getattr(getattr(error, "response", None), "status_code", 500)
            if attempt == FETCH_ATTEMPTS_MAX or status < 500:
                raise StackError(
                    f"{coordinates} could not be fetched from {_told(downloader)} ({type(error).__name__}: {error}):"
                    " is the network reachable? A mirror is named by WAYBILL_MAVEN_REPOSITORY or by Maven's settings.xml"
                ) from error
            time.sleep(FETCH_PAUSE_SECONDS)
        else:
            return


def _told(downloader: "Downloader") -> str:
    return str(downloader.resolver.base)


def _is_right(file: Path, sha256: str) -> bool:
    return file.is_file() and _sha256(file) == sha256


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def only_one_at_a_time(lock_file: Path) -> Iterator[None]:
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
