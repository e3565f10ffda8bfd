"""What makes a start quick: commands that share their imports, services that import while they wait, nothing prepared twice."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from deploy.devstack import stack, steps
from deploy.devstack.failures import StackError
from deploy.devstack.settings import ROOT, StackSettings, prepare_home, read_settings

START_TIMEOUT_SECONDS = 60.0


@pytest.fixture
def settings() -> Iterator[StackSettings]:
    """A stack that was prepared by the code as it is."""
    with TemporaryDirectory(prefix="wb-") as folder:
        made = read_settings({"WAYBILL_HOME": str(Path(folder) / "home")})
        prepare_home(made)
        for file in (made.cluster.data / "waybill.conf", made.node.data / "meta.properties"):
            file.parent.mkdir(parents=True)
            file.touch()
        made.prepared_file.write_text(stack.state_to_prepare())
        yield made


# -- commands that share their imports -------------------------------------------------------------------------------------


def test_a_command_answers_as_a_program_of_its_own_would(monkeypatch: pytest.MonkeyPatch) -> None:
    output = steps.run(["billing", "asyncapi"], {}, "no document")
    alone = subprocess.run([sys.executable, "-m", "billing", "asyncapi"], capture_output=True, text=True, check=True)

    assert json.loads(output)["info"]
    assert output == alone.stdout


def test_a_command_that_fails_is_reported_with_its_last_lines() -> None:
    with pytest.raises(StackError, match=r"no migration \(python -m jobs migrate\)") as refused:
        steps.run(["jobs", "migrate"], {"WAYBILL_SECRET": "too short"}, "no migration")

    assert "JOBS_DATABASE_URL" in str(refused.value)


def test_an_environment_is_of_one_command_alone() -> None:
    for service, missing in (("jobs", True), ("billing", False)):
        variables = {} if missing else {"BILLING_DATABASE_URL": "no address"}
        with pytest.raises(StackError) as refused:
            steps.run([service, "migrate"], variables, "no migration")
        assert (f"{service.upper()}_DATABASE_URL: Field required" in str(refused.value)) is missing


# -- services that wait ----------------------------------------------------------------------------------------------------


def test_a_service_begins_when_the_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BILLING_DATABASE_URL", raising=False)
    file = tmp_path / "prepared"
    command = [sys.executable, "-m", "deploy.devstack.service", "billing", "--after", str(file)]

    file.touch()
    started = time.monotonic()
    at_once = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=START_TIMEOUT_SECONDS)
    seconds = time.monotonic() - started
    file.unlink()
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as waiting:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(2 * seconds)
            file.touch()
            _, output = waiting.communicate(timeout=START_TIMEOUT_SECONDS)
        finally:
            waiting.kill()

    # Without settings a service names those that are missing: it is the service itself that ends with 2.
    assert at_once.returncode == waiting.returncode == 2
    assert at_once.stderr == output
    assert "BILLING_DATABASE_URL" in output
    assert "Warning" not in output


# -- nothing is prepared twice ---------------------------------------------------------------------------------------------


def test_what_the_same_code_has_prepared_is_left_alone(settings: StackSettings) -> None:
    assert not stack.needs_preparation(settings)


def test_what_other_code_or_no_code_has_prepared_is_prepared_again(settings: StackSettings) -> None:
    settings.prepared_file.write_text("another state")
    assert stack.needs_preparation(settings)

    settings.prepared_file.unlink()
    assert stack.needs_preparation(settings)


@pytest.mark.parametrize("server", ["postgres", "kafka"])
def test_new_data_are_prepared(settings: StackSettings, server: str) -> None:
    (made,) = (settings.home / server / "data").iterdir()
    made.unlink()

    assert stack.needs_preparation(settings)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WAYBILL_POSTGRES_URL", "postgresql://admin:pw@db.example.com:5432/postgres"),
        ("WAYBILL_KAFKA_BOOTSTRAP_SERVERS", "kafka.example.com:9092"),
    ],
)
def test_servers_of_others_are_always_prepared(settings: StackSettings, variable: str, value: str) -> None:
    assert stack.needs_preparation(read_settings({"WAYBILL_HOME": str(settings.home), variable: value}))


@pytest.mark.parametrize("pattern", stack.PREPARED_FROM)
def test_the_state_is_of_files_that_exist(pattern: str) -> None:
    assert list(ROOT.glob(pattern))
