"""The types of problems: every `code` that an answer can have, with what its page says (`problem_types.toml`).

The type of a problem is a reference relative to the service that answered, so that it is true behind any name (decision 17).
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

PATH = "/problems"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """What problems of one code have in common."""

    status: int
    title: str
    when: str
    remedy: str
    members: Mapping[str, Any] = field(default_factory=dict)
    """Further members of the problem document, with examples."""


@cache
def problem_types() -> Mapping[str, ProblemType]:
    """All types by their codes."""
    listed = tomllib.loads(files("shared").joinpath("problem_types.toml").read_text("utf-8"))
    return {code: ProblemType(**described) for code, described in listed.items()}


def type_of(code: str) -> str:
    """The `type` of problems with this code: where its page is."""
    return f"{PATH}/{code}"


def title_of(code: str, default: str) -> str:
    """The title of problems with this code."""
    known = problem_types().get(code)
    return default if known is None else known.title


def example(code: str) -> dict[str, Any]:
    """A problem document with this code. Raises `KeyError`."""
    known = problem_types()[code]
    return {
        "type": type_of(code),
        "title": known.title,
        "status": known.status,
        "detail": known.when.partition(". ")[0].rstrip("."),
        "instance": "req_01h455vb4pex5vsknk084sn02q",
        "code": code,
        **known.members,
    }
