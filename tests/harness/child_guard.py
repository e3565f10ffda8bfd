"""Runs a program and ends it when whoever started this process is gone, however it went.

A test run can be killed without a chance to clean up; a broker it started must not outlive it for long.
"""

import os
import signal
import subprocess
import sys

POLL_SECONDS = 0.5
STOP_TIMEOUT_SECONDS = 15


def main() -> int:
    """Run the command line that follows the number of the signal which stops it; its exit status."""
    starter = os.getppid()
    stop_signal = int(sys.argv[1])
    program = subprocess.Popen(sys.argv[2:])
    signal.signal(signal.SIGTERM, lambda *_: program.send_signal(stop_signal))
    while True:
        try:
            return program.wait(timeout=POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if os.getppid() != starter:
                return _end(program, stop_signal)


def _end(program: subprocess.Popen[bytes], stop_signal: int) -> int:
    program.send_signal(stop_signal)
    try:
        return program.wait(timeout=STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()
        return program.wait()


if __name__ == "__main__":
    sys.exit(main())
