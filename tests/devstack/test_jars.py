"""Jars come from a committed list: every one is named with its hash, fetched once, and refused where it is another."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from xml.etree import ElementTree

import pytest

from deploy.devstack import broker, jars, lock_jars, postgres_binaries
from deploy.devstack.failures import StackError
from deploy.devstack.jars import Jar, Repository

ROOT = Path(__file__).parents[2]
LISTS = (broker.JARS, postgres_binaries.JARS, ROOT / "tests" / "webhooks" / "interoperability" / "java" / "jars.lock")
CONTENT = {"/org/example/one/1.0/one-1.0.jar": b"the first", "/org/example/deep/two/2.1/two-2.1.jar": b"the second"}
COORDINATES = ("org.example:one:1.0", "org.example.deep:two:2.1")


@dataclass
class Mirror:
    """A Maven repository on loopback: what it has, what it was asked for, and how often it fails first."""

    content: dict[str, bytes]
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    credentials: set[str] = field(default_factory=set)
    failures: int = 0


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    mirror = Mirror(dict(CONTENT))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix("/maven")
            mirror.asked[path] += 1
            mirror.credentials.add(self.headers.get("Authorization", ""))
            if mirror.failures > 0:
                mirror.failures -= 1
                self.send_error(503)
            elif path in mirror.content:
                self.send_response(200)
                self.send_header("Content-Length", str(len(mirror.content[path])))
                self.end_headers()
                self.wfile.write(mirror.content[path])
            else:
                self.send_error(404)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    mirror.url = f"http://127.0.0.1:{server.server_port}/maven"
    yield mirror
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def lock(tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list of what the mirror has, with a cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("WAYBILL_MAVEN_REPOSITORY", mirror.url)
    monkeypatch.setattr(jars, "FETCH_PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    file = tmp_path / "example" / "jars.lock"
    file.parent.mkdir()
    file.write_text("# A comment.\n" + "".join(map(line, COORDINATES, CONTENT.values())))
    return file


def line(coordinates: str, content: bytes) -> str:
    return f"{coordinates} sha256:{hashlib.sha256(content).hexdigest()}\n"


# -- the committed lists ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", LISTS)
def test_a_committed_list_has_coordinates_and_hashes_and_no_address(file: Path) -> None:
    listed = jars.read(file)

    assert listed
    assert [jar.coordinates for jar in listed] == sorted({jar.coordinates for jar in listed})
    assert len({jar.file_name for jar in listed}) == len(listed)
    assert "//" not in file.read_text()
    assert all(text.startswith("#") or jars.LINE.fullmatch(text) for text in file.read_text().splitlines())


@pytest.mark.parametrize("file", LISTS)
def test_a_committed_list_is_of_the_recipe_beside_it(file: Path) -> None:
    names = {"m": "http://maven.apache.org/POM/4.0.0"}
    recipe = ElementTree.parse(file.with_name("pom.xml"))
    wanted = {
        ":".join(dependency.findtext(f"m:{name}", "", names) for name in ("groupId", "artifactId", "version"))
        for dependency in recipe.iterfind("m:dependencies/m:dependency", names)
    }

    assert wanted
    assert wanted <= {jar.coordinates for jar in jars.read(file)}


@pytest.mark.parametrize(
    "text",
    [
        "org.example:one:1.0",
        "org.example:one sha256:" + 64 * "0",
        "org.example:one:1.0 sha256:" + 63 * "0",
        "org.example:one:1.0 md5:" + 32 * "0",
        "https://example.com/one-1.0.jar sha256:" + 64 * "0",
        "org.example:../../one:1.0 sha256:" + 64 * "0",
    ],
)
def test_a_line_that_is_no_jar_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "jars.lock"
    file.write_text(f"# A comment.\n{text}\n")

    with pytest.raises(StackError, match=r"jars\.lock:2 .*make lock"):
        jars.read(file)


# -- fetching --------------------------------------------------------------------------------------------------------------


def test_jars_are_fetched_once_and_kept_for_every_checkout(lock: Path, mirror: Mirror, tmp_path: Path) -> None:
    folder = jars.ensure(lock)
    elsewhere = tmp_path / "another checkout" / lock.parent.name / lock.name
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(lock.read_bytes())

    assert jars.ensure(elsewhere) == folder
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        "one-1.0.jar": b"the first",
        "two-2.1.jar": b"the second",
    }
    assert mirror.asked == dict.fromkeys(CONTENT, 1)
    assert tmp_path / "cache" in folder.parents


def test_another_list_has_another_folder(lock: Path) -> None:
    before = jars.ensure(lock)
    lock.write_text(line(COORDINATES[0], b"the first"))

    assert [file.name for file in jars.ensure(lock).iterdir()] == ["one-1.0.jar"]
    assert len(list(before.iterdir())) == 2


def test_one_jar_of_a_list_is_fetched_and_unpacked_once(lock: Path, mirror: Mirror) -> None:
    def unpack(jar: Path, target: Path) -> None:
        (target / "unpacked").write_bytes(jar.read_bytes().upper())

    folders = {jars.ensure(lock, "two", unpack=unpack) for _ in range(2)}

    assert folders == {jars.folder(lock, "two")} != {jars.folder(lock)}
    assert {file.name: file.read_bytes() for folder in folders for file in folder.iterdir()} == {
        "unpacked": b"THE SECOND"
    }
    assert mirror.asked == {"/org/example/deep/two/2.1/two-2.1.jar": 1}


def test_a_jar_with_another_hash_is_refused_and_not_kept(lock: Path, mirror: Mirror, tmp_path: Path) -> None:
    mirror.content["/org/example/one/1.0/one-1.0.jar"] = b"something else"

    with pytest.raises(StackError, match=r"org\.example:one:1\.0 is not the jar of the list"):
        jars.ensure(lock)

    assert not jars.folder(lock).exists()
    assert not list((tmp_path / "cache").rglob("one-1.0.jar*"))


def test_an_interrupted_attempt_goes_on_where_it_ended(lock: Path, mirror: Mirror) -> None:
    jar = "/org/example/one/1.0/one-1.0.jar"
    del mirror.content[jar]
    with pytest.raises(StackError, match=r"org\.example:one:1\.0 could not be fetched"):
        jars.ensure(lock)
    mirror.content[jar] = CONTENT[jar]

    folder = jars.ensure(lock)

    assert len(list(folder.iterdir())) == 2
    assert mirror.asked == {jar: 2, "/org/example/deep/two/2.1/two-2.1.jar": 1}


def test_a_mirror_that_fails_is_asked_again_within_a_bound(lock: Path, mirror: Mirror) -> None:
    mirror.failures = 2
    assert jars.ensure(lock).is_dir()

    lock.write_text(line(*COORDINATES[:1], b"the first"))
    mirror.failures = 100
    mirror.asked.clear()
    with pytest.raises(StackError, match="WAYBILL_MAVEN_REPOSITORY"):
        jars.ensure(lock)
    assert mirror.asked.total() == jars.FETCH_ATTEMPTS_MAX


def test_a_jar_beyond_the_bound_is_refused(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "JAR_BYTES_MAX", 5)

    with pytest.raises(StackError, match="more than 5 bytes"):
        jars.ensure(lock)


def test_credentials_of_an_address_are_sent_and_never_printed(
    lock: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYBILL_MAVEN_REPOSITORY", mirror.url.replace("//", "//reader:s%40cret@"))
    mirror.content.clear()

    with pytest.raises(StackError) as refused:
        jars.ensure(lock)

    assert mirror.credentials == {"Basic " + base64.b64encode(b"reader:s@cret").decode()}
    assert "cret" not in str(refused.value)


# -- where from ------------------------------------------------------------------------------------------------------------


def test_without_a_setting_jars_come_from_the_public_repository(tmp_path: Path) -> None:
    assert jars.repository({"HOME": str(tmp_path)}) == Repository()


@pytest.mark.parametrize("namespace", ["", ' xmlns="http://maven.apache.org/SETTINGS/1.2.0"'])
@pytest.mark.parametrize("mirrored", ["central", "*", "external:*", "internal, central", "*,!snapshots"])
def test_the_mirror_of_maven_is_used(tmp_path: Path, namespace: str, mirrored: str) -> None:
    write_settings(
        tmp_path,
        f"""<settings{namespace}>
        <servers><server><id>near</id><username>reader</username><password>${{env.NEAR_PASSWORD}}</password></server></servers>
        <mirrors>
          <mirror><id>blocker</id><mirrorOf>external:*</mirrorOf><url>http://0.0.0.0/</url><blocked>true</blocked></mirror>
          <mirror><id>other</id><mirrorOf>other</mirrorOf><url>https://other.example/</url></mirror>
          <mirror><id>near</id><mirrorOf>{mirrored}</mirrorOf><url>https://near.example/maven</url></mirror>
        </mirrors></settings>""",
    )

    found = jars.repository({"HOME": str(tmp_path), "NEAR_PASSWORD": "secret"})

    assert found == Repository("https://near.example/maven", "reader", "secret")


@pytest.mark.parametrize("mirrored", ["other", "*,!central", "external:http:*"])
def test_a_mirror_of_something_else_is_not_used(tmp_path: Path, mirrored: str) -> None:
    write_settings(
        tmp_path,
        f"<settings><mirrors><mirror><id>a</id><mirrorOf>{mirrored}</mirrorOf><url>https://a.example</url></mirror></mirrors></settings>",
    )

    assert jars.repository({"HOME": str(tmp_path)}) == Repository()


def test_settings_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    write_settings(tmp_path, "<settings>")

    with pytest.raises(StackError, match=r"settings\.xml cannot be read"):
        jars.repository({"HOME": str(tmp_path)})


def write_settings(home: Path, text: str) -> None:
    (home / ".m2").mkdir()
    (home / ".m2" / "settings.xml").write_text(text)


# -- how lists are made ----------------------------------------------------------------------------------------------------


def test_a_list_is_made_of_what_the_repository_has(lock: Path, mirror: Mirror) -> None:
    text = lock_jars.listed(COORDINATES, lock, Repository(mirror.url))

    assert [entry for entry in text.splitlines() if not entry.startswith("#")] == [
        entry for entry in lock.read_text().splitlines() if not entry.startswith("#")
    ]


def test_a_list_is_not_made_anew_over_a_jar_that_has_changed(lock: Path, mirror: Mirror) -> None:
    mirror.content["/org/example/one/1.0/one-1.0.jar"] = b"something else"

    with pytest.raises(StackError, match=r"org\.example:one:1\.0 has changed"):
        lock_jars.listed(COORDINATES, lock, Repository(mirror.url))


def test_names_of_files_say_which_version_they_are() -> None:
    assert Jar("org.example:one:1.0", "").file_name == "one-1.0.jar"
