"""Settings: wrong ones end the process with lines that name the variables."""

import base64
from pathlib import Path

import pytest
from pydantic_settings import SettingsConfigDict

from shared.chassis.settings import environment as environment_of_commands
from shared.chassis.settings import load_settings, parse_keys
from shared.service.settings import ServiceSettings
from tests.harness.bodies import SIGNING_ROOT

KEY = base64.b64encode(b"k" * 32).decode()
COMPLETE = {
    "PROBE_DATABASE_URL": "postgresql://u:p@127.0.0.1/db",
    "PROBE_PORT": "8001",
    "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "WAYBILL_KEY_PEPPERS": f"1:{KEY}",
    "WAYBILL_SECRET": KEY,
    "WAYBILL_SIGNING_ROOTS": SIGNING_ROOT.public_text,
}


class ProbeSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="PROBE_")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)


def test_complete_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_ROLES", "api, relay")

    settings = load_settings(ProbeSettings)

    assert settings.role_set == {"api", "relay"}
    assert settings.port == 8001
    assert settings.secret_bytes == b"k" * 32
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PROBE_DATABASE_URL", None),
        ("PROBE_PORT", "70000"),
        ("WAYBILL_KAFKA_BOOTSTRAP_SERVERS", None),
        ("WAYBILL_KEY_PEPPERS", "1:short"),
        ("WAYBILL_SECRET", "not base64!"),
        ("WAYBILL_ROLES", "api,everything"),
        ("WAYBILL_ROLES", ""),
        ("WAYBILL_ACCESS_CACHE_TTL_SECONDS", "60"),
        ("WAYBILL_LOG_LEVEL", "LOUD"),
        ("WAYBILL_SIGNING_ROOTS", "not base64!"),
        ("WAYBILL_KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("WAYBILL_KAFKA_SECURITY_PROTOCOL", "TLS"),
    ],
)
def test_a_wrong_setting_is_named_and_never_shown(
    variable: str, value: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)

    with pytest.raises(SystemExit) as ended:
        load_settings(ProbeSettings)

    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert [line.split(":")[0] for line in lines] == [variable]
    assert KEY not in "".join(lines)


def test_keys_are_versioned() -> None:
    assert parse_keys(f"2:{KEY},1:{KEY}") == {1: b"k" * 32, 2: b"k" * 32}
    for wrong in ("", KEY, f"x:{KEY}", f"1:{KEY[:-4]}"):
        with pytest.raises(ValueError, match="expected"):
            parse_keys(wrong)


def test_a_user_of_kafka_needs_a_protocol_that_asks_for_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROBE_KAFKA_USERNAME", "probe")
    monkeypatch.setenv("PROBE_KAFKA_PASSWORD", "pass phrase")
    with pytest.raises(SystemExit):
        load_settings(ProbeSettings)
    assert "PLAINTEXT takes no user name" in capsys.readouterr().err

    monkeypatch.setenv("WAYBILL_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    settings = load_settings(ProbeSettings)

    assert settings.kafka_security.client_options["sasl_plain_username"] == "probe"
    assert "pass phrase" not in repr(settings) + repr(settings.kafka_security)


def test_a_secret_may_be_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYBILL_SECRET")
    (tmp_path / "WAYBILL_SECRET").write_text(f"{KEY}\n")
    (tmp_path / "PROBE_DATABASE_URL").write_text("postgresql://somebody/else")
    (tmp_path / "ca.pem").write_text("no variable")
    monkeypatch.setenv("WAYBILL_SECRETS_DIR", str(tmp_path))

    settings = load_settings(ProbeSettings)

    assert settings.secret_bytes == b"k" * 32
    assert settings.database_url == environment_of_commands()["PROBE_DATABASE_URL"] == COMPLETE["PROBE_DATABASE_URL"]
    assert environment_of_commands()["WAYBILL_SECRET"] == KEY


@pytest.mark.parametrize(
    ("database", "kafka", "warned"),
    [
        ("127.0.0.1/db", "[::1]:9092,localhost:9092", []),
        ("db.example.com/db", "kafka.example.com:9092", ["postgres_not_secured", "kafka_not_secured"]),
        ("db.example.com/db?sslmode=prefer", "127.0.0.1:9092", ["postgres_not_secured"]),
        ("db.example.com/db?sslmode=verify-full", "127.0.0.1:9092,10.0.0.1:9092", ["kafka_not_secured"]),
    ],
)
def test_it_warns_of_what_it_says_to_other_machines_in_the_clear(
    database: str, kafka: str, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBE_DATABASE_URL", f"postgresql://u:p@{database}")
    monkeypatch.setenv("WAYBILL_KAFKA_BOOTSTRAP_SERVERS", kafka)

    assert load_settings(ProbeSettings).in_the_clear == warned
