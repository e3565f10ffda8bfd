"""One service as the stack runs it: imported at once, served as soon as its databases and topics are there.

    python -m deploy.devstack.service jobs --after FILE

Importing takes a second or two, which the servers need to start as well. The file appears when they are prepared; from
then on this is `python -m jobs serve`.
"""

import argparse
import gc
import runpy
import sys
import time
from importlib import import_module
from pathlib import Path

POLL_SECONDS = 0.02


def main() -> None:
    """Import the service, wait, and become it."""
    parser = argparse.ArgumentParser(prog="python -m deploy.devstack.service", description="Serve once prepared.")
    parser.add_argument("service")
    parser.add_argument("--after", type=Path, required=True, metavar="FILE", help="wait until this file exists")
    arguments = parser.parse_args()
    # All that is imported stays: looking for garbage in between only takes time.
    gc.disable()
    import_module(f"{arguments.service}.__main__")
    gc.enable()
    while not arguments.after.exists():
        time.sleep(POLL_SECONDS)
    del sys.modules[f"{arguments.service}.__main__"]  # it runs anew, as the main program
    sys.argv = [arguments.service, "serve"]
    runpy.run_module(arguments.service, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
