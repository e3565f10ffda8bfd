"""Makes the secrets of an installation in Compose: passwords, keys and certificates, each in the folder of whoever needs it.

They are made at the first start and kept in `kept/secrets.json`; a value that the environment gives counts instead. Each folder is a volume
that one container can read. It runs in the image of identity, as root, because files are handed to the users of other images.
"""

import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from shared.access.signing_roots import SigningRoot
from shared.crypto import certificates

SERVICES = ("identity", "billing", "jobs", "webhooks")
APPLICATIONS = (*SERVICES, "console")
"""What has a database of its own; the services have a user of Kafka, too."""
SERVERS = {"kafka": ("kafka", "127.0.0.1", "localhost"), "postgres": ("postgres", "127.0.0.1", "localhost")}
OURS, POSTGRES, KAFKA = 10001, 999, 1000
"""Users of the images."""
CA_PATH = "/run/waybill/ca.pem"
LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required"


def main(folder: Path, environment: Mapping[str, str]) -> None:
    """Write every folder anew; what was made before stays the same."""
    kept = folder / "kept"
    file = kept / "secrets.json"
    made = {**_new(), **(json.loads(file.read_text()) if file.exists() else {})}
    _write(file, json.dumps(made, indent=2), os.getuid())
    values = made | {name: environment[name] for name in made if environment.get(name)}
    values["WAYBILL_SIGNING_ROOTS"] = (
        environment.get("WAYBILL_SIGNING_ROOTS")
        or SigningRoot(base64.b64decode(values["IDENTITY_SIGNING_ROOT_KEY"])).public_text
    )
    certificates.ensure(kept / "tls", SERVERS)
    for container, (user, contents) in _contents(values, kept / "tls").items():
        for name, content in contents.items():
            _write(folder / container / name, content, user)


def _new() -> dict[str, str]:
    return {
        "WAYBILL_KEY_PEPPERS": f"1:{_key()}",
        "WAYBILL_SECRET": _key(),
        "IDENTITY_SEALING_KEYS": f"1:{_key()}",
        "WEBHOOKS_SEALING_KEYS": f"1:{_key()}",
        "CONSOLE_SEALING_KEYS": f"1:{_key()}",
        "IDENTITY_SIGNING_ROOT_KEY": _key(),
        "WAYBILL_POSTGRES_PASSWORD": secrets.token_urlsafe(),
        **{f"{service.upper()}_DATABASE_PASSWORD": secrets.token_urlsafe() for service in APPLICATIONS},
        **{f"{user}@kafka": secrets.token_urlsafe() for user in ("admin", *SERVICES)},
    }


def _contents(values: Mapping[str, str], tls: Path) -> dict[str, tuple[int, dict[str, str]]]:
    """By folder: whose it is, and its files."""
    ca = (tls / certificates.CA_FILE).read_text()
    server = {name: (tls / name / certificates.SERVER_FILE).read_text() for name in SERVERS}
    passwords = {f"{service.upper()}_DATABASE_PASSWORD" for service in APPLICATIONS}
    login = f'{LOGIN} username="admin" password="{values["admin@kafka"]}";'
    users = {user: values[f"{user}@kafka"] for user in ("admin", *SERVICES)}
    return {
        "postgres": (POSTGRES, {"server.pem": server["postgres"], "password": values["WAYBILL_POSTGRES_PASSWORD"]}),
        "kafka": (
            KAFKA,
            {
                "ca.pem": ca,
                "server.pem": server["kafka"],
                "login.properties": "".join(
                    f"listener.name.{listener}.scram-sha-512.sasl.jaas.config={login}\n"
                    for listener in ("client", "host")
                ),
                "users": "".join(
                    f"--add-scram\nSCRAM-SHA-512=[name={user},password={password}]\n"
                    for user, password in users.items()
                ),
            },
        ),
        "operator": (
            OURS,
            {
                "ca.pem": ca,
                "WAYBILL_KAFKA_PASSWORD": users["admin"],
                "PGPASSWORD": values["WAYBILL_POSTGRES_PASSWORD"],
                **{name: values[name] for name in passwords},
            },
        ),
        **{service: (OURS, {"ca.pem": ca, **_of_service(service, values)}) for service in APPLICATIONS},
    }


def _of_service(service: str, values: Mapping[str, str]) -> dict[str, str]:
    prefix = service.upper()
    password = values[f"{prefix}_DATABASE_PASSWORD"]
    is_service = service in SERVICES
    shared = ("WAYBILL_KEY_PEPPERS", "WAYBILL_SECRET", "WAYBILL_SIGNING_ROOTS") if is_service else ()
    own = [name for name in values if name in (f"{prefix}_SEALING_KEYS", f"{prefix}_SIGNING_ROOT_KEY")]
    return {
        **{name: values[name] for name in (*shared, *own)},
        **({f"{prefix}_KAFKA_PASSWORD": values[f"{service}@kafka"]} if is_service else {}),
        f"{prefix}_DATABASE_URL": f"postgresql://waybill_{service}:{password}@postgres:5432/waybill_{service}"
        f"?sslmode=verify-full&sslrootcert={CA_PATH}",
    }


def _write(file: Path, content: str, user: int) -> None:
    """Whole or not at all, for this user alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as opened:
        opened.write(content)
    if user != os.getuid():
        os.chown(unfinished, user, user)
    unfinished.replace(file)


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


if __name__ == "__main__":
    main(Path(sys.argv[1]), os.environ)
