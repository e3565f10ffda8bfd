"""Makes the lists of jars: resolves each `pom.xml` that is named and writes `jars.lock` beside it (a part of `make lock`).

    python -m deploy.devstack.lock_jars deploy/devstack/kafka/pom.xml

jgo resolves as Maven does. It runs out of uv's cache of tools: whoever only uses the lists never needs it.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.devstack import jars
from deploy.devstack.failures import StackError

RESOLVER = "jgo[cli]==3.2.0"
RESOLVE_TIMEOUT_SECONDS = 300
RESOLVED = re.compile(r"\s+(?P<coordinates>[\w.-]+:[\w.-]+:[\w.-]+)(:(compile|runtime))?", re.ASCII)
HEADER = "# Made by `make lock` of pom.xml: every jar with its SHA-256. Repositories keep a jar for good, so this list stays true.\n"


def main(arguments: Sequence[str]) -> int:
    """The command line; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.devstack.lock_jars", description="Resolve and hash jars.")
    parser.add_argument("pom", nargs="+", type=Path)
    try:
        for pom in parser.parse_args(arguments).pom:
            lock = pom.with_name("jars.lock")
            source = jars.repository(os.environ)
            lock.write_text(listed(resolve(pom, source), lock, source))
    except StackError as error:
        sys.stderr.write(f"lock_jars: {error}\n")
        return 1
    return 0


def resolve(pom: Path, source: jars.Repository) -> list[str]:
    """The coordinates of everything that the dependencies of `pom` need at run time."""
    with TemporaryDirectory(prefix="waybill-jars-") as folder:
        mirror = ["--repository", f"central:{source.url}"] if source.url else []
        command = [
            *(str(Path(sys.executable).with_name("uv")), "tool", "run", "--quiet", "--from", RESOLVER, "jgo"),
            *("--ignore-config", "--resolver", "python", "--color", "plain", "--wrap", "raw", *mirror),
            *("--repo-cache", f"{folder}/poms", "--cache-dir", f"{folder}/resolved", "list", str(pom)),
        ]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RESOLVE_TIMEOUT_SECONDS
        )
    found = sorted(
        match["coordinates"] for line in done.stdout.splitlines() if (match := RESOLVED.fullmatch(line)) is not None
    )
    if done.returncode != 0 or not found:
        raise StackError(f"{pom} could not be resolved: {(done.stdout + done.stderr).strip()[-2000:]}")
    return found


def listed(coordinates: Sequence[str], lock: Path, source: jars.Repository) -> str:
    """The text of the list; StackError where a jar is no longer the one that the present list names."""
    known = {jar.coordinates: jar.sha256 for jar in jars.read(lock)} if lock.exists() else {}
    with TemporaryDirectory(prefix="waybill-jars-") as folder, ThreadPoolExecutor(jars.FETCHES_AT_ONCE) as threads:
        hashes = list(threads.map(lambda one: jars.hash_of(one, source, Path(folder)), coordinates))
    for one, sha256 in zip(coordinates, hashes, strict=True):
        if known.get(one, sha256) != sha256:
            raise StackError(f"{one} has changed: its SHA-256 was {known[one]} and is {sha256}")
    lines = [f"{one} sha256:{sha256}\n" for one, sha256 in zip(coordinates, hashes, strict=True)]
    return HEADER + "".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
