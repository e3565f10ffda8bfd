"""Check the committed OpenAPI and AsyncAPI documents with redocly and Spectral (a part of `make check`).

Both run at once. What they say is shown where they find something: an error, or a warning.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from deploy import node
from tests.harness.documents import SERVICES, path_of

LINT_SECONDS_MAX = 300.0
OPENAPI = [str(path_of(service, "openapi").relative_to(node.ROOT)) for service in SERVICES]
ASYNCAPI = [str(path_of(service, "asyncapi").relative_to(node.ROOT)) for service in SERVICES]
# Neither asks its makers for anything.
ENVIRONMENT = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("@redocly/cli/bin/cli.js", "lint", "--format=stylish", *OPENAPI),
    ("@stoplight/spectral-cli/dist/index.js", "lint", "--fail-severity=warn", *OPENAPI, *ASYNCAPI),
)


def main() -> int:
    """0 when neither has found anything."""
    program = node.find().node
    with ThreadPoolExecutor(len(COMMANDS)) as threads:
        found = list(threads.map(lambda command: _run([*program, *_in_modules(command)]), COMMANDS))
    sys.stdout.write("".join(said for said in found if said))
    return 1 if any(found) else 0


def _in_modules(command: Sequence[str]) -> list[str]:
    return [str(node.ROOT / "node_modules" / command[0]), *command[1:]]


def _run(command: Sequence[str]) -> str:
    """What a tool says when it is not content; else nothing."""
    done = subprocess.run(
        command,
        cwd=node.ROOT,
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LINT_SECONDS_MAX,
    )
    return done.stdout if done.returncode != 0 or "warning" in done.stdout else ""


if __name__ == "__main__":
    sys.exit(main())
