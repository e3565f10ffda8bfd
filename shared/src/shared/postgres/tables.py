"""The base of all tables: their class, their registry, and the names of their constraints."""

import types
from typing import Annotated, Any, Union, get_args, get_origin

from sqlalchemy import MetaData
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel
from sqlmodel.main import FieldInfo, FieldInfoMetadata

NAMING_CONVENTION = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names of constraints, the same in models and migrations."""


class Table(SQLModel):
    """Base of all tables: a column type (`column_types`) also works with `| None` and together with a `Field`.

    SQLModel itself looks for it only in the outermost `Annotated`, and ignores it when the column has a `Field` of its own: such a
    column would silently be VARCHAR instead of TEXT.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        cls.__annotations__ = {name: _declare(cls, name, hint) for name, hint in cls.__annotations__.items()}
        super().__init_subclass__(**options)


def new_registry() -> registry:
    """A registry with a metadata of its own, for one service: SQLModel's default is shared by everything in a process."""
    return registry(metadata=MetaData(naming_convention=NAMING_CONVENTION))


def _declare(cls: type[Table], name: str, hint: Any) -> Any:
    """Moves the column type of this annotation into the attribute's `Field`; returns the annotation without it."""
    kind, column_type = _split(hint)
    if column_type is None:
        return hint
    given = cls.__dict__.get(name, ...)
    if isinstance(given, FieldInfo):
        declared = next(item for item in given.metadata if isinstance(item, FieldInfoMetadata))
        declared.sa_type = column_type
    else:
        setattr(cls, name, Field(given, sa_type=column_type))
    return kind


def _split(hint: Any) -> tuple[Any, Any]:
    """The Python type of an annotation, and its column type or None."""
    if get_origin(hint) in (Union, types.UnionType):
        members = [_split(member) for member in get_args(hint)]
        column_type = next((column_type for _, column_type in members if column_type is not None), None)
        return Union[tuple(kind for kind, _ in members)], column_type  # noqa: UP007 - made from a tuple
    if get_origin(hint) is Annotated:
        kind, *metadata = get_args(hint)
        for item in metadata:
            if isinstance(item, FieldInfo):
                return kind, item.sa_type
    return hint, None
