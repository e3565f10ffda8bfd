"""The command line of the private stack."""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from deploy.devstack import demo, demo_data, stack
from deploy.devstack.failures import StackError
from deploy.devstack.settings import StackSettings, read_settings

COMMANDS = {
    "up": "start everything in the background and return when it is ready",
    "down": "stop what it started; data stay",
    "status": "what runs, where, since when",
    "logs": "follow the logs, of one process where one is named",
    "reset": "stop and throw the private data away",
    "demo": "start everything, then walk the main job aloud",
}


def main(arguments: Sequence[str]) -> int:
    """Carry out one command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.devstack", description="Waybill on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose)
        if name == "logs":
            command.add_argument("process", nargs="?")
    parsed = parser.parse_args(arguments)
    try:
        return _carry_out(parsed.command, read_settings(os.environ), getattr(parsed, "process", None))
    except StackError as error:
        sys.stderr.write(f"{parsed.command}: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _carry_out(command: str, settings: StackSettings, process: str | None) -> int:
    match command:
        case "up":
            stack.up(settings, _say)
            demo_data.ensure(settings, _say)
            _say(f"addresses and credentials: {settings.demo_file}")
        case "down":
            stack.down(settings, _say)
        case "status":
            return _print_status(settings)
        case "logs":
            stack.follow_logs(settings, process)
        case "reset":
            stack.reset(settings, _say)
        case "demo":
            stack.up(settings, _say)
            demo.walk(settings, _say)
    return 0


def _print_status(settings: StackSettings) -> int:
    """0 where every process is ready, else 1."""
    lines = stack.status(settings)
    print(f"{'process':10} {'state':18} {'pid':>8}  {'since':29} address")
    for line in lines:
        print(
            f"{line.name:10} {line.state:18} {line.process_id or '-':>8}  {_since(line.started_at):29} {line.address}"
        )
    return 0 if all(line.state in ("ready", "existing server") for line in lines) else 1


def _since(started_at: datetime | None) -> str:
    if started_at is None:
        return "-"
    seconds = int((datetime.now(UTC) - started_at).total_seconds())
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{started_at:%Y-%m-%d %H:%M:%SZ} ({hours}:{minutes:02}:{seconds % 60:02})"


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
