"""The command line of a process: `python -m <package> serve | openapi`, and its own commands."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI

from shared.chassis import server
from shared.chassis.settings import SettingsT, load_settings
from shared.observability import logs, traces

Command = Callable[[SettingsT, Sequence[str]], None]
Document = Callable[[], Mapping[str, Any]]


def main(
    package: str,
    settings_type: type[SettingsT],
    create_app: Callable[[SettingsT], FastAPI],
    *,
    commands: Mapping[str, Command[SettingsT]],
    documents: Mapping[str, Document],
) -> None:
    """Run the command in the arguments. `documents` are printed as JSON and need no settings."""
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=f"Waybill {package}")
    parser.add_argument("command", choices=["serve", "openapi", *documents, *commands])
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of the command")
    chosen = parser.parse_args()
    if chosen.command in documents:
        _print(documents[chosen.command]())
        return
    settings = load_settings(settings_type)
    logs.configure_logging(package, settings.log_level)
    match chosen.command:
        case "serve":
            _serve(package, settings, create_app)
        case "openapi":
            _print(create_app(settings).openapi())
        case name:
            commands[name](settings, chosen.arguments)


def _serve(package: str, settings: SettingsT, create_app: Callable[[SettingsT], FastAPI]) -> None:
    tracing = traces.configure_tracing(
        package, otlp_endpoint=settings.otlp_endpoint, sample_ratio=settings.trace_sample_ratio
    )
    try:
        server.serve(create_app(settings), settings)
    finally:
        tracing.shutdown()


def _print(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
