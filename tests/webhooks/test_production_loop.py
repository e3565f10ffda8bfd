"""The client once more, on the event loop that serves in production: it calls protocols a little differently from the standard one."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULES = ("test_sender.py", "test_connections.py")
RUN_SECONDS = 600.0


@pytest.mark.timeout(RUN_SECONDS + 10)
def test_every_attempt_ends_alike_on_the_loop_of_production() -> None:
    # In a process of its own: tests that share fixtures share a loop as well.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.production_loop", "-p", "no:cacheprovider"]
    modules = [str(HERE / name) for name in MODULES]
    done = subprocess.run(
        [*command, *modules], cwd=HERE.parents[1], capture_output=True, text=True, timeout=RUN_SECONDS
    )

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
