"""Jobs as CSV rows, in both directions: an import reads the columns that an export writes.

The name of a column is the path of its field (`contact.phone`). Lists, metadata and actions are JSON in one cell. Text that a
spreadsheet would interpret as a formula is written with a leading apostrophe, which the import removes.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any, Literal

from jobs.job_store import ActionIn, ContactIn, Job, JobIn, MoneyIn, TimeWindowIn
from shared.api import Input
from shared.api.problems import VIOLATIONS_MAX, pointer
from shared.api.request_body import parse, part
from shared.errors import BadRequest, Invalid, Violation
from shared.events.jobs import ActionState
from shared.fields.places import AddressIn, GeoIn

NAME_SHOWN_MAX = 100
"""Characters of an unknown column name that a violation shows."""

CellKind = Literal["text", "integer", "number", "json"]

_NESTED: Mapping[str, type[Input]] = MappingProxyType(
    {"contact": ContactIn, "address": AddressIn, "geo": GeoIn, "time_window": TimeWindowIn, "balance_owed": MoneyIn}
)
_JSON = frozenset({"invoices", "barcodes", "tags", "metadata", "actions"})
_KINDS: Mapping[str, CellKind] = MappingProxyType(
    {
        "priority": "integer",
        "balance_owed.amount": "integer",
        "geo.latitude": "number",
        "geo.longitude": "number",
        **dict.fromkeys(_JSON, "json"),
    }
)
_EXPORT_ONLY = ("id", "status", "version", "created_at", "updated_at")
"""Columns that an export adds and an import ignores."""
_IMPORTED = tuple(
    path
    for name in JobIn.model_fields
    for path in ([f"{name}.{inner}" for inner in _NESTED[name].model_fields] if name in _NESTED else [name])
)
COLUMNS = (*_IMPORTED, *_EXPORT_ONLY)
_KNOWN = frozenset(COLUMNS)
_IGNORED = Job.model_fields.keys() - JobIn.model_fields.keys()
_IGNORED_OF_ACTIONS = ActionState.model_fields.keys() - ActionIn.model_fields.keys()

_PATHS = tuple((name, inner) for name, _, inner in (column.partition(".") for column in COLUMNS))
_NOT_EXPORTED = Job.model_fields.keys() - {name for name, _ in _PATHS}

_FORMULA_STARTS = frozenset("'=+-@\t\r")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,2})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class CsvColumns:
    """The columns of one file, in their order."""

    names: tuple[str, ...]

    def parse_job(self, cells: Sequence[str], *, names_merchant: bool) -> JobIn:
        """The job of a row. Raises `Invalid`."""
        if len(cells) != len(self.names):
            message = f"expected {len(self.names)} cells, as in the first row; found {len(cells)}"
            raise _refused(Violation("", "cells_count", message))
        document: dict[str, Any] = {}
        violations = []
        for name, cell in zip(self.names, cells, strict=True):
            if not cell or name in _EXPORT_ONLY:
                continue
            try:
                _put(document, name.split("."), _parse_cell(_KINDS.get(name, "text"), cell))
            except BadRequest as error:
                violations.append(Violation(pointer(name.split(".")), error.problem_code, error.detail))
        if violations:
            raise _refused(*violations)
        return parse_job(document, names_merchant=names_merchant)


def parse_heading(cells: Sequence[str]) -> CsvColumns:
    """The columns that the first row of a file names. Raises `Invalid`: column_unknown, column_twice, column_missing."""
    names = tuple(cell.strip() for cell in cells)
    unknown = (
        Violation("", "column_unknown", f"column {place}: no field has the name {name[:NAME_SHOWN_MAX]!r}")
        for place, name in enumerate(names, start=1)
        if name not in _KNOWN
    )
    violations = list(islice(unknown, VIOLATIONS_MAX))
    counts = Counter(names)
    violations += [
        Violation("", "column_twice", f"the column {name} is named twice") for name in COLUMNS if counts[name] > 1
    ]
    if not violations and not any(name in _IMPORTED for name in names):
        violations.append(Violation("", "column_missing", "no column is a field of a job"))
    if violations:
        raise Invalid(
            "the first row must name the columns: see errors", *violations, code="columns_invalid", columns=COLUMNS
        )
    return CsvColumns(names)


def parse_job(document: Any, *, names_merchant: bool) -> JobIn:
    """The job of a JSON document, which may be an exported job. Raises `Invalid`.

    Read-only fields are ignored, and `merchant_id` too unless the caller may name a merchant (`names_merchant`).
    """
    if isinstance(document, dict):
        ignored = _IGNORED if names_merchant else _IGNORED | {"merchant_id"}
        document = {name: value for name, value in document.items() if name not in ignored}
        actions = document.get("actions")
        if isinstance(actions, list):
            document["actions"] = [_as_input(action) for action in actions]
    return part(JobIn, document)


def format_heading() -> str:
    """The first row of an export."""
    return _as_csv([COLUMNS])


def format_rows(exported: Iterable[Job]) -> str:
    """Jobs as rows of an export."""
    return _as_csv(_format_row(one.model_dump(mode="json", exclude=_NOT_EXPORTED)) for one in exported)


def _format_row(document: dict[str, Any]) -> list[str]:
    document["actions"] = [
        _as_input({name: value for name, value in action.items() if value is not None})
        for action in document["actions"]
    ]
    return [_format_cell(document, name, inner) for name, inner in _PATHS]


def _as_input(action: Any) -> Any:
    if not isinstance(action, dict):
        return action
    return {name: value for name, value in action.items() if name not in _IGNORED_OF_ACTIONS}


def _parse_cell(kind: CellKind, cell: str) -> Any:
    """The value of a cell. Raises `BadRequest` for malformed JSON; other errors are found when the job is validated."""
    if kind == "json":
        return parse(cell.encode(), by_parts=True)
    text = cell[1:] if cell[0] == "'" and _FORMULA.match(cell) else cell
    number = text.strip()
    if kind == "integer" and _INTEGER.fullmatch(number):
        return int(number)
    if kind == "number" and _DECIMAL.fullmatch(number):
        return float(number)
    return text


def _put(document: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, name = path
    for parent in parents:
        document = document.setdefault(parent, {})
    document[name] = value


def _format_cell(document: Mapping[str, Any], name: str, inner: str) -> str:
    value = document[name]
    if inner and value is not None:
        value = value[inner]
    if value is None or value == [] or value == {}:
        return ""
    if name in _JSON:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = str(value)
    return f"'{text}" if text[:1] in _FORMULA_STARTS and _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _as_csv(lines: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue()


def _refused(*violations: Violation) -> Invalid:
    return Invalid("the row is not valid: see errors", *violations)
