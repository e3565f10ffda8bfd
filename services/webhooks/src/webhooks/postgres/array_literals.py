"""Array literals. The driver's own encoding of arrays takes longer than everything else about storing a result."""

from collections.abc import Iterable, Sequence
from typing import cast

NO_VALUES = "{}"
"""An empty array, for a column in which all values are null: `unnest` fills it up with nulls beside the longer arrays."""


def array_literal(values: Iterable[object]) -> str:
    """An array literal of values that need no quotes: numbers, ids, fixed words."""
    return "{" + ",".join(map(str, values)) + "}"


def text_array_literal(values: Sequence[str | None]) -> str:
    """An array literal of any texts."""
    if None not in values:
        joined = '","'.join(cast(Sequence[str], values))
        if "\\" not in joined and joined.count('"') == 2 * (len(values) - 1):
            return f'{{"{joined}"}}'
    return array_literal(
        "null" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values
    )


def sparse_array_literal(values: Sequence[object]) -> str:
    """`array_literal` for values of which some are None; `NO_VALUES` if all are."""
    missing = values.count(None)
    if missing == len(values):
        return NO_VALUES
    return array_literal("null" if value is None else value for value in values) if missing else array_literal(values)
