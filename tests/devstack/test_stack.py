"""The whole private stack, as `make up` runs it: started, left alone, hurt, looked at and stopped."""

import json
import signal
import stat
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from deploy.devstack import demo, demo_data, stack
from deploy.devstack.failures import StackError
from deploy.devstack.processes import find, port_is_taken, wait_until
from deploy.devstack.settings import APPLICATIONS, PORTS, StackSettings
from tests.harness.private_stack import free_offset, settings_in, wait_until_ready

UP_AGAIN_SECONDS_MAX = 5.0
RECOVERY_TIMEOUT_SECONDS = 180.0

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def process_ids(settings: StackSettings) -> dict[str, str]:
    return {name: settings.pid_file(name).read_text() for name in settings.processes}


def test_up_again_is_fast_and_changes_nothing(running: StackSettings) -> None:
    before = process_ids(running)
    started = time.monotonic()

    stack.up(running, print)

    assert time.monotonic() - started < UP_AGAIN_SECONDS_MAX
    assert process_ids(running) == before
    wait_until_ready(running)


def test_a_taken_port_is_named_with_the_setting_that_moves_it(running: StackSettings) -> None:
    with TemporaryDirectory(prefix="wb-") as folder:
        intruder = settings_in(Path(folder) / "home", running.port_offset)

        with pytest.raises(StackError, match=r"port \d+ \(postgres\) is taken by process .*WAYBILL_PORT_OFFSET"):
            stack.up(intruder, print)

        stack.reset(intruder, print)
    wait_until_ready(running)


def test_a_second_stack_lives_beside_the_first_and_goes_alone(running: StackSettings) -> None:
    before = process_ids(running)
    with TemporaryDirectory(prefix="wb-") as folder:
        second = settings_in(Path(folder) / "home", free_offset())
        try:
            stack.up(second, print)
            wait_until_ready(second)
            assert not set(process_ids(second).values()) & set(before.values())
            # What was prepared is not prepared again, and is found again.
            stack.down(second, print)
            said: list[str] = []
            stack.up(second, said.append)
            assert not [line for line in said if "migrated" in line or "topics" in line]
            wait_until_ready(second)
        finally:
            stack.down(second, print)
        assert {line.state for line in stack.status(second)} == {"stopped"}
        assert not any(port_is_taken(second.port(name)) for name in PORTS)
        stack.reset(second, print)
        assert not second.home.exists()

    assert process_ids(running) == before
    wait_until_ready(running)


@pytest.mark.parametrize("name", ["kafka", "postgres", "jobs"])
def test_what_is_killed_comes_back(running: StackSettings, name: str) -> None:
    process = find(running.pid_file(name))
    assert process is not None

    process.send_signal(signal.SIGKILL)

    def is_back() -> bool:
        again = find(running.pid_file(name))
        states = {line.name: line.state for line in stack.status(running)}
        return again is not None and again.pid != process.pid and set(states.values()) == {"ready"}

    wait_until(
        is_back,
        timeout_seconds=RECOVERY_TIMEOUT_SECONDS,
        failure=lambda: f"{name} is not back: {stack.status(running)}",
        poll_seconds=0.2,
    )


def test_demo_json_has_the_promised_shape_and_working_credentials(running: StackSettings) -> None:
    demo_data.ensure(running, print)
    first = running.demo_file.read_text()

    demo_data.ensure(running, print)

    assert running.demo_file.read_text() == first
    assert stat.S_IMODE(running.demo_file.stat().st_mode) == 0o600
    content = json.loads(first)
    assert set(content) == {
        *("urls", "kafka", "databases", "platform_api_key", "tenant", "owner", "staff", "locations"),
        *("merchant", "merchant_level_1", "receiver", "mailbox"),
    }
    assert set(content["urls"]) == set(content["databases"]) == set(APPLICATIONS)
    assert content["platform_api_key"].startswith("wbk_test_")
    assert set(content["tenant"]) == {"id", "name"}
    assert set(content["owner"]) == {"email", "password"}
    assert set(content["staff"]) == {"email", "password", "permissions"}
    assert set(content["locations"]) == {"montreal", "toronto"}
    assert set(content["merchant"]) == {"id", "email", "password", "api_account_id", "api_auth_key"}
    assert set(content["merchant_level_1"]) == {"id", "email", "password"}
    assert set(content["receiver"]) == {"url", "received"}
    with httpx.Client(trust_env=False) as client:
        credentials = (content["merchant"]["api_account_id"], content["merchant"]["api_auth_key"])
        assert client.get(content["urls"]["jobs"] + "/v1/jobs", auth=credentials).status_code == 200
        assert client.get(content["receiver"]["received"]).status_code == 200
        assert client.get(content["mailbox"]["url"]).status_code == 200
        assert client.get(content["mailbox"]["messages"]).json()["object"] == "list"


def test_the_demo_is_seen_twice(running: StackSettings) -> None:
    for _ in range(2):
        said: list[str] = []
        demo.walk(running, said.append)
        assert any("Every step was seen" in line for line in said)
        assert any(line.strip().startswith("$ curl") for line in said)
