"""What the private stack makes of its environment, and what it refuses with a word on what to do."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from deploy.devstack import broker, supervision
from deploy.devstack.broker import ADMIN
from deploy.devstack.failures import StackError
from deploy.devstack.processes import Program, wait_until
from deploy.devstack.settings import APPLICATIONS, PORT_OFFSET_MAX, PORTS, SERVICES, prepare_home, read_settings
from deploy.devstack.supervision import Supervisor


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="wb-") as made:
        yield Path(made)


def test_an_offset_moves_every_port() -> None:
    plain, moved = read_settings({}), read_settings({"WAYBILL_PORT_OFFSET": "1000"})

    assert plain.url("identity") == "http://127.0.0.1:8001"
    assert {moved.port(name) - plain.port(name) for name in PORTS} == {1000}


@pytest.mark.parametrize("offset", ["-1", "x", "1.5", str(PORT_OFFSET_MAX + 1)])
def test_an_impossible_offset_is_refused_by_name(offset: str) -> None:
    with pytest.raises(StackError, match="WAYBILL_PORT_OFFSET"):
        read_settings({"WAYBILL_PORT_OFFSET": offset})


def test_a_home_too_deep_for_a_socket_is_refused_by_name() -> None:
    with pytest.raises(StackError, match="WAYBILL_HOME"):
        read_settings({"WAYBILL_HOME": "/tmp/" + "deep/" * 20})


def test_a_home_that_supervisord_could_not_name_is_refused_by_name() -> None:
    with pytest.raises(StackError, match="WAYBILL_HOME"):
        read_settings({"WAYBILL_HOME": "/tmp/50% off"})


def test_a_folder_with_other_files_is_never_taken_as_home(folder: Path) -> None:
    (folder / "thesis.txt").write_text("years of work")

    with pytest.raises(StackError, match="WAYBILL_HOME"):
        prepare_home(read_settings({"WAYBILL_HOME": str(folder)}))

    assert [file.name for file in folder.iterdir()] == ["thesis.txt"]


def test_the_home_is_private_and_its_secrets_stay(folder: Path) -> None:
    first = read_settings({"WAYBILL_HOME": str(folder / "home")})
    prepare_home(first)
    again = read_settings({"WAYBILL_HOME": str(folder / "home")})
    prepare_home(again)

    assert again.secrets == first.secrets
    assert stat.S_IMODE(first.home.stat().st_mode) == 0o700
    assert stat.S_IMODE(first.secrets_file.stat().st_mode) == 0o600


def test_a_service_gets_no_other_services_secrets(folder: Path) -> None:
    settings = read_settings({"WAYBILL_HOME": str(folder / "home"), "WAYBILL_LOG_LEVEL": "DEBUG"})
    prepare_home(settings)

    environments = {service: settings.service_environment(service, f"postgresql://{service}") for service in SERVICES}

    for service, environment in environments.items():
        own = f"{service.upper()}_"
        assert all(name.startswith(("WAYBILL_", own)) for name in environment)
        assert environment[f"{own}DATABASE_URL"] == f"postgresql://{service}"
        assert environment["WAYBILL_LOG_LEVEL"] == "DEBUG"
        assert environment["WAYBILL_KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"
        assert environment[f"{own}KAFKA_PASSWORD"] == settings.secrets["kafka_passwords"][service]
    assert len({environments[service]["WAYBILL_SIGNING_ROOTS"] for service in SERVICES}) == 1
    assert "IDENTITY_SEALING_KEYS" in environments["identity"]
    assert environments["webhooks"]["WEBHOOKS_ALLOW_HTTP"] == "true"


def test_secrets_of_an_earlier_version_stay_and_new_ones_are_added(folder: Path) -> None:
    settings = read_settings({"WAYBILL_HOME": str(folder / "home")})
    prepare_home(settings)
    of_before = {**settings.secrets, "secret": "kept"}
    del of_before["kafka_passwords"]
    settings.secrets_file.write_text(json.dumps(of_before))

    again = read_settings({"WAYBILL_HOME": str(folder / "home")})
    prepare_home(again)

    assert again.secrets["secret"] == "kept"
    assert set(again.secrets["kafka_passwords"]) == {ADMIN, *SERVICES}


def test_a_broker_of_an_earlier_version_is_refused_with_a_word_on_what_to_do(folder: Path) -> None:
    settings = read_settings({"WAYBILL_HOME": str(folder / "home")})
    prepare_home(settings)
    settings.node.data.mkdir(parents=True)
    (settings.node.data / "meta.properties").touch()
    settings.node.settings.write_text("listeners=PLAINTEXT://127.0.0.1:9092\n")

    with pytest.raises(StackError, match="make reset"):
        broker.create(settings.node)


def test_servers_that_exist_are_not_started() -> None:
    settings = read_settings(
        {
            "WAYBILL_POSTGRES_URL": "postgresql://admin:pw@db.example.com:5432/postgres",
            "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": "kafka.example.com:9092",
        }
    )

    assert settings.processes == (*APPLICATIONS, "receiver", "mailbox", "payments")
    assert settings.kafka == "kafka.example.com:9092"
    # How they are reached says the environment, which the services inherit.
    assert settings.kafka_environment("jobs", prefix="JOBS") == {"WAYBILL_KAFKA_BOOTSTRAP_SERVERS": settings.kafka}


def test_supervisord_gets_every_character_of_a_path_and_a_secret(folder: Path) -> None:
    odd = folder / "sofa; really, 'yes'"
    program = Program(
        name="odd",
        command=("/bin/sh", "-c", 'echo "$0" "$ODD"', "a b 100%"),
        pid_file=odd / "odd.pid",
        environment={"ODD": "50%40;,'=x"},
    )
    (odd / "run").mkdir(parents=True)
    (odd / "logs").mkdir()
    supervisor = Supervisor(odd)
    supervisor.configuration_file.write_text(supervision.configuration(supervisor, [program]))

    supervision.start(supervisor)
    try:
        supervision.start_programs(supervisor, ["odd"])
        log_file = odd / "logs" / "odd.log"
        wait_until(
            lambda: log_file.exists() and log_file.read_text() != "", timeout_seconds=10, failure=lambda: "no output"
        )
        assert log_file.read_text().splitlines()[0] == "a b 100% 50%40;,'=x"
    finally:
        supervision.stop(supervisor, [["odd"]])
    assert os.listdir(odd / "run") == []
