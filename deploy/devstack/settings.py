"""What one private stack is: its home, its ports, its secrets, and the environment that each service gets from it.

Two environment variables tell stacks apart (`WAYBILL_HOME`, `WAYBILL_PORT_OFFSET`), two more name servers to use
instead of private ones (`WAYBILL_POSTGRES_URL`, `WAYBILL_KAFKA_BOOTSTRAP_SERVERS`). Secrets are made once per home.
"""

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypedDict, cast

from deploy.devstack import broker
from deploy.devstack.broker import Credentials, Node
from deploy.devstack.failures import StackError
from deploy.devstack.postgres import Cluster
from deploy.devstack.processes import LOOPBACK
from shared.access.signing_roots import SigningRoot
from shared.crypto.certificates import CA_FILE, SERVER_FILE

ROOT = Path(__file__).parents[2]
SERVICES = ("identity", "billing", "jobs", "webhooks")
APPLICATIONS = (*SERVICES, "console")
"""What has a database of its own: the services, and the console, which is on their API alone."""
HELPERS = ("receiver", "mailbox", "payments")
"""What a private installation has around the services: the other end of webhooks, of mail, and of payments."""
PORTS = {
    "console": 8000,
    "identity": 8001,
    "billing": 8002,
    "jobs": 8003,
    "webhooks": 8004,
    "receiver": 8009,
    "payments": 8010,
    "mailbox": 8025,
    "mailbox smtp": 8026,
    "kafka": 9092,
    "kafka controller": 9093,
    "postgres": 5442,
}
PORT_OFFSET_MAX = 65535 - max(PORTS.values())
SECRET_BYTES = 32
# supervisord listens on a Unix socket in the home, and systems limit such a path to some 100 bytes.
HOME_PATH_BYTES_MAX = 75
PASSED_ON = ("WAYBILL_ROLES", "WAYBILL_LOG_LEVEL", "WAYBILL_KAFKA_PREFIX")
CERTIFIED = {"kafka": (LOOPBACK, "localhost"), "postgres": (LOOPBACK, "localhost")}
"""Servers that get a certificate, with the names by which they are reached."""


class Secrets(TypedDict):
    """`secrets.json`: what a stack makes up once, so that a second start finds its own data again."""

    postgres_password: str
    database_passwords: dict[str, str]
    key_pepper: str
    secret: str
    identity_sealing_key: str
    webhooks_sealing_key: str
    console_sealing_key: str
    kafka_passwords: dict[str, str]
    signing_root_key: str
    payments_secret: str


@dataclass(frozen=True, kw_only=True)
class StackSettings:
    """One stack: everything else about it follows from these few values."""

    home: Path
    port_offset: int
    postgres_url: str | None
    kafka_bootstrap_servers: str | None
    passed_on: Mapping[str, str]

    def port(self, process: str) -> int:
        """The port of one of `PORTS` in this stack."""
        return PORTS[process] + self.port_offset

    def port_names(self, process: str) -> list[str]:
        """All of `PORTS` that one process listens on."""
        return [process, *{"kafka": ["kafka controller"], "mailbox": ["mailbox smtp"]}.get(process, [])]

    def helper_options(self, helper: str) -> list[str]:
        """Where one of `HELPERS` listens, as its command line takes it."""
        more = {
            "mailbox": ["--smtp-port", str(self.port("mailbox smtp"))],
            "payments": ["--notifies", f"{self.url('billing')}/v1/billing/providers/fake/notifications"],
        }
        return ["--port", str(self.port(helper)), *more.get(helper, [])]

    def helper_environment(self, helper: str) -> dict[str, str]:
        """The secrets of one of `HELPERS`."""
        if helper != "payments":
            return {}
        # A server, which few commands need.
        from deploy.devstack.payments import SECRET_VARIABLE

        return {SECRET_VARIABLE: self.secrets["payments_secret"]}

    def ready_path(self, process: str) -> str:
        """What one of the HTTP servers is asked: 200 is ready."""
        return {"receiver": "/received?limit=1", "mailbox": "/mail/messages?limit=1", "payments": "/charges"}.get(
            process, "/readyz"
        )

    def url(self, process: str) -> str:
        """Where one of the HTTP servers is reached."""
        return f"http://{LOOPBACK}:{self.port(process)}"

    def pid_file(self, process: str) -> Path:
        """Where the process id of one process stands while it runs."""
        return self.home / "run" / f"{process}.pid"

    def log_file(self, process: str) -> Path:
        """Where one process writes, rotated by supervisord."""
        return self.home / "logs" / f"{process}.log"

    @property
    def processes(self) -> tuple[str, ...]:
        """What this stack runs, in the order in which it is started."""
        own_servers = ("postgres",) * (not self.postgres_url) + ("kafka",) * (not self.kafka_bootstrap_servers)
        return (*own_servers, *APPLICATIONS, *HELPERS)

    @property
    def demo_file(self) -> Path:
        """`demo.json`: addresses and credentials for people and tools."""
        return self.home / "demo.json"

    @property
    def prepared_file(self) -> Path:
        """Exists while databases and topics are as the services need them: they wait for it."""
        return self.home / "run" / "prepared"

    @property
    def secrets_file(self) -> Path:
        """`secrets.json`, which also marks a folder as a stack's home."""
        return self.home / "secrets.json"

    @cached_property
    def secrets(self) -> Secrets:
        """The secrets of this home; it must have been prepared."""
        return cast(Secrets, json.loads(self.secrets_file.read_text()))

    @property
    def cluster(self) -> Cluster:
        """The private PostgreSQL."""
        return Cluster(
            folder=self.home / "postgres",
            port=self.port("postgres"),
            password=self.secrets["postgres_password"],
            pid_file=self.pid_file("postgres"),
            server_file=self.certificates / "postgres" / SERVER_FILE,
        )

    @property
    def certificates(self) -> Path:
        """The folder of what `shared.crypto.certificates` makes."""
        return self.home / "tls"

    @property
    def kafka_ca_file(self) -> Path | None:
        """By what the private Kafka is recognised; None where another one is used."""
        return None if self.kafka_bootstrap_servers else self.certificates / CA_FILE

    @property
    def kafka_client_file(self) -> Path:
        """Settings with which Kafka's own tools are `admin`."""
        return self.home / "kafka" / "admin.properties"

    @property
    def node(self) -> Node:
        """The private Kafka."""
        return Node(
            folder=self.home / "kafka",
            port=self.port("kafka"),
            controller_port=self.port("kafka controller"),
            pid_file=self.pid_file("kafka"),
            credentials=Credentials(
                ca_file=self.certificates / CA_FILE,
                server_file=self.certificates / "kafka" / SERVER_FILE,
                passwords=self.secrets["kafka_passwords"],
            ),
        )

    @property
    def postgres_admin_url(self) -> str:
        """Where the databases are made: the existing server, else the private one."""
        return self.postgres_url or self.cluster.admin_url

    @property
    def kafka(self) -> str:
        """Bootstrap servers of the existing cluster, else of the private one."""
        return self.kafka_bootstrap_servers or f"{LOOPBACK}:{self.port('kafka')}"

    def kafka_environment(self, user: str, *, prefix: str = "WAYBILL") -> dict[str, str]:
        """How `user` reaches Kafka. To another than the private one it goes as the environment says."""
        if self.kafka_ca_file is None:
            return {"WAYBILL_KAFKA_BOOTSTRAP_SERVERS": self.kafka}
        return {
            "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "WAYBILL_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "WAYBILL_KAFKA_CA_FILE": str(self.kafka_ca_file),
            f"{prefix}_KAFKA_USERNAME": user,
            f"{prefix}_KAFKA_PASSWORD": self.secrets["kafka_passwords"][user],
        }

    def service_environment(self, service: str, database_url: str) -> dict[str, str]:
        """Every variable that `service` gets: its own and the shared ones, no other service's secrets."""
        if service == "console":
            return self._console_environment(database_url)
        prefix = service.upper()
        environment = {
            f"{prefix}_DATABASE_URL": database_url,
            f"{prefix}_HOST": LOOPBACK,
            f"{prefix}_PORT": str(self.port(service)),
            **self.kafka_environment(service, prefix=prefix),
            "WAYBILL_INSTANCE": "devstack",
            "WAYBILL_KEY_PEPPERS": f"1:{self.secrets['key_pepper']}",
            "WAYBILL_SECRET": self.secrets["secret"],
            "WAYBILL_SIGNING_ROOTS": SigningRoot(base64.b64decode(self.secrets["signing_root_key"])).public_text,
            **self.passed_on,
        }
        if service == "identity":
            environment["IDENTITY_SEALING_KEYS"] = f"1:{self.secrets['identity_sealing_key']}"
            environment["IDENTITY_SIGNING_ROOT_KEY"] = self.secrets["signing_root_key"]
            environment["IDENTITY_SMTP_URL"] = f"smtp://{LOOPBACK}:{self.port('mailbox smtp')}"
            environment["IDENTITY_CONSOLE_BASE_URL"] = self.url("console")
        if service == "billing":
            environment["BILLING_PAYMENT_PROVIDER"] = "fake"
            environment["BILLING_CHECKOUT_RETURN_URL"] = f"{self.url('console')}/billing"
            environment["BILLING_FAKE_PROVIDER_URL"] = self.url("payments")
            environment["BILLING_FAKE_PROVIDER_SECRET"] = self.secrets["payments_secret"]
        if service == "webhooks":
            environment["WEBHOOKS_SEALING_KEYS"] = f"1:{self.secrets['webhooks_sealing_key']}"
            # The receiver of the demo listens on loopback without TLS; by default both are refused.
            environment["WEBHOOKS_ALLOWED_PRIVATE_NETWORKS"] = "127.0.0.0/8,::1/128"
            environment["WEBHOOKS_ALLOW_HTTP"] = "true"
        return environment

    def _console_environment(self, database_url: str) -> dict[str, str]:
        return {
            "CONSOLE_DATABASE_URL": database_url,
            "CONSOLE_HOST": LOOPBACK,
            "CONSOLE_PORT": str(self.port("console")),
            "CONSOLE_BASE_URL": self.url("console"),
            # Browsers of this machine reach it without TLS.
            "CONSOLE_ALLOW_HTTP": "true",
            "CONSOLE_SEALING_KEYS": f"1:{self.secrets['console_sealing_key']}",
            **{f"CONSOLE_{service.upper()}_URL": self.url(service) for service in SERVICES},
            **{name: value for name, value in self.passed_on.items() if name != "WAYBILL_KAFKA_PREFIX"},
        }


def read_settings(environment: Mapping[str, str]) -> StackSettings:
    """The stack that these environment variables describe; StackError where one of them cannot be used."""
    told_offset = environment.get("WAYBILL_PORT_OFFSET", "0") or "0"
    if not told_offset.isdecimal() or int(told_offset) > PORT_OFFSET_MAX:
        raise StackError(f"WAYBILL_PORT_OFFSET must be a number from 0 to {PORT_OFFSET_MAX}, not {told_offset!r}")
    home = Path(environment.get("WAYBILL_HOME") or ROOT / ".waybill").expanduser().resolve()
    if len(os.fsencode(home)) > HOME_PATH_BYTES_MAX:
        raise StackError(
            f"the path {home} is too long for a Unix socket inside it: set WAYBILL_HOME to a folder"
            f" with at most {HOME_PATH_BYTES_MAX} bytes in its path"
        )
    if "%" in str(home):  # supervisord expands it, in some of its settings twice
        raise StackError(f"the path {home} has a % in it: set WAYBILL_HOME to a folder without one")
    return StackSettings(
        home=home,
        port_offset=int(told_offset),
        postgres_url=environment.get("WAYBILL_POSTGRES_URL") or None,
        kafka_bootstrap_servers=environment.get("WAYBILL_KAFKA_BOOTSTRAP_SERVERS") or None,
        passed_on={name: environment[name] for name in PASSED_ON if environment.get(name)},
    )


def prepare_home(settings: StackSettings) -> None:
    """Make the home with its secrets, for us alone; StackError where the folder holds something else."""
    if not settings.secrets_file.exists() and settings.home.exists() and any(settings.home.iterdir()):
        raise StackError(f"{settings.home} holds other files already: set WAYBILL_HOME to a folder of its own")
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.home.chmod(0o700)
    for folder in ("run", "logs"):
        (settings.home / folder).mkdir(mode=0o700, exist_ok=True)
    kept = json.loads(settings.secrets_file.read_text()) if settings.secrets_file.exists() else {}
    new: Secrets = {
        "postgres_password": _password(),
        "database_passwords": {name: _password() for name in APPLICATIONS},
        "key_pepper": _secret(),
        "secret": _secret(),
        "identity_sealing_key": _secret(),
        "webhooks_sealing_key": _secret(),
        "console_sealing_key": _secret(),
        "kafka_passwords": {user: _password() for user in (broker.ADMIN, *SERVICES)},
        "signing_root_key": _secret(),
        "payments_secret": _secret(),
    }
    passwords = {**new["database_passwords"], **kept.get("database_passwords", {})}
    wanted = {**new, **kept, "database_passwords": passwords}
    if wanted != kept:
        write_private(settings.secrets_file, json.dumps(wanted, indent=2) + "\n")


def write_private(file: Path, text: str) -> None:
    """Write a file that only we may read, whole or not at all."""
    unfinished = file.with_name(file.name + ".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    unfinished.replace(file)


def _password() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


def _secret() -> str:
    return base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
