"""Settings: wrong ones end the process with lines that name the variables."""

import base64

import pytest
from pydantic_settings import SettingsConfigDict

from shared.chassis.settings import load_settings, parse_keys
from shared.service.settings import ServiceSettings

KEY = base64.b64encode(b"k" * 32).decode()
COMPLETE = {
    "PROBE_DATABASE_URL": "postgresql://u:p@127.0.0.1/db",
    "PROBE_PORT": "8001",
    "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "WAYBILL_KEY_PEPPERS": f"1:{KEY}",
    "WAYBILL_SECRET": KEY,
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
