"""Helpers for the SQL of webhooks: autocommit connections, array literals, time-ordered ids."""

from webhooks.postgres.array_literals import NO_VALUES, array_literal, sparse_array_literal, text_array_literal
from webhooks.postgres.autocommit import AutocommitConnection, Statement, is_transient
from webhooks.postgres.time_ordered_ids import first_id_of_day, made_at

__all__ = [
    "NO_VALUES",
    "AutocommitConnection",
    "Statement",
    "array_literal",
    "first_id_of_day",
    "is_transient",
    "made_at",
    "sparse_array_literal",
    "text_array_literal",
]
