"""Column types: what an annotation makes of a column."""

from typing import Literal, cast

import pytest
from sqlalchemy import Table as SqlTable
from sqlalchemy import inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable
from sqlmodel import Field

from shared.id_columns import LocationIdArray, TenantId
from shared.postgres.column_types import Choice, Instant, Json, Text
from shared.postgres.tables import Table, new_registry


class Base(Table, registry=new_registry()):
    """Base of the tables of these tests."""


class ExampleRow(Base, table=True):
    """One column of each kind of declaration."""

    __tablename__ = "examples"

    id: TenantId = Field(primary_key=True)
    name: Text
    note: Text | None
    size: Choice[Literal["small", "large"]] | None = None
    code: Text = Field(unique=True)
    owner_id: TenantId = Field(index=True)
    label: Text | None = Field(default=None, sa_column_kwargs={"server_default": text("'none'")})
    details: Json | None = Field(default=None, sa_column_kwargs={"name": "metadata"})
    places: LocationIdArray
    at: Instant
    active: bool = True


EXAMPLES = cast(SqlTable, inspect(ExampleRow).local_table)


@pytest.mark.parametrize(
    "column",
    [
        "id UUID NOT NULL",
        "name TEXT NOT NULL",
        "note TEXT,",
        "size TEXT,",
        "code TEXT NOT NULL",
        "label TEXT DEFAULT 'none',",
        "metadata JSONB,",
        "places UUID[] NOT NULL",
        "at TIMESTAMP WITH TIME ZONE NOT NULL",
        "active BOOLEAN NOT NULL",
        "CONSTRAINT pk_examples PRIMARY KEY (id)",
        "CONSTRAINT uq_examples_code UNIQUE (code)",
    ],
)
def test_a_column_type_counts_with_none_and_beside_a_field(column: str) -> None:
    statement = str(CreateTable(EXAMPLES).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    assert column in statement


def test_a_field_beside_a_column_type_keeps_its_index() -> None:
    assert [index.name for index in EXAMPLES.indexes] == ["ix_examples_owner_id"]
