"""A service's commands: `python -m <service> serve | migrate | openapi | asyncapi`, and those that it adds."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI

from shared import runtime, telemetry
from shared.config import SettingsT, load
from shared.contracts import asyncapi
from shared.events import Event, access
from shared.migrations import migrate

Command = Callable[[SettingsT, Sequence[str]], None]


def main(
    package: str,
    settings_type: type[SettingsT],
    create_app: Callable[[SettingsT], FastAPI],
    *,
    publishes: Sequence[type[Event]],
    consumes: Mapping[str, str],
    commands: Mapping[str, Command[SettingsT]] | None = None,
) -> None:
    """Run the command that the arguments name. `consumes` maps topics to what the service does with them.

    What every service publishes (`shared.events.access`) need not be named.
    """
    own = commands or {}
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=f"Waybill {package}")
    parser.add_argument("command", choices=["serve", "migrate", "openapi", "asyncapi", *own])
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of the command")
    chosen = parser.parse_args()
    if chosen.command == "asyncapi":
        _print(asyncapi(package, [*publishes, *access.EVENTS], consumes))
        return
    settings = load(settings_type)
    telemetry.configure_logging(package, settings.log_level)
    match chosen.command:
        case "serve":
            _serve(package, settings, create_app)
        case "migrate":
            migrate(package, settings.database_url)
        case "openapi":
            _print(create_app(settings).openapi())
        case name:
            own[name](settings, chosen.arguments)


def _serve(package: str, settings: SettingsT, create_app: Callable[[SettingsT], FastAPI]) -> None:
    tracing = telemetry.configure_tracing(
        package, otlp_endpoint=settings.otlp_endpoint, sample_ratio=settings.trace_sample_ratio
    )
    try:
        runtime.serve(create_app(settings), settings)
    finally:
        tracing.shutdown()


def _print(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
