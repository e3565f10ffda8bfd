"""The generators of clients: how each makes a client of an OpenAPI document, compiles it, and runs the program that uses it.

Everything is made in one folder outside the checkout. `Failed` says what a program wrote before it failed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy import node
from deploy.devstack import jars

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
PACKAGES = ROOT / ".venv-clients"
LOCK = ROOT / "requirements.clients.lock"
STEP_SECONDS_MAX = 900.0
WALKING_SERVICE = "jobs"
"""The service whose client is not only compiled but used."""
SKIPPED = "Endpoint will not be generated"
"""What openapi-python-client says of a route for which it makes nothing, without failing."""
IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
    importlib.import_module(module.name)
"""


class Failed(Exception):
    """A step failed; the message is its command with what it wrote."""


@dataclass(frozen=True, slots=True)
class Generator:
    """One generator. `make` generates and compiles the client of a service; `program` prepares what uses it, and says how to run that."""

    name: str
    make: Callable[[str, Path, Path], None]
    program: Callable[[Path], Sequence[str]]
    needs: tuple[str, ...] = ()
    """Programs that must be on the path."""


def run(*command: str | Path, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a program writes to its standard output. Raises `Failed`."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, "PATH": f"{PACKAGES / 'bin'}{os.pathsep}{os.environ['PATH']}", **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=STEP_SECONDS_MAX,
    )
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}\n{(done.stdout + done.stderr)[-6000:]}")
    return done.stdout


def install() -> None:
    """Make the environment of the generators that are Python packages, apart from that of the project. Raises `Failed`."""
    uv = Path(sys.executable).with_name("uv")
    if not PACKAGES.exists():
        run(uv, "venv", "--quiet", "--python", sys.executable, PACKAGES, folder=ROOT)
    python = PACKAGES / "bin/python"
    run(uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, LOCK, folder=ROOT)


def _openapi_generator(language: str, document: Path, target: Path, *options: str) -> None:
    # The program itself brings a Java; what it writes is of use only when it fails.
    command = ("openapi-generator-cli", "generate", "--generator-name", language, "--input-spec", str(document))
    run(*command, "--output", str(target), *options, folder=document.parent)


def _make_go(service: str, document: Path, folder: Path) -> None:
    target = folder / "go" / service
    _openapi_generator(
        "go", document, target, "--git-host=waybill", "--git-user-id=clients", f"--git-repo-id={service}",
        f"--additional-properties=packageName={service},withGoMod=true",
    )  # fmt: skip
    # Its own tests need a library of others, and test nothing.
    shutil.rmtree(target / "test", ignore_errors=True)
    run("go", "vet", ".", folder=target)


def _go_program(folder: Path) -> Sequence[str]:
    target = folder / "go" / WALKING_SERVICE
    (target / "walk").mkdir()
    shutil.copyfile(FOLDER / "go/main.go", target / "walk/main.go")
    run("go", "build", "-o", "walking", "./walk", folder=target)
    return [str(target / "walking")]


def _make_python(service: str, document: Path, folder: Path) -> None:
    target = folder / "python" / service
    _openapi_generator("python", document, target, f"--additional-properties=packageName={service}_client")
    run("python", "-c", IMPORT_ALL, f"{service}_client", folder=target)


def _python_program(folder: Path) -> Sequence[str]:
    shutil.copyfile(FOLDER / "python/walk.py", folder / "python" / WALKING_SERVICE / "walk.py")
    return [str(PACKAGES / "bin/python"), str(folder / "python" / WALKING_SERVICE / "walk.py")]


def _make_python_client(service: str, document: Path, folder: Path) -> None:
    target = folder / "python_client" / service
    target.mkdir(parents=True)
    package = f"{service}_httpx_client"
    command = ("openapi-python-client", "generate", "--meta", "none", "--path", document, "--output-path", package)
    said = run(*command, folder=target)
    if SKIPPED in said:
        raise Failed(f"openapi-python-client skips a route of {service}:\n{said[-6000:]}")
    run("python", "-c", IMPORT_ALL, package, folder=target)


def _python_client_program(folder: Path) -> Sequence[str]:
    program = folder / "python_client" / WALKING_SERVICE / "walk.py"
    shutil.copyfile(FOLDER / "python_client/walk.py", program)
    return [str(PACKAGES / "bin/python"), str(program)]


def _make_java(service: str, document: Path, folder: Path) -> None:
    target = folder / "java" / service
    package = f"waybill.{service}"
    _openapi_generator(
        "java", document, target,
        "--global-property=apiTests=false,modelTests=false,apiDocs=false,modelDocs=false",
        f"--additional-properties=invokerPackage={package},apiPackage={package}.api,modelPackage={package}.model,"
        "useSingleRequestParameter=true",
    )  # fmt: skip
    sources = sorted((target / "src/main/java").rglob("*.java"))
    _compile_java(target, [str(source) for source in sources])


def _compile_java(target: Path, sources: Sequence[str]) -> None:
    listed = target / "sources"
    listed.write_text("\n".join(sources))
    path = os.pathsep.join([str(target / "classes"), *_java_libraries()])
    run("javac", "-nowarn", "-encoding", "UTF-8", "-d", "classes", "-cp", path, f"@{listed}", folder=target)


def _java_libraries() -> list[str]:
    return sorted(str(jar) for jar in jars.ensure(FOLDER / "java/jars.lock").glob("*.jar"))


def _java_program(folder: Path) -> Sequence[str]:
    target = folder / "java" / WALKING_SERVICE
    _compile_java(target, [str(FOLDER / "java/Walk.java")])
    return ["java", "-cp", os.pathsep.join([str(target / "classes"), *_java_libraries()]), "Walk"]


def _make_typescript(service: str, document: Path, folder: Path) -> None:
    target = _typescript(folder)
    program = node.find().node
    run(*program, "node_modules/openapi-typescript/bin/cli.js", document, "--output", f"{service}.ts", folder=target)
    run(*program, "node_modules/typescript/bin/tsc", *STRICT, "--noEmit", f"{service}.ts", folder=target)


STRICT = ("--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--module", "nodenext")


def _typescript(folder: Path) -> Path:
    target = folder / "typescript"
    if not target.exists():
        shutil.copytree(FOLDER / "typescript", target, ignore=shutil.ignore_patterns("node_modules"))
        node.install_packages(target)
    return target


def _typescript_program(folder: Path) -> Sequence[str]:
    target = _typescript(folder)
    program = node.find().node
    tsc = "node_modules/typescript/bin/tsc"
    run(*program, tsc, *STRICT, "--types", "node", "--skipLibCheck", "--outDir", "built", "walk.ts", folder=target)
    return [*program, str(target / "built/walk.js")]


GENERATORS = (
    Generator("openapi-generator go", _make_go, _go_program, needs=("go",)),
    Generator("openapi-generator python", _make_python, _python_program),
    Generator("openapi-generator java", _make_java, _java_program, needs=("java", "javac")),
    Generator("openapi-typescript", _make_typescript, _typescript_program),
    Generator("openapi-python-client", _make_python_client, _python_client_program),
)
