"""The OpenAPI and AsyncAPI documents of the services, as their own commands print them."""

import base64
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "contracts"
SERVICES = ("identity", "billing", "jobs", "webhooks")
KINDS = ("openapi", "asyncapi")
COMMAND_SECONDS = 120

_KEY = base64.b64encode(bytes(32)).decode()
_ENVIRONMENT = {
    "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "WAYBILL_KEY_PEPPERS": f"1:{_KEY}",
    "WAYBILL_SECRET": _KEY,
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
    pairs = list(product(SERVICES, KINDS))
    with ThreadPoolExecutor(2) as threads:
        return dict(zip(pairs, threads.map(_document, pairs), strict=True))


def _document(pair: tuple[str, str]) -> str:
    service, kind = pair
    command = [sys.executable, "-m", service, kind]
    # Nothing of the caller's own installation may show in the document.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WAYBILL_", *(f"{service.upper()}_" for service in SERVICES)))
    }
    done = subprocess.run(
        command, env={**inherited, **_ENVIRONMENT}, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True
    )
    return done.stdout
