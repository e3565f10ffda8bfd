"""Statements that are put together for each request, as text for the driver: in a hundredth of the time of an expression tree.

A `Sql` is text with its values. Values are never part of the text; `numbered` gives each its `$1`, so that requests of one shape have one
text, and share one prepared statement.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, TextClause, text
from sqlalchemy.dialects.postgresql import asyncpg

_PLACE = "\0"
_PARAMETER = re.compile(r"\$[0-9]+")
_DIALECT = asyncpg.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Sql:
    """A part of a statement."""

    text: str
    values: tuple[Any, ...] = ()

    def numbered(self) -> str:
        """The text for the driver, which takes `values` with it."""
        first, *others = self.text.split(_PLACE)
        return first + "".join(f"${number}{part}" for number, part in enumerate(others, start=1))

    def clause(self) -> TextClause:
        """The same for SQLAlchemy."""
        first, *others = self.text.split(_PLACE)
        named = first + "".join(f":sql_{number}{part}" for number, part in enumerate(others))
        return text(named).bindparams(**{f"sql_{number}": value for number, value in enumerate(self.values)})


def sql(template: str, *values: Any) -> Sql:
    """The text with a value, or with another `Sql`, in the place of each `{}`."""
    if not values:
        return Sql(template)
    texts: list[str] = []
    found: list[Any] = []
    for value in values:
        if isinstance(value, Sql):
            texts.append(value.text)
            found += value.values
        else:
            texts.append(_PLACE)
            found.append(value)
    return Sql(template.format(*texts), tuple(found))


def joined(separator: str, parts: Iterable[Sql]) -> Sql:
    """The parts one after the other."""
    listed = list(parts)
    return Sql(separator.join(part.text for part in listed), tuple(value for part in listed for value in part.values))


def all_of(conditions: Iterable[Sql]) -> Sql:
    """The condition that all of these are true."""
    return joined(" AND ", conditions)


def as_text(condition: ColumnElement[bool]) -> tuple[str, tuple[str, ...]]:
    """The text of a condition with bound parameters, as `Sql` has it, and the names of its parameters in their order."""
    made = condition.compile(dialect=_DIALECT)
    return _PARAMETER.sub(_PLACE, str(made)), tuple(made.positiontup or ())
