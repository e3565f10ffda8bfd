"""The command line of a process: `python -m <package> serve | openapi`, and its own commands."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic

from fastapi import FastAPI

from shared.chassis import server
from shared.chassis.settings import SettingsT, load_settings
from shared.observability import logs, traces

Document = Callable[[], Mapping[str, Any]]


def _no_arguments(_: argparse.ArgumentParser) -> None:
    return


@dataclass(frozen=True, slots=True)
class Command(Generic[SettingsT]):
    """A command of a process: what it does, its work, and the arguments that it adds."""

    help: str
    run: Callable[[SettingsT, argparse.Namespace], None]
    add_arguments: Callable[[argparse.ArgumentParser], None] = _no_arguments


def main(
    package: str,
    settings_type: type[SettingsT],
    create_app: Callable[[SettingsT], FastAPI],
    *,
    commands: Mapping[str, Command[SettingsT]],
    documents: Mapping[str, Document],
) -> None:
    """Run the command in the arguments. `documents` are printed as JSON and need no settings; neither does `--help` of any command."""

    def print_openapi(settings: SettingsT, _: argparse.Namespace) -> None:
        _print(create_app(settings).openapi())

    known = {
        "serve": Command("Serve until SIGTERM.", lambda settings, _: _serve(package, settings, create_app)),
        "openapi": Command("Print the OpenAPI document.", print_openapi),
        **commands,
    }
    helps = {name: command.help for name, command in known.items()}
    helps |= {name: (document.__doc__ or "").partition("\n")[0] for name, document in documents.items()}
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=f"Waybill {package}")
    choices = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, text in helps.items():
        chosen = choices.add_parser(name, help=text, description=text)
        if name in known:
            known[name].add_arguments(chosen)
    options = parser.parse_args()
    if options.command in documents:
        _print(documents[options.command]())
        return
    settings = load_settings(settings_type)
    logs.configure_logging(package, settings.log_level)
    known[options.command].run(settings, options)


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
