"""What webhooks' tables are registered in, and columns that many of them have."""

from typing import Any

from sqlalchemy import Column, DateTime, MetaData
from sqlalchemy.orm import registry
from sqlmodel import SQLModel

from shared.postgres.tables import NAMING_CONVENTION


def instant_column(*, nullable: bool = True) -> Column[Any]:
    return Column(DateTime(timezone=True), nullable=nullable)


class Base(SQLModel, registry=registry(metadata=MetaData(naming_convention=NAMING_CONVENTION))):
    """Webhooks' tables have a metadata of their own; SQLModel's default is shared by everything in a process."""
