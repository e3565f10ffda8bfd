"""The OpenAPI and AsyncAPI documents of the services, as their own commands print them.

As a program, it prints all of them as JSON.
"""

import base64
import io
import json
import os
import runpy
import subprocess
import sys
from contextlib import redirect_stdout
from itertools import product
from pathlib import Path

from tests.harness.bodies import SIGNING_ROOT, SIGNING_ROOT_KEY

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests/contracts"
SERVICES = ("identity", "billing", "jobs", "webhooks")
KINDS = ("openapi", "asyncapi")
COMMAND_SECONDS = 120

_KEY = base64.b64encode(bytes(32)).decode()
ENVIRONMENT = {
    "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "WAYBILL_KEY_PEPPERS": f"1:{_KEY}",
    "WAYBILL_SECRET": _KEY,
    "WAYBILL_SIGNING_ROOTS": SIGNING_ROOT.public_text,
    "IDENTITY_SIGNING_ROOT_KEY": SIGNING_ROOT_KEY,
    "IDENTITY_SEALING_KEYS": f"1:{_KEY}",
    "WEBHOOKS_SEALING_KEYS": f"1:{_KEY}",
    **{f"{service.upper()}_DATABASE_URL": "postgresql://u:p@127.0.0.1/db" for service in SERVICES},
    **{f"{service.upper()}_PORT": str(8001 + number) for number, service in enumerate(SERVICES)},
}


def path_of(service: str, kind: str) -> Path:
    """Where the document is committed."""
    return FOLDER / kind / f"{service}.json"


def generate() -> dict[tuple[str, str], str]:
    """All documents by service and kind. Raises `CalledProcessError` when a command fails."""
    # Nothing of the caller's own installation may show in a document.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WAYBILL_", *(f"{service.upper()}_" for service in SERVICES)))
    }
    # One process for all of them: what they import takes longer than what they do.
    done = subprocess.run(
        [sys.executable, "-m", "tests.harness.documents"],
        cwd=ROOT,
        env={**inherited, **ENVIRONMENT},
        stdout=subprocess.PIPE,
        text=True,
        timeout=COMMAND_SECONDS,
        check=True,
    )
    return {(service, kind): text for service, kind, text in json.loads(done.stdout)}


def _document(service: str, kind: str) -> str:
    """What `python -m <service> <kind>` prints."""
    printed = io.StringIO()
    sys.argv = [service, kind]
    with redirect_stdout(printed):
        runpy.run_module(service, run_name="__main__", alter_sys=True)
    return printed.getvalue()


if __name__ == "__main__":
    documents = [(service, kind, _document(service, kind)) for service, kind in product(SERVICES, KINDS)]
    sys.stdout.write(json.dumps(documents))
