"""The fuzzer as a program of ours: `python -m tests.harness.fuzzer run …`."""

import sys

from schemathesis.cli import schemathesis

if __name__ == "__main__":
    sys.exit(schemathesis())
