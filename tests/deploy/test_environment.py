"""How the environment is made: what a machine must have, and how uv and Python get the options that pip and Python had."""

import builtins
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from deploy import environment

ROOT = Path(__file__).parents[2]
SHOW = "include Makefile\n.PHONY: shown\nshown:\n\t@env --null\n"


def passed_on(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command that make runs where it was started with these variables."""
    done = subprocess.run(
        ["make", "--silent", "--file=-", "shown"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **variables},
        input=SHOW,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)


def test_uv_follows_the_options_of_pip() -> None:
    address = "https://reader:pa$$word@index.example/simple"
    found = passed_on(
        {
            "PIP_INDEX_URL": address,
            "PIP_EXTRA_INDEX_URL": "https://more.example/simple",
            "PIP_TRUSTED_HOST": "index.example",
            "PIP_CERT": "/etc/company.pem",
        }
    )

    assert found["UV_DEFAULT_INDEX"] == found["PIP_INDEX_URL"] == address
    assert found["UV_INDEX"] == "https://more.example/simple"
    assert found["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert found["UV_INSECURE_HOST"] == "index.example"
    assert found["SSL_CERT_FILE"] == "/etc/company.pem"


def test_options_of_uv_itself_stay() -> None:
    found = passed_on({"PIP_INDEX_URL": "https://pip.example", "UV_DEFAULT_INDEX": "https://uv.example"})

    assert found["UV_DEFAULT_INDEX"] == "https://uv.example"


def test_without_a_setting_nothing_is_said() -> None:
    assert not [name for name in passed_on({}) if name.startswith(("UV_", "PIP_", "SSL_", "PYTHON"))]


def test_bytecode_that_is_not_wanted_beside_the_sources_is_kept_in_the_environment() -> None:
    found = passed_on({"PYTHONDONTWRITEBYTECODE": "1"})

    assert "PYTHONDONTWRITEBYTECODE" not in found
    assert found["PYTHONPYCACHEPREFIX"] == str(ROOT / ".venv" / "bytecode")


def test_a_python_that_is_too_old_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 9))

    assert environment.main(tmp_path / ".venv", "uv") == 1
    assert "Python 3.11" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_python_without_environments_names_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    really_import = builtins.__import__

    def without_ensurepip(name: str, *arguments: object, **named: object) -> ModuleType:
        if name == "ensurepip":
            raise ImportError(name)
        return really_import(name, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_ensurepip)

    assert environment.main(tmp_path / ".venv", "uv") == 1
    assert "python3-venv" in capsys.readouterr().err


def test_pip_runs_out_of_its_wheel() -> None:
    wheel = environment.bundled_pip()
    assert wheel is not None

    printed = subprocess.run([sys.executable, wheel / "pip", "--version"], capture_output=True, text=True, check=True)

    assert printed.stdout.startswith("pip ")
