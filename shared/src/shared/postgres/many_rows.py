"""Writes many rows of a table with one statement, each column as one array: a fraction of what they cost one by one, or as objects."""

from collections.abc import Sequence
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
    """Insert these rows, with the values that the driver takes: a `UUID` for an id, its text for JSON."""
    if rows:
        await session.execute(_insert(table, tuple(columns)), _arrays(rows))


async def update_rows(
    session: AsyncSession, table: type[Table], columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Set the other columns of the rows whose first column is this. They have been locked: the statement locks them in any order."""
    if rows:
        await session.execute(_update(table, tuple(columns)), _arrays(rows))


@lru_cache(64)
def _insert(table: type[Table], columns: tuple[str, ...]) -> TextClause:
    values = ", ".join(_value(table, name) for name in columns)
    names = ", ".join(columns)
    # Names of our own, of tables and columns.
    return text(f"INSERT INTO {table.__tablename__} ({names}) SELECT {values} FROM {_given(table, columns)}")  # noqa: S608


@lru_cache(64)
def _update(table: type[Table], columns: tuple[str, ...]) -> TextClause:
    changes = ", ".join(f"{name} = {_value(table, name)}" for name in columns[1:])
    found = f"kept.{columns[0]} = given.{columns[0]}"
    return text(f"UPDATE {table.__tablename__} AS kept SET {changes} FROM {_given(table, columns)} WHERE {found}")  # noqa: S608


def _given(table: type[Table], columns: tuple[str, ...]) -> str:
    arrays = ", ".join(f"CAST(:a{place} AS {_type(table, name)}[])" for place, name in enumerate(columns))
    return f"unnest({arrays}) AS given ({', '.join(columns)})"


def _value(table: type[Table], name: str) -> str:
    return f"given.{name}::jsonb" if _is_json(table, name) else f"given.{name}"


def _type(table: type[Table], name: str) -> str:
    # An array of JSON would be encoded value by value in Python.
    return "text" if _is_json(table, name) else str(_column(table, name).compile(_DIALECT))


def _is_json(table: type[Table], name: str) -> bool:
    return isinstance(_column(table, name), JSONB)


def _column(table: type[Table], name: str) -> Any:
    return table.__table__.columns[name].type  # type: ignore[attr-defined]


def _arrays(rows: Sequence[Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    return {f"a{place}": column for place, column in enumerate(zip(*rows, strict=True))}
