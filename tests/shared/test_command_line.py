"""The command lines of the services: help needs no settings, and every command is described."""

import os
import re
import runpy
import sys

import pytest

SERVICES = ("identity", "billing", "jobs", "webhooks")
COMMAND = re.compile(r"^    ([a-z-]+)(?: {2,}|\n {6,})(\S.*)$", re.MULTILINE)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("WAYBILL_", *(f"{service.upper()}_" for service in SERVICES))):
            monkeypatch.delenv(name)


def run(monkeypatch: pytest.MonkeyPatch, service: str, *arguments: str) -> int:
    """The status with which the command ends, as `python -m` runs it."""
    monkeypatch.setattr(sys, "argv", [service, *arguments])
    # Another test may have imported it.
    monkeypatch.delitem(sys.modules, f"{service}.__main__", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(service, run_name="__main__", alter_sys=True)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("service", SERVICES)
def test_help_describes_every_command_and_its_arguments(
    service: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, service, "--help") == 0
    commands = dict(COMMAND.findall(capsys.readouterr().out))
    assert {"serve", "migrate", "tasks", "openapi", "asyncapi"} <= commands.keys()

    for command, text in commands.items():
        assert run(monkeypatch, service, command, "--help") == 0
        shown = capsys.readouterr().out
        assert f" {command} [-h]" in shown
        assert text.split()[0] in shown


def test_a_command_that_needs_settings_names_those_that_are_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "jobs", "serve") == 2
    assert "JOBS_DATABASE_URL: Field required" in capsys.readouterr().err
