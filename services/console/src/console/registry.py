"""The base class of the tables of the console."""

from shared.postgres.tables import Table, new_registry


class Base(Table, registry=new_registry()):
    """Base of the tables of the console."""
