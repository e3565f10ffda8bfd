"""Becomes another program, after writing down its process id and giving up root where asked.

supervisord runs every process through this file, by path and isolated (`python -I launch.py …`): it needs the standard
library alone and costs some 20 ms. The program takes over the same process, so the id written down stays right.
"""

import argparse
import os
import sys
from pathlib import Path


def main() -> None:
    """Parse the command line and become the program after `--`."""
    parser = argparse.ArgumentParser(description="Record this process, then become another program.")
    parser.add_argument("--pid-file", type=Path, required=True)
    parser.add_argument("--directory", type=Path, help="working directory of the program")
    parser.add_argument("--user", help="numeric UID:GID to become")
    parser.add_argument("program", nargs="+")
    arguments = parser.parse_args()
    record_process_id(arguments.pid_file)
    # Entered while still privileged: a folder that the unprivileged user could not reach by its path is handed over
    # as the working directory.
    if arguments.directory:
        os.chdir(arguments.directory)
    if arguments.user:
        uid, gid = (int(number) for number in arguments.user.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    try:
        os.execvp(arguments.program[0], arguments.program)
    except OSError as error:
        sys.exit(f"cannot run {arguments.program[0]}: {error.strerror}")


def record_process_id(pid_file: Path) -> None:
    """Write this process's id so that a reader sees a whole number or nothing."""
    unfinished = pid_file.with_suffix(".new")
    unfinished.write_text(f"{os.getpid()}\n")
    unfinished.replace(pid_file)


if __name__ == "__main__":
    main()
