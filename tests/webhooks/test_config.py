"""Settings of webhooks: the retry schedule, private networks and defaults that allow nothing private."""

import pytest
from pydantic import ValidationError

from webhooks.config import Settings, parse_schedule

SCHEDULE = (5.0, 300.0, 1800.0)


def test_the_schedule_is_read_with_and_without_brackets() -> None:
    assert parse_schedule("5, 300,1800") == SCHEDULE
    assert parse_schedule("[5,300,1800]") == SCHEDULE
    assert parse_schedule("") == ()
    for wrong in ("5,x", "0", "-1", "nan", "inf", "999999999", ",".join(["1"] * 51)):
        with pytest.raises(ValueError, match=r"expected seconds|at most|could not convert"):
            parse_schedule(wrong)


def test_private_networks_are_closed_and_https_demanded_by_default() -> None:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}

    assert defaults["allowed_private_networks"] == ""
    assert defaults["allow_http"] is False
    assert parse_schedule(defaults["retry_schedule_seconds"]) == (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)


def test_a_network_that_is_none_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOKS_ALLOWED_PRIVATE_NETWORKS", "127.0.0.1/8")
    with pytest.raises(ValidationError, match="has host bits set"):
        Settings()
