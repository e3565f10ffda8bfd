"""What every table is made with: names of constraints, and column types."""

import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.types import TypeDecorator, Uuid

from shared.ids import KNOWN_IDS_MAX, from_uuid, known_uuid, to_uuid

_known_id: Callable[[str, uuid.UUID], str] = lru_cache(KNOWN_IDS_MAX)(from_uuid)
_KNOWN_KINDS = frozenset({"ten", "mer", "loc"})
"""Few, and in every row."""


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


NAMING_CONVENTION = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names of constraints, the same in models and migrations. Each service has a registry and metadata of its own: SQLModel's is global."""
