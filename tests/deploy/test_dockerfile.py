"""deploy/Dockerfile: what is in the image, who runs in it, and how it starts; read from the file and tried without an engine."""

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import cast

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import billing.config
import console.config
import identity.config
import jobs.config
import webhooks.config
from deploy.devstack.settings import APPLICATIONS, PORTS
from shared.chassis.settings import ProcessSettings
from tests.harness.images import HealthServer

ROOT = Path(__file__).parents[2]
SETTINGS: Mapping[str, type[ProcessSettings]] = {
    "identity": identity.config.Settings,
    "billing": billing.config.Settings,
    "jobs": jobs.config.Settings,
    "webhooks": webhooks.config.Settings,
    "console": console.config.Settings,
}
START_TIMEOUT_SECONDS = 60.0
HASHES = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, in order: name and argument."""
    lines = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    joined = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", "")
    found: dict[str, list[tuple[str, str]]] = {}
    for line in filter(None, joined.splitlines()):
        instruction, _, argument = line.partition(" ")
        if instruction == "FROM":
            current = found.setdefault(argument.rpartition(" AS ")[2], [])
        if found:
            current.append((instruction, argument.strip()))
    return found


def last(stage: str, instruction: str) -> str:
    """The argument that counts: the last one of this instruction in the stage."""
    return [argument for name, argument in stages()[stage] if name == instruction][-1]


def environment(stage: str) -> dict[str, str]:
    """The variables that a stage sets."""
    arguments = " ".join(argument for name, argument in stages()[stage] if name == "ENV")
    return dict(word.split("=", 1) for word in shlex.split(arguments))


def health_check(stage: str) -> list[str]:
    """As `["CMD", …]`."""
    return ["CMD", *cast(list[str], json.loads(last(stage, "HEALTHCHECK").partition(" CMD ")[2]))]


def locked(file: str) -> dict[str, str]:
    """Each package of a lock with its pin, its marker and its hashes."""
    entries = (ROOT / file).read_text().replace("\\\n", "").strip().splitlines()
    return {entry.partition("==")[0]: " ".join(entry.split()) for entry in entries}


def needed_by(distributions: list[str]) -> set[str]:
    """All packages that these need on this platform, extras and what those need included."""
    found: set[str] = set()
    todo = [Requirement(name) for name in distributions]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        key = (name, frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        found.add(name)
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            extras = wanted.extras or {""}
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(requirement)
    return found


def test_the_image_holds_exactly_what_the_services_need() -> None:
    ours = {"waybill-shared", *(f"waybill-{service}" for service in APPLICATIONS)}
    needed = needed_by(sorted(ours)) - ours
    lock = locked("requirements.runtime.lock")

    assert needed - set(lock) == set()
    # What is left over is for other platforms, and says so.
    assert {name for name in set(lock) - needed if ";" not in lock[name]} == set()


def test_the_receiver_has_what_it_imports() -> None:
    assert needed_by(["aiohttp", "aiosmtpd", "jinja2", "standardwebhooks"]) <= set(
        locked("deploy/compose/receiver.lock")
    )


@pytest.mark.parametrize("file", ["requirements.runtime.lock", "deploy/compose/receiver.lock"])
def test_the_locks_of_the_images_are_parts_of_the_one_lock(file: str) -> None:
    whole = locked("requirements.lock")

    for name, entry in locked(file).items():
        pin, hashes = entry.split()[0], set(HASHES.findall(entry))
        assert pin == whole[name].split()[0]
        assert hashes, name
        assert hashes == set(HASHES.findall(whole[name])), name
    assert "://" not in (ROOT / file).read_text()


@pytest.mark.parametrize("stage", ["service-packages", "receiver-packages", "browser-files"])
def test_packages_are_installed_by_their_hashes_alone(stage: str) -> None:
    command = last(stage, "RUN")

    assert "--require-hashes" in command
    assert "--no-deps" in command
    assert "index" not in command


@pytest.mark.parametrize("stage", ["service", "receiver"])
def test_nobody_runs_as_root(stage: str) -> None:
    user, group = last(stage, "USER").split(":")

    assert user == group == "10001"
    assert f"--uid {user}" in last("runtime", "RUN")
    assert list(stages())[-1] == "service", "what is built unless a target is named"


@pytest.mark.parametrize("service", APPLICATIONS)
def test_the_image_listens_on_the_service_own_port_for_everybody(service: str) -> None:
    variables = environment("service")

    assert variables[f"{service.upper()}_PORT"] == str(PORTS[service])
    assert SETTINGS[service].model_fields["port"].default == PORTS[service]
    assert variables[f"{service.upper()}_HOST"] == "0.0.0.0"


@pytest.mark.parametrize("service", APPLICATIONS)
async def test_the_command_becomes_the_service(service: str) -> None:
    command = json.loads(last("service", "CMD"))
    process = await asyncio.create_subprocess_exec(
        *command,
        env={
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
            **environment("service"),
            "WAYBILL_SERVICE": service,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    _, output = await asyncio.wait_for(process.communicate(), START_TIMEOUT_SECONDS)

    # Without settings a service names those that are missing: it is the service itself that ends with 2.
    assert process.returncode == 2
    assert f"{service.upper()}_DATABASE_URL" in output.decode()
    assert " exec " in f" {command[-1]}", "else SIGTERM would reach a shell"


async def test_a_living_service_is_healthy_and_a_silent_one_is_not() -> None:
    check = health_check("service")
    async with HealthServer("/livez") as server:
        variables = {**environment("service"), "WAYBILL_SERVICE": "jobs", "JOBS_PORT": str(server.port)}

        assert await server.run(check, variables) == 0
        server.status = 500
        assert await server.run(check, variables) == 1
    assert await server.run(check, variables) == 1


def test_the_receiver_is_asked_where_it_listens() -> None:
    command = json.loads(last("receiver", "CMD"))

    assert command == [
        *("python", "-m", "deploy.devstack.receiver"),
        *("--host", "0.0.0.0", "--port", str(PORTS["receiver"])),
    ]
    assert f"'127.0.0.1', {PORTS['receiver']}," in health_check("receiver")[-1]


@pytest.mark.parametrize("service", APPLICATIONS)
def test_only_what_is_copied_ever_leaves_the_checkout(service: str) -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    let_through = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {
        source.replace("${SERVICE}", service).rstrip("/")
        for instructions in stages().values()
        for name, argument in instructions
        if name == "COPY" and not argument.startswith("--from")
        for source in argument.split()[:-1]
    }

    assert rules[0] == "*"
    assert copied <= let_through
    others = {f"services/{other}/src" for other in APPLICATIONS if other != service}
    assert let_through - copied == others
    assert all((ROOT / path).exists() for path in let_through)
    left_out = [rule for rule in rules[1:] if not rule.startswith("!")]
    for remains in (
        "shared/src/shared/__pycache__",
        "shared/src/waybill_shared.egg-info",
        "shared/src/shared/api/static/vendor",
        "services/console/src/console/static/vendor",
    ):
        assert any(fnmatch(remains, rule) for rule in left_out)
