"""Writes many rows of a table with one statement: a fraction of what they cost one by one, or as objects.

Each column is one array, and the driver looks at each value of an array several times: where all rows have the same value, it is sent once.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from shared.postgres.tables import Table

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


async def insert_rows(
    session: AsyncSession, table: type[Table], columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert these rows, with the values that the driver takes: a `UUID` for an id, its text for JSON. The first column is their id."""
    if rows:
        await session.execute(_insert(table, tuple(columns)), arguments(zip(*rows, strict=True)))


async def update_rows(
    session: AsyncSession, table: type[Table], key: tuple[str, Sequence[Any]], changes: Mapping[str, Sequence[Any]]
) -> None:
    """Set these columns of the rows with these keys. They have been locked: the statement locks them in any order."""
    name, keys = key
    if keys and changes:
        await session.execute(_update(table, (name, *changes)), arguments([keys, *changes.values()]))


def given(name: str, place: int, sql_type: str) -> tuple[str, str]:
    """The array of a column for `unnest`, and its value in a row of that: what `arguments` has for it."""
    return f"CAST(:a{place} AS {sql_type}[])", f"coalesce(given.{name}, CAST(:c{place} AS {sql_type}))"


def arguments(columns: Iterable[Sequence[Any]]) -> dict[str, Any]:
    """The values of `given`, by the places of columns. The first column has an array always: it says how many rows there are."""
    found: dict[str, Any] = {}
    for place, column in enumerate(columns):
        first = column[0]
        is_common = place > 0 and first == column[-1] and column.count(first) == len(column)
        found[f"a{place}"], found[f"c{place}"] = (None, first) if is_common else (column, None)
    return found


@lru_cache(64)
def _insert(table: type[Table], columns: tuple[str, ...]) -> TextClause:
    arrays, values = _given(table, columns)
    # Names of our own, of tables and columns.
    return text(
        f"INSERT INTO {table.__tablename__} ({', '.join(columns)}) SELECT {', '.join(values)}"  # noqa: S608
        f" FROM unnest({', '.join(arrays)}) AS given ({', '.join(columns)})"
    )


@lru_cache(256)
def _update(table: type[Table], columns: tuple[str, ...]) -> TextClause:
    arrays, values = _given(table, columns)
    changes = ", ".join(f"{name} = {value}" for name, value in zip(columns[1:], values[1:], strict=True))
    return text(
        f"UPDATE {table.__tablename__} AS kept SET {changes}"  # noqa: S608
        f" FROM unnest({', '.join(arrays)}) AS given ({', '.join(columns)}) WHERE kept.{columns[0]} = given.{columns[0]}"
    )


def _given(table: type[Table], columns: Sequence[str]) -> tuple[list[str], list[str]]:
    arrays, values = [], []
    for place, name in enumerate(columns):
        column = table.__table__.columns[name].type  # type: ignore[attr-defined]
        # An array of JSON would be encoded value by value in Python.
        is_json = isinstance(column, JSONB)
        array, value = given(name, place, "text" if is_json else str(column.compile(_DIALECT)))
        arrays.append(array)
        values.append(f"{value}::jsonb" if is_json else value)
    return arrays, values
