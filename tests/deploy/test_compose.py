"""docker-compose.yml against what the services really want: their settings, their ports, the order in which they start."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
import yaml

import billing.config
import identity.config
import jobs.config
import webhooks.config
from deploy.devstack import jars
from deploy.devstack.broker import JARS, SETTINGS_FILE
from deploy.devstack.settings import PORTS, SERVICES
from shared.messaging import topics
from shared.service.settings import ServiceSettings
from tests.harness.images import HealthServer
from tests.harness.stack import KAFKA_IMAGE, POSTGRES_IMAGE

ROOT = Path(__file__).parents[2]
SETTINGS: Mapping[str, type[ServiceSettings]] = {
    "identity": identity.config.Settings,
    "billing": billing.config.Settings,
    "jobs": jobs.config.Settings,
    "webhooks": webhooks.config.Settings,
}
MIGRATIONS = tuple(f"{service}-migration" for service in SERVICES)
STEPS = ("databases", "topics", *MIGRATIONS)
OWN_IMAGES = (*STEPS, *SERVICES, "receiver")
KEPT_RUNNING = ("postgres", "kafka", *SERVICES, "receiver")
VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+):-(?P<default>[^}]*)\}")

Container = dict[str, Any]


def text() -> str:
    return (ROOT / "docker-compose.yml").read_text()


def containers(environment: Mapping[str, str] | None = None) -> dict[str, Container]:
    """The containers as Compose understands them where these variables are set."""
    given = environment or {}
    filled = VARIABLE.sub(lambda match: given.get(match["name"]) or match["default"], text())
    return cast(dict[str, Container], yaml.safe_load(filled)["services"])


def settings_of(
    service: str, container: Container, monkeypatch: pytest.MonkeyPatch, own_environment: Mapping[str, str]
) -> ServiceSettings:
    """The settings that a service reads in this container, and nowhere else."""
    for name in own_environment:
        monkeypatch.delenv(name, raising=False)
    for name, value in container["environment"].items():
        monkeypatch.setenv(name, value)
    return SETTINGS[service]()


def variables_of(service: str) -> dict[str, str]:
    """Every environment variable that a service reads, with the name of its setting."""
    settings = SETTINGS[service]
    prefix = str(settings.model_config.get("env_prefix", ""))
    return {
        str(field.validation_alias) if field.validation_alias else f"{prefix}{name}".upper(): name
        for name, field in settings.model_fields.items()
    }


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_accepts_its_environment(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = variables_of(service)
    for name in (service, f"{service}-migration"):
        settings = settings_of(service, containers()[name], monkeypatch, variables)

        assert settings.host == "0.0.0.0"
        assert settings.port == PORTS[service]
        database = urlsplit(settings.database_url)
        assert (database.hostname, database.username, database.path) == (
            "postgres",
            f"waybill_{service}",
            f"/waybill_{service}",
        )


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_gets_a_variable_that_it_does_not_read(service: str) -> None:
    variables = variables_of(service)
    for name in (service, f"{service}-migration"):
        assert set(containers()[name]["environment"]) - set(variables) == set()


def test_only_webhooks_may_reach_private_addresses_and_only_its_own_loopback() -> None:
    environment = containers()["webhooks"]["environment"]

    assert environment["WEBHOOKS_ALLOWED_PRIVATE_NETWORKS"] == "127.0.0.0/8,::1/128"
    assert containers()["receiver"]["network_mode"] == "service:webhooks"


def test_every_container_of_a_service_runs_the_image_of_that_service() -> None:
    found = containers()

    for service in SERVICES:
        build = found[service]["build"]
        assert found[service]["image"] == found[f"{service}-migration"]["image"] == f"waybill-{service}"
        assert build["args"] == {"SERVICE": service}
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()
        assert "command" not in found[service]
        assert found[f"{service}-migration"]["command"] == ["python", "-m", service, "migrate"]
    # A step has no image of its own to build, and nobody to fetch it from.
    for step in ("topics", *MIGRATIONS):
        assert "build" not in found[step]
        assert found[step]["pull_policy"] == "never"
        assert found[step]["image"] in {found[service]["image"] for service in SERVICES}


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
        "webhooks": [PORTS["webhooks"], PORTS["receiver"]],
        "kafka": [PORTS["kafka"]],
        "postgres": [PORTS["postgres"]],
    }
    for service in SERVICES:
        assert published[service][0][2] == containers()[service]["environment"][f"{service.upper()}_PORT"]


def test_each_part_starts_after_what_it_needs() -> None:
    found = containers()
    needs = {
        name: {other: how["condition"] for other, how in container.get("depends_on", {}).items()}
        for name, container in found.items()
    }
    healthy, completed = "service_healthy", "service_completed_successfully"

    assert needs["databases"] == {"postgres": healthy}
    assert needs["topics"] == {"kafka": healthy}
    for service in SERVICES:
        assert needs[f"{service}-migration"] == {"databases": completed}
        assert needs[service] == {
            "postgres": healthy,
            "kafka": healthy,
            "topics": completed,
            f"{service}-migration": completed,
        }
    for step in STEPS:
        assert found[step]["restart"] == "no"
    for name in KEPT_RUNNING:
        assert found[name]["restart"] == "unless-stopped"
    assert set(found) == {*STEPS, *KEPT_RUNNING}


def test_the_topics_step_makes_the_topics_of_this_repository() -> None:
    step = containers()["topics"]

    assert step["command"][:3] == ["python", "-m", "shared.messaging.topics"]
    assert topics.load(ROOT / step["command"][3])
    assert f"COPY {step['command'][3]} {step['command'][3]}\n" in (ROOT / "deploy" / "Dockerfile").read_text()
    servers = {containers()[name]["environment"]["WAYBILL_KAFKA_BOOTSTRAP_SERVERS"] for name in ("topics", *SERVICES)}
    assert servers == {step["environment"]["WAYBILL_KAFKA_BOOTSTRAP_SERVERS"]}


def test_kafka_is_set_by_the_file_and_reached_by_its_advertised_names() -> None:
    kafka = containers()["kafka"]
    environment = kafka["environment"]
    file = dict(
        line.split("=", 1)
        for line in SETTINGS_FILE.read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )

    assert f"./{SETTINGS_FILE.relative_to(ROOT)}:/mnt/shared/config/server.properties:ro" in kafka["volumes"]
    assert file["auto.create.topics.enable"] == "false"
    listeners = dict(entry.split("://") for entry in environment["KAFKA_LISTENERS"].split(","))
    advertised = dict(entry.split("://") for entry in environment["KAFKA_ADVERTISED_LISTENERS"].split(","))
    inner, controller = file["inter.broker.listener.name"], file["controller.listener.names"]
    assert advertised[inner] == containers()["jobs"]["environment"]["WAYBILL_KAFKA_BOOTSTRAP_SERVERS"]
    assert advertised["HOST"] == f"127.0.0.1:{PORTS['kafka']}"
    assert environment["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"{file['node.id']}@{listeners[controller]}"
    protocols = dict(entry.split(":") for entry in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert set(protocols) == set(listeners)
    assert listeners[inner].rpartition(":")[2] == advertised[inner].rpartition(":")[2]
    assert f"/{listeners[inner].rpartition(':')[2]}" in kafka["healthcheck"]["test"][-1]


def test_each_database_password_reaches_the_role_and_its_service() -> None:
    chosen = {f"{service.upper()}_DATABASE_PASSWORD": f"chosen-for-{service}" for service in SERVICES}
    found = containers({**chosen, "WAYBILL_POSTGRES_PASSWORD": "chosen-for-postgres"})

    for service in SERVICES:
        variable = f"{service.upper()}_DATABASE_PASSWORD"
        url = found[service]["environment"][f"{service.upper()}_DATABASE_URL"]
        assert urlsplit(url).password == found["databases"]["environment"][variable] == chosen[variable]
        assert chosen[variable] not in str([found[other] for other in SERVICES if other != service])
    assert found["databases"]["environment"]["PGPASSWORD"] == "chosen-for-postgres"
    assert found["postgres"]["environment"]["POSTGRES_PASSWORD"] == "chosen-for-postgres"
    assert "chosen-for-postgres" not in str([found[service] for service in SERVICES])


def test_the_database_step_makes_the_database_of_every_service() -> None:
    step = containers()["databases"]
    script = (ROOT / "deploy" / "compose" / "databases.sh").read_text()

    made = re.findall(r'^make_database (\w+) "\$\{(\w+):\?\}"$', script, re.MULTILINE)
    assert made == [(service, f"{service.upper()}_DATABASE_PASSWORD") for service in SERVICES]
    mounted = dict(volume.removesuffix(":ro").split(":") for volume in step["volumes"])
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
    found = containers()

    for name, container in found.items():
        assert container["security_opt"] == ["no-new-privileges:true"], name
        assert {"max-size", "max-file"} == set(container["logging"]["options"]), name
        assert "mem_limit" in container, name
    for name in OWN_IMAGES:
        assert found[name]["cap_drop"] == ["ALL"], name
        assert found[name]["read_only"] is True, name


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_counts_as_healthy_only_when_it_is_ready(service: str) -> None:
    check = containers()[service]["healthcheck"]["test"]
    async with HealthServer("/readyz") as server:
        environment = {"WAYBILL_SERVICE": service, f"{service.upper()}_PORT": str(server.port)}

        assert await server.run(check, environment) == 0
        server.status = 503
        assert await server.run(check, environment) == 1
    assert await server.run(check, environment) == 1
