"""Processes that are forked: who started one may ask for its end from several threads."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.devstack.forks import forking

THREADS = 8
ENDS = 20


def test_threads_that_wait_for_one_process_all_learn_its_end(tmp_path: Path) -> None:
    with forking() as forker, ThreadPoolExecutor(THREADS) as threads:
        assert forker is not None
        for _ in range(ENDS):
            output = tmp_path / "output"
            # It prints what it is given, and ends.
            program = forker.start(["base64", "-t"], {}, output=output, errors=output)

            found = list(threads.map(program.wait, [30.0] * THREADS))

            assert found == [0] * THREADS
        assert forker.start(["base64", "-t"], {}, output=output, errors=output).wait(30.0) == 0
