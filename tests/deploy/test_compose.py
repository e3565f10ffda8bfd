"""docker-compose.yml against what the services really want: their settings, their ports, the order in which they start."""

import os
import re
import runpy
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

import billing.config
import console.config
import identity.config
import jobs.config
import webhooks.config
from deploy.devstack import jars
from deploy.devstack.broker import ADMIN, JARS, SECURED_SETTINGS_FILE, SETTINGS_FILE
from deploy.devstack.payments import SECRET_VARIABLE
from deploy.devstack.settings import APPLICATIONS, PORTS, SERVICES
from shared.chassis.settings import ProcessSettings, load_settings
from shared.messaging import topics
from shared.service.settings import ServiceSettings
from tests.harness.images import HealthServer
from tests.harness.stack import KAFKA_IMAGE, POSTGRES_IMAGE

ROOT = Path(__file__).parents[2]
SETTINGS: Mapping[str, type[ProcessSettings]] = {
    "identity": identity.config.Settings,
    "billing": billing.config.Settings,
    "jobs": jobs.config.Settings,
    "webhooks": webhooks.config.Settings,
    "console": console.config.Settings,
}
MIGRATIONS = tuple(f"{service}-migration" for service in APPLICATIONS)
STEPS = ("secrets", "databases", "topics", *MIGRATIONS, "billing-plans")
OWN_IMAGES = (*STEPS, *APPLICATIONS)
KEPT_RUNNING = ("postgres", "kafka", *APPLICATIONS)
SECRETS_PATH = "/run/waybill"
VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+):-(?P<default>[^}]*)\}")

Container = dict[str, Any]


def text() -> str:
    return (ROOT / "docker-compose.yml").read_text()


def containers(environment: Mapping[str, str] | None = None) -> dict[str, Container]:
    """The containers as Compose understands them where these variables are set."""
    given = environment or {}
    filled = VARIABLE.sub(lambda match: given.get(match["name"]) or match["default"], text())
    return cast(dict[str, Container], yaml.safe_load(filled)["services"])


def demo() -> dict[str, Container]:
    return cast(dict[str, Container], yaml.safe_load((ROOT / "deploy/compose/demo.yml").read_text())["services"])


def make_secrets(folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """What the step `secrets` does, in a folder of ours. That it hands files to users of other images, root alone can do."""
    step: Callable[..., None] = runpy.run_path(str(ROOT / "deploy/compose/make_secrets.py"))["main"]
    with pytest.MonkeyPatch.context() as patch:
        if os.geteuid() != 0:
            patch.setattr(os, "chown", lambda *_: None)
        step(folder, environment or {})


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The volumes after a first start."""
    folder = tmp_path_factory.mktemp("secrets")
    make_secrets(folder)
    return folder


def settings_of(
    service: str,
    container: Container,
    secrets: Path,
    monkeypatch: pytest.MonkeyPatch,
    own_environment: Mapping[str, str],
) -> ProcessSettings:
    """The settings that a service reads in this container, and nowhere else."""
    for name in own_environment:
        monkeypatch.delenv(name, raising=False)
    for name, value in container["environment"].items():
        monkeypatch.setenv(name, value)
    assert container["volumes"] == [f"secrets-{service}:{SECRETS_PATH}:ro"]
    monkeypatch.setenv("WAYBILL_SECRETS_DIR", str(secrets / service))
    return load_settings(SETTINGS[service])


def variables_of(service: str) -> dict[str, str]:
    """Every environment variable that a service reads, with the name of its setting."""
    settings = SETTINGS[service]
    prefix = str(settings.model_config.get("env_prefix", ""))
    return {
        str(field.validation_alias) if field.validation_alias else f"{prefix}{name}".upper(): name
        for name, field in settings.model_fields.items()
    }


@pytest.mark.parametrize("service", APPLICATIONS)
def test_each_service_accepts_its_environment(service: str, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = variables_of(service)
    for name in (service, f"{service}-migration"):
        settings = settings_of(service, containers()[name], secrets, monkeypatch, variables)

        assert settings.host == "0.0.0.0"
        assert settings.port == PORTS[service]
        assert isinstance(settings, ServiceSettings | console.config.Settings)
        database = urlsplit(settings.database_url)
        assert (database.hostname, database.username, database.path) == (
            "postgres",
            f"waybill_{service}",
            f"/waybill_{service}",
        )
        assert parse_qs(database.query) == {"sslmode": ["verify-full"], "sslrootcert": [f"{SECRETS_PATH}/ca.pem"]}
        if isinstance(settings, ServiceSettings):
            assert (settings.kafka_security_protocol, settings.kafka_username) == ("SASL_SSL", service)
            assert str(settings.kafka_ca_file) == f"{SECRETS_PATH}/ca.pem"


@pytest.mark.parametrize("service", APPLICATIONS)
def test_no_service_gets_a_variable_that_it_does_not_read(service: str) -> None:
    variables = variables_of(service)
    for name in (service, f"{service}-migration"):
        assert set(containers()[name]["environment"]) - set(variables) == {"WAYBILL_SECRETS_DIR"}


def test_nothing_is_loosened_but_for_the_demo_and_there_only_webhooks_own_loopback() -> None:
    assert "ALLOW" not in text()
    environment = demo()["webhooks"]["environment"]

    assert environment["WEBHOOKS_ALLOWED_PRIVATE_NETWORKS"] == "127.0.0.0/8,::1/128"
    assert set(environment) < set(variables_of("webhooks"))
    assert demo()["receiver"]["network_mode"] == "service:webhooks"
    assert demo()["webhooks"]["ports"] == [f"127.0.0.1:{PORTS['receiver']}:{PORTS['receiver']}"]


def test_the_console_of_the_demo_is_for_browsers_of_this_machine() -> None:
    environment = demo()["console"]["environment"]

    assert environment == {"CONSOLE_BASE_URL": f"http://127.0.0.1:{PORTS['console']}", "CONSOLE_ALLOW_HTTP": "true"}
    assert containers()["console"]["ports"] == [f"127.0.0.1:{PORTS['console']}:8000"]
    for service in SERVICES:
        assert (
            containers()["console"]["environment"][f"CONSOLE_{service.upper()}_URL"]
            == f"http://{service}:{PORTS[service]}"
        )


def test_mail_of_the_demo_ends_in_its_mailbox() -> None:
    ports = {"--port": str(PORTS["mailbox"]), "--smtp-port": str(PORTS["mailbox smtp"])}
    command = demo()["mailbox"]["command"]
    settings = demo()["identity"]["environment"]

    assert {option: command[command.index(option) + 1] for option in ports} == ports
    assert settings["IDENTITY_SMTP_URL"] == f"smtp://mailbox:{PORTS['mailbox smtp']}"
    assert demo()["mailbox"]["ports"] == [f"127.0.0.1:{PORTS['mailbox']}:{PORTS['mailbox']}"]
    assert set(settings) <= set(variables_of("identity"))


def test_the_demo_pays_at_a_provider_that_takes_no_money() -> None:
    command, port = demo()["payments"]["command"], PORTS["payments"]
    settings = demo()["billing"]["environment"]

    options = dict(zip(command[3::2], command[4::2], strict=True))
    assert options["--port"] == str(port)
    assert options["--shown-at"] == f"http://127.0.0.1:{port}"
    assert options["--notifies"] == f"http://billing:{PORTS['billing']}/v1/billing/providers/fake/notifications"
    assert settings["BILLING_FAKE_PROVIDER_URL"] == f"http://payments:{port}"
    assert settings["BILLING_CHECKOUT_RETURN_URL"] == f"http://127.0.0.1:{PORTS['console']}/billing"
    assert demo()["payments"]["environment"] == {SECRET_VARIABLE: settings["BILLING_FAKE_PROVIDER_SECRET"]}
    assert demo()["payments"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert set(settings) <= set(variables_of("billing"))


def test_no_secret_has_a_default_and_each_first_start_makes_others(secrets: Path, tmp_path: Path) -> None:
    assert not [
        match["name"]
        for match in VARIABLE.finditer(text())
        if re.search("KEY|SECRET|PASSWORD", match["name"]) and match["default"]
    ]
    before = {file: file.read_text() for file in secrets.rglob("*") if file.is_file()}
    make_secrets(secrets)
    make_secrets(tmp_path)
    others = {(tmp_path / file.relative_to(secrets)).read_text() for file in before}

    assert not others & {content for file, content in before.items() if file.name != "users"}
    # A second start changes nothing, and nobody but its user may read a file.
    assert {file: file.read_text() for file in before} == before
    modes = {
        stat.S_IMODE(file.stat().st_mode) & 0o077 for file in before if file.name != "ca.pem" or "tls" not in file.parts
    }
    assert modes == {0}


def test_a_given_value_counts_instead(tmp_path: Path) -> None:
    make_secrets(tmp_path, {"JOBS_DATABASE_PASSWORD": "chosen-for-jobs", "WAYBILL_SECRET": ""})

    assert urlsplit((tmp_path / "jobs/JOBS_DATABASE_URL").read_text()).password == "chosen-for-jobs"
    assert (tmp_path / "operator/JOBS_DATABASE_PASSWORD").read_text() == "chosen-for-jobs"
    assert "chosen-for-jobs" not in "".join(file.read_text() for file in (tmp_path / "webhooks").iterdir())
    assert (tmp_path / "jobs/WAYBILL_SECRET").read_text() != ""


def test_each_container_gets_its_own_secrets_alone() -> None:
    holders = {"postgres": "postgres", "kafka": "kafka", "databases": "operator", "topics": "operator"}
    holders |= {name: service for service in APPLICATIONS for name in (service, f"{service}-migration")}
    holders |= {"billing-plans": "billing"}

    for name, container in containers().items():
        mounted = [volume for volume in container.get("volumes", []) if volume.startswith("secrets-")]
        if name != "secrets":
            assert mounted == [f"secrets-{holders[name]}:{SECRETS_PATH}:ro"], name
    step = containers()["secrets"]
    assert {volume.partition(":")[0] for volume in step["volumes"][1:]} == {
        "secrets-kept",
        *(f"secrets-{holder}" for holder in holders.values()),
    }
    assert (step["cap_drop"], step["cap_add"], step["network_mode"]) == (["ALL"], ["CHOWN"], "none")


def test_every_container_of_a_service_runs_the_image_of_that_service() -> None:
    found = containers()

    for service in APPLICATIONS:
        build = found[service]["build"]
        assert found[service]["image"] == found[f"{service}-migration"]["image"] == f"waybill-{service}"
        assert build["args"] == {"SERVICE": service}
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()
        assert "command" not in found[service]
        assert found[f"{service}-migration"]["command"] == ["python", "-m", service, "migrate"]
    # A step has no image of its own to build, and nobody to fetch it from.
    for step in ("secrets", "topics", "billing-plans", *MIGRATIONS):
        assert "build" not in found[step]
        assert found[step]["pull_policy"] == "never"
        assert found[step]["image"] in {found[service]["image"] for service in APPLICATIONS}


def test_the_servers_are_those_that_everything_is_tested_with() -> None:
    found = containers()

    assert found["postgres"]["image"] == found["databases"]["image"] == POSTGRES_IMAGE
    assert found["kafka"]["image"] == KAFKA_IMAGE
    image_version = KAFKA_IMAGE.rpartition(":")[2]
    assert f"org.apache.kafka:kafka_2.13:{image_version}" in {jar.coordinates for jar in jars.read(JARS)}


def test_ports_are_the_usual_ones_and_on_loopback_alone() -> None:
    published = {
        name: [tuple(port.rsplit(":", 2)) for port in container.get("ports", [])]
        for name, container in containers().items()
    }

    assert {address for ports in published.values() for address, _, _ in ports} == {"127.0.0.1"}
    by_service = {name: [int(port) for _, port, _ in ports] for name, ports in published.items() if ports}
    assert by_service == {
        "identity": [PORTS["identity"]],
        "billing": [PORTS["billing"]],
        "jobs": [PORTS["jobs"]],
        "webhooks": [PORTS["webhooks"]],
        "console": [PORTS["console"]],
        "kafka": [PORTS["kafka"]],
        "postgres": [PORTS["postgres"]],
    }
    for service in APPLICATIONS:
        assert published[service][0][2] == containers()[service]["environment"][f"{service.upper()}_PORT"]


def test_each_part_starts_after_what_it_needs() -> None:
    found = containers()
    needs = {
        name: {other: how["condition"] for other, how in container.get("depends_on", {}).items()}
        for name, container in found.items()
    }
    healthy, completed = "service_healthy", "service_completed_successfully"

    assert needs["secrets"] == {}
    assert needs["postgres"] == needs["kafka"] == {"secrets": completed}
    assert needs["databases"] == {"postgres": healthy}
    assert needs["topics"] == {"kafka": healthy}
    for service in APPLICATIONS:
        assert needs[f"{service}-migration"] == {"databases": completed, "secrets": completed}
    assert needs["console"] == {"postgres": healthy, "console-migration": completed}
    for service in SERVICES:
        assert needs[service] == {
            "postgres": healthy,
            "kafka": healthy,
            "topics": completed,
            f"{service}-migration": completed,
        }
    assert needs["billing-plans"] == {"billing-migration": completed}
    for step in STEPS:
        assert found[step]["restart"] == "no"
    for name in KEPT_RUNNING:
        assert found[name]["restart"] == "unless-stopped"
    assert set(found) == {*STEPS, *KEPT_RUNNING}


def test_the_topics_step_makes_the_topics_of_this_repository() -> None:
    step = containers()["topics"]

    assert step["command"][:3] == ["python", "-m", "shared.messaging.topics"]
    assert step["command"][4:] == ["--access"]
    assert step["environment"]["WAYBILL_KAFKA_USERNAME"] == ADMIN
    assert topics.load(ROOT / step["command"][3])
    assert f"COPY {step['command'][3]} {step['command'][3]}\n" in (ROOT / "deploy" / "Dockerfile").read_text()
    servers = {containers()[name]["environment"]["WAYBILL_KAFKA_BOOTSTRAP_SERVERS"] for name in ("topics", *SERVICES)}
    assert servers == {step["environment"]["WAYBILL_KAFKA_BOOTSTRAP_SERVERS"]}


def test_kafka_is_set_by_the_files_and_reached_by_its_advertised_names(secrets: Path) -> None:
    kafka = containers()["kafka"]
    script = (ROOT / "deploy/compose/kafka.sh").read_text()
    mounted = dict(volume.removesuffix(":ro").split(":") for volume in kafka["volumes"] if volume.startswith("./"))
    files = [SETTINGS_FILE, SECURED_SETTINGS_FILE, ROOT / "deploy/compose/kafka.properties"]
    lines = [line for file in files for line in file.read_text().splitlines() if line and not line.startswith("#")]
    settings = dict(line.split("=", 1) for line in lines)

    read = script.partition("cat ")[2].partition(" >")[0].split()
    assert read == [*(mounted[f"./{file.relative_to(ROOT)}"] for file in files), f"{SECRETS_PATH}/login.properties"]
    assert kafka["entrypoint"] == ["bash", mounted["./deploy/compose/kafka.sh"]]
    assert settings["auto.create.topics.enable"] == "false"
    listeners = dict(entry.split("://") for entry in settings["listeners"].split(","))
    advertised = dict(entry.split("://") for entry in settings["advertised.listeners"].split(","))
    inner, controller = settings["inter.broker.listener.name"], settings["controller.listener.names"]
    assert advertised[inner] == containers()["jobs"]["environment"]["WAYBILL_KAFKA_BOOTSTRAP_SERVERS"]
    assert advertised["HOST"] == f"127.0.0.1:{PORTS['kafka']}"
    assert settings["controller.quorum.voters"] == f"{settings['node.id']}@{listeners[controller]}"
    protocols = dict(entry.split(":") for entry in settings["listener.security.protocol.map"].split(","))
    assert {protocols[listener] for listener in advertised} == {"SASL_SSL"}
    assert protocols[controller] == "SSL"
    assert listeners[inner].rpartition(":")[2] == advertised[inner].rpartition(":")[2]
    assert f"/{listeners[inner].rpartition(':')[2]}" in kafka["healthcheck"]["test"][-1]
    logins = (secrets / "kafka/login.properties").read_text()
    assert {line.split(".")[2] for line in logins.splitlines()} == {listener.lower() for listener in advertised}
    users = re.findall(r"name=(\w+),password=", (secrets / "kafka/users").read_text())
    assert users == [ADMIN, *SERVICES]


def test_postgresql_takes_connections_over_a_network_by_tls_alone() -> None:
    postgres = containers()["postgres"]
    options = dict(option.split("=", 1) for option in postgres["command"] if "=" in option)
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in postgres["volumes"]}
    rules = (ROOT / mounted[options["hba_file"]]).read_text().splitlines()

    assert (options["ssl"], options["ssl_cert_file"]) == ("on", options["ssl_key_file"])
    assert {line.split()[0] for line in rules if line and not line.startswith("#")} == {"local", "hostssl"}
    assert containers()["databases"]["environment"]["PGSSLMODE"] == "verify-full"


def test_the_database_step_makes_the_database_of_every_service() -> None:
    step = containers()["databases"]
    script = (ROOT / "deploy" / "compose" / "databases.sh").read_text()

    made = re.findall(r'^make_database (\w+) "\$\(cat /run/waybill/(\w+)\)"$', script, re.MULTILINE)
    assert made == [(service, f"{service.upper()}_DATABASE_PASSWORD") for service in APPLICATIONS]
    mounted = dict(volume.removesuffix(":ro").split(":") for volume in step["volumes"] if volume.startswith("./"))
    assert {ROOT / path for path in mounted} == {
        ROOT / "deploy" / "compose" / "databases.sh",
        ROOT / "deploy" / "postgres" / "database.sql",
    }
    assert step["entrypoint"] == ["sh", mounted["./deploy/compose/databases.sh"]]
    assert f"--file={mounted['./deploy/postgres/database.sql']}" in script


def test_the_example_environment_names_every_variable_with_its_default() -> None:
    example = (ROOT / "deploy" / "compose" / "env.example").read_text()
    written = dict(line.split("=", 1) for line in example.splitlines() if line and not line.startswith("#"))
    defaults: dict[str, set[str]] = {}
    for match in VARIABLE.finditer(text()):
        defaults.setdefault(match["name"], set()).add(match["default"])

    assert {name: {value} for name, value in written.items()} == defaults
    # Each variable has a default: the file works as it is.
    assert text().count("$") == len(VARIABLE.findall(text()))


def test_whatever_runs_our_images_is_confined_and_everything_has_a_bound() -> None:
    found = {
        **containers(),
        "receiver": demo()["receiver"],
        "mailbox": demo()["mailbox"],
        "payments": demo()["payments"],
    }

    for name, container in found.items():
        assert container["security_opt"] == ["no-new-privileges:true"], name
        assert {"max-size", "max-file"} == set(container["logging"]["options"]), name
        assert "mem_limit" in container, name
    for name in (*OWN_IMAGES, "receiver", "mailbox", "payments"):
        assert found[name]["cap_drop"] == ["ALL"], name
        assert found[name]["read_only"] is True, name


@pytest.mark.parametrize("service", APPLICATIONS)
async def test_a_service_counts_as_healthy_only_when_it_is_ready(service: str) -> None:
    check = containers()[service]["healthcheck"]["test"]
    async with HealthServer("/readyz") as server:
        environment = {"WAYBILL_SERVICE": service, f"{service.upper()}_PORT": str(server.port)}

        assert await server.run(check, environment) == 0
        server.status = 503
        assert await server.run(check, environment) == 1
    assert await server.run(check, environment) == 1
