"""What the tables of jobs are registered in."""

from sqlalchemy import MetaData
from sqlalchemy.orm import registry
from sqlmodel import SQLModel

from shared.postgres.tables import NAMING_CONVENTION


class Base(SQLModel, registry=registry(metadata=MetaData(naming_convention=NAMING_CONVENTION))):
    """The tables of jobs have a metadata of their own; SQLModel's default is shared by everything in a process."""
