"""Jobs as CSV rows, in both directions: an import reads the columns that an export writes.

The name of a column is the path of its field (`contact.phone`). Lists, metadata and actions are JSON in one cell. Text that a
spreadsheet would take for a formula, or change because it looks like a number or a date, is written with a leading apostrophe, which the
import removes.
"""

import csv
import io
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, zip_longest
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
REASONS = ("refused.line", "refused.code", "refused.reason")
"""Columns that a file of refused rows adds, and an import ignores."""
_NOT_READ = frozenset((*_EXPORT_ONLY, *REASONS))
_KNOWN = frozenset((*COLUMNS, *REASONS))
_IGNORED = (Job.model_fields.keys() | Job.model_computed_fields.keys()) - JobIn.model_fields.keys()
_IGNORED_OF_ACTIONS = ActionState.model_fields.keys() - ActionIn.model_fields.keys()

_PATHS = tuple((name, inner) for name, _, inner in (column.partition(".") for column in COLUMNS))
_NOT_EXPORTED = (Job.model_fields.keys() | Job.model_computed_fields.keys()) - {name for name, _ in _PATHS}

_FORMULA_STARTS = frozenset("=+-@%|\N{MINUS SIGN}\N{HEAVY PLUS SIGN}\N{HEAVY MINUS SIGN}")
_INNER_START = re.compile(r"([;\t])('*)([=+\-@%|\uff1d\uff0b\uff0d\uff20\u2212\u2795\u2796\ufe62\ufe63\ufe66\ufe6b])")
"""What would start a formula where a spreadsheet takes another separator for ours."""
_PROTECTED_INNER_START = re.compile(_INNER_START.pattern.replace("('*)", "'('*)"))
NUMBER_CHARS_MAX = 100
"""Length of a text that a spreadsheet may take for a number or a date."""
_LIKE_A_NUMBER = re.compile(
    r"""(?ix) (?= .*\d ) [\d\s.,:;/+\-%()$\u00a3\u20ac]+ ( e [+\-]? \d+ )? ( \s* [ap]m? )?
    | true | false
    | (?= .*\d ) [\d\s.,/\-]* (jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]* [\d\s.,/:\-]*"""
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}(\.0*)?", re.ASCII)
_DECIMAL = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,2})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class CsvColumns:
    """The columns of one file, in their order. A column without a name has no cells but blank ones."""

    names: tuple[str, ...]
    decimal_comma: bool = False
    """Whether a comma in a number is its decimal separator."""

    def parse_job(self, cells: Sequence[str], *, names_merchant: bool) -> JobIn:
        """The job of a row, whose last cells may be left out. Raises `Invalid`."""
        document: dict[str, Any] = {}
        violations = []
        for place, (name, cell) in enumerate(zip_longest(self.names, cells, fillvalue=""), start=1):
            if not cell.strip() or name in _NOT_READ:
                continue
            if not name:
                violations.append(Violation("", "cells_count", f"cell {place} has no column in the first row"))
                break
            try:
                _put(document, name.split("."), self._parse_cell(_KINDS.get(name, "text"), cell))
            except BadRequest as error:
                message = (
                    'expected JSON, such as ["a", "b"]' if error.problem_code == "json_malformed" else error.detail
                )
                violations.append(Violation(pointer(name.split(".")), error.problem_code, message))
        if violations:
            raise _refused(*violations)
        return parse_job(document, names_merchant=names_merchant)

    def _parse_cell(self, kind: CellKind, cell: str) -> Any:
        """The value of a cell. Raises `BadRequest` for malformed JSON; other errors are found when the job is validated."""
        if kind == "json":
            return parse(cell.encode(), by_parts=True)
        text = unprotected(cell)
        number = text.strip().replace(",", ".") if self.decimal_comma else text.strip()
        if kind == "integer" and _INTEGER.fullmatch(number):
            return int(number.partition(".")[0])
        if kind == "number" and _DECIMAL.fullmatch(number):
            return float(number)
        return text


def count_columns(cells: Iterable[str]) -> int:
    """How many of these cells name a column."""
    return sum(cell.strip() in _KNOWN for cell in cells)


def parse_heading(cells: Sequence[str]) -> tuple[str, ...]:
    """The columns that the first row of a file names. Raises `Invalid`: column_unknown, column_twice, column_missing."""
    names = [cell.strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    unknown = (
        Violation("", "column_unknown", f"column {place}: no field has the name {name[:NAME_SHOWN_MAX]!r}")
        for place, name in enumerate(names, start=1)
        if name and name not in _KNOWN
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
    return tuple(names)


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
    """The beginning of an export: the mark by which spreadsheets know UTF-8, and the first row."""
    return "\ufeff" + _as_csv([COLUMNS])


def format_rows(exported: Iterable[Job]) -> str:
    """Jobs as rows of an export."""
    return _as_csv(_format_row(one.model_dump(mode="json", exclude=_NOT_EXPORTED)) for one in exported)


def format_refused_heading(columns: Sequence[str]) -> str:
    """The beginning of a file of refused rows: the columns of the file that they come from, and those of the reasons."""
    return "\ufeff" + _as_csv([(*_own_columns(columns), *REASONS)])


def format_refused_rows(columns: Sequence[str], rows: Iterable[tuple[Sequence[str], tuple[int, str, str]]]) -> str:
    """Refused rows, each with its line, code and reason, in a form that an import reads as the original."""
    return _as_csv(_format_refused(columns, cells, reasons) for cells, reasons in rows)


def _own_columns(columns: Sequence[str]) -> list[str]:
    return [name for name in columns if name not in REASONS]


def _format_refused(columns: Sequence[str], cells: Sequence[str], reasons: tuple[int, str, str]) -> list[str]:
    line, code, reason = reasons
    own = [
        _format_original(name, cell) for name, cell in zip_longest(columns, cells, fillvalue="") if name not in REASONS
    ]
    # What stands beyond the last column has no name, and is why the row was refused: the reasons keep their columns.
    return [*own[: len(_own_columns(columns))], str(line), code, _protected(reason)]


def _format_original(name: str, cell: str) -> str:
    """A cell of an imported file, safe for spreadsheets."""
    if name in _JSON:
        with suppress(ValueError):
            json.loads(cell)
            escaped = _INNER_START.sub(_escaped, cell)
            json.loads(escaped)
            return escaped
    return _protected(unprotected(cell))


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
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return _INNER_START.sub(_escaped, text)
    return _protected(value) if isinstance(value, str) else str(value)


def _escaped(found: re.Match[str]) -> str:
    """The same JSON, with an escape for what would start a formula."""
    separator, apostrophes, start = found.groups()
    return found[0] if apostrophes else f"{separator}\\u{ord(start):04x}"


def _protected(text: str) -> str:
    inner = _INNER_START.sub(r"\1'\2\3", text)
    return f"'{inner}" if _is_reinterpreted(inner) else inner


def unprotected(cell: str) -> str:
    """The text of a cell, without the apostrophes that an export has added."""
    inner = cell[1:] if cell.startswith("'") and _is_reinterpreted(cell) else cell
    return _PROTECTED_INNER_START.sub(r"\1\2\3", inner)


def _is_reinterpreted(text: str) -> bool:
    """Whether a spreadsheet would take this text, without apostrophes before it, for a formula, a number, a date or a time."""
    bare = text.lstrip("'")
    if not bare:
        return False
    first = bare[0]
    return (
        first.isspace()
        or not first.isprintable()
        or unicodedata.category(first) == "Pd"
        or unicodedata.normalize("NFKC", first) in _FORMULA_STARTS
        or (len(bare) <= NUMBER_CHARS_MAX and _LIKE_A_NUMBER.fullmatch(bare) is not None)
    )


def _as_csv(lines: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    # All cells are quoted: what a spreadsheet with another separator would take for the start of a cell is none.
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(lines)
    return text.getvalue()


def _refused(*violations: Violation) -> Invalid:
    return Invalid("the row is not valid: see errors", *violations)
