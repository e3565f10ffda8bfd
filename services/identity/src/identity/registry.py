"""What identity's tables are registered in, and the columns that they share."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, DateTime, ForeignKey, MetaData, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import SQLModel

from shared.postgres.tables import NAMING_CONVENTION, TypedId


class Base(SQLModel, registry=registry(metadata=MetaData(naming_convention=NAMING_CONVENTION))):
    """What identity's tables derive from."""


def key(prefix: str) -> Column[Any]:
    """The primary key: a typed id."""
    return Column(TypedId(prefix), primary_key=True)


def reference(prefix: str, *, to: str | None = None, nullable: bool = False, index: bool = False) -> Column[Any]:
    """Another record's typed id; `to` names the column that it must exist in."""
    constraints = [ForeignKey(to)] if to else []
    return Column(TypedId(prefix), *constraints, nullable=nullable, index=index)


def words(*, nullable: bool = False) -> Column[Any]:
    return Column(Text, nullable=nullable)


def yes_or_no() -> Column[Any]:
    return Column(Boolean, nullable=False)


def instant(*, nullable: bool = False) -> Column[Any]:
    return Column(DateTime(timezone=True), nullable=nullable)


def version() -> Column[Any]:
    """Grows by one with every fact that is published of the record."""
    return Column(BigInteger, nullable=False)


def document(*, nullable: bool = False) -> Column[Any]:
    # Absence is NULL, never JSON's null.
    return Column(JSONB(none_as_null=True), nullable=nullable)
