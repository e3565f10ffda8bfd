"""Column types: what an annotation of a table says about its column.

`name: Text` is a column that is NOT NULL, `name: Text | None` one that may be NULL. Plain `bool`, `int`, `bytes`, `date` and `UUID` are
column types of SQLModel itself. A column that needs more adds a `Field`: `code: Text = Field(unique=True)`. Column types of ids are
in `shared.id_columns`.
"""

import uuid
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from sqlalchemy import BigInteger, DateTime, Dialect, SmallInteger
from sqlalchemy import Double as DoubleType
from sqlalchemy import Text as TextType
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeDecorator, Uuid
from sqlmodel import Field

from shared.ids import KNOWN_IDS_MAX, from_uuid, known_uuid, to_uuid

_known_id: Callable[[str, uuid.UUID], str] = lru_cache(KNOWN_IDS_MAX)(from_uuid)
_KNOWN_KINDS = frozenset({"ten", "mer", "loc"})
"""Kinds with few ids, which occur in every row."""

ChoiceT = TypeVar("ChoiceT")


class TypedId(TypeDecorator[str]):
    """Column type: typed id in Python, `uuid` in PostgreSQL."""

    impl = Uuid
    cache_ok = True

    def __init__(self, prefix: str):
        super().__init__()
        self.prefix = prefix

    def process_bind_param(self, value: str | None, dialect: Dialect) -> uuid.UUID | None:
        if value is None:
            return None
        return known_uuid(value) if self.prefix in _KNOWN_KINDS else to_uuid(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return _known_id(self.prefix, value) if self.prefix in _KNOWN_KINDS else from_uuid(self.prefix, value)


Text = Annotated[str, Field(sa_type=TextType)]
Choice = Annotated[ChoiceT, Field(sa_type=TextType)]
"""One of the words of a `Literal`, stored as text: `status: Choice[JobStatus]`."""
Instant = Annotated[datetime, Field(sa_type=DateTime(timezone=True))]
BigInt = Annotated[int, Field(sa_type=BigInteger)]
SmallInt = Annotated[int, Field(sa_type=SmallInteger)]
Double = Annotated[float, Field(sa_type=DoubleType)]
Json = Annotated[dict[str, Any], Field(sa_type=JSONB(none_as_null=True))]
"""A JSON object. None is stored as NULL, never as JSON's null."""
DoubleArray = Annotated[list[float], Field(sa_type=ARRAY(DoubleType))]
TextArray = Annotated[list[str], Field(sa_type=ARRAY(TextType))]
UuidArray = Annotated[list[uuid.UUID], Field(sa_type=ARRAY(Uuid))]
