"""What a list is asked for: the conditions of a request, in SQL.

Each condition is told twice where that helps: of a column, whose indexes are in order, and as a term, of which any mixture is looked up
in one index. They cannot differ: a row's terms are written whenever the row is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, and_, any_, bindparam, cast, func, literal_column, or_
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY
from sqlalchemy.types import Text
from sqlmodel import col

from jobs.domain import spans, terms
from jobs.models.filters import ActionFilters, Filters, JobFilters, JobSearch
from jobs.models.tables import UNSCHEDULED, ActionRow, JobRow
from jobs.rows import visible, visible_actions
from shared.access.principals import Caller
from shared.api import ExpensiveFilter, OneOfValues

RowT = TypeVar("RowT", JobRow, ActionRow)
Asked = Sequence[str]
"""Queries of terms in PostgreSQL's notation, all of which are true of a row."""

CLOCKS_DIFFER = timedelta(hours=2)
"""By no more than this the clock of who wrote a row is ahead."""

_ALONE = frozenset({"status", "type", "location_id"})
"""Conditions of which an index has the rows of one value in the order of their creation, whoever's they are."""
DAYS_WALKED_MAX = 14
"""The same holds of a day. More of them are looked up instead."""

NOT_SCHEDULED: ColumnElement[date] = literal_column(f"'{UNSCHEDULED}'::date")
SCHEDULED: ColumnElement[date] = func.coalesce(col(JobRow.scheduled_date), NOT_SCHEDULED)
"""Just as the index of the order of dates has it."""


@dataclass(frozen=True, slots=True)
class Question(Generic[RowT]):
    """What is asked for."""

    rows: type[RowT]
    among: Select[RowT]
    """All rows of whom it is asked about."""
    owner_id: str
    """Whose they are: a tenant's, or one merchant's."""
    of_merchant: bool
    owned: Sequence[ColumnElement[bool]]
    """The same as the indexes in order begin."""
    where: Sequence[ColumnElement[bool]]
    asked: Asked
    in_order: bool
    """Whether an index has just these rows in the order that is asked for, at least for one value after the other."""
    whole: bool
    """Whether it is found at once by other conditions, so that there is no need to look for it part by part."""
    gathered: Asked = ()
    """Asked for, too: what a look-up has to gather as a whole, however few of it are wanted."""
    pieces: Asked = ()
    """What can be asked for in its place; more rows have these."""
    doubted: ExpensiveFilter | None = None
    """What is to be looked at in each row that was found, and costs most: the terms by which it was found do not prove it."""
    each: OneOfValues | None = None
    """What is walked for one value after the other."""
    first: datetime | None = None
    last: datetime | None = None
    """When the first and the last of them can have been created, as far as the conditions tell."""


def about_jobs(caller: Caller, filters: JobFilters) -> Question[JobRow]:
    """What a list or a search of jobs asks for."""
    walked, each = _is_walked(caller, filters), _walked_for_each(caller, JobRow, filters)
    where, asked = _narrowed(JobRow, filters)
    where += [
        *_one_of(col(JobRow.status), filters.status),
        *_one_of(col(JobRow.location_id), filters.location_id),
        *_between(col(JobRow.status_changed_at), filters.status_changed_gte, filters.status_changed_lte),
    ]
    asked += [
        *_listed("S", filters.status),
        *_listed("T", filters.type),
        *_listed("L", filters.location_id),
        *_listed("d", filters.distribution_location_id),
        *(any_of([terms.term("t", tag)]) for tag in filters.tag),
        *_valued("p", filters.phone),
        *_valued("e", filters.email),
        *_valued("z", filters.postal_code),
        *_valued("i", filters.invoice),
        *_valued("b", filters.barcode),
        *_valued("s", filters.sku),
        *_valued("x", filters.external_reference_id),
        *_valued("a", filters.assigned_to),
    ]
    gathered: list[str] = []
    pieces: list[str] = []
    if filters.sort.removeprefix("-") != "updated_at":
        # Whatever changed its status changed the row.
        asked += _lying("U", filters.status_changed_gte, None)
    if filters.contact_name is not None:
        name = terms.name_term(filters.contact_name)
        of_name = [any_of([piece]) for piece in terms.pieces_of_name(filters.contact_name)]
        where.append(_marked(filters.contact_name))
        if terms.fills_name_term(filters.contact_name):
            # Names begin alike: most of those that go on differently are told by their pieces.
            asked += [any_of([name]), *of_name]
        else:
            gathered, pieces = [_beginning_with(name)], of_name
    if filters.scheduled_date_gte is not None or filters.scheduled_date_lte is not None:
        # A bound above keeps those without a date out of what is walked.
        start, end = filters.scheduled_date_gte, filters.scheduled_date_lte
        where += [*_between(SCHEDULED, start, end), SCHEDULED < NOT_SCHEDULED]
        if start is not None and end is not None:
            asked += within(spans.covering("D", spans.day(start), spans.day(end)))
    if isinstance(filters, JobSearch) and filters.metadata:
        # Terms are folded, what programs keep in metadata is not.
        where.append(col(JobRow.metadata_).contains(filters.metadata))
        asked += [any_of([terms.metadata_term(key, value)]) for key, value in filters.metadata.items()]
    if filters.reference_id is not None:
        where.append(col(JobRow.reference_id) == filters.reference_id)
    return Question(
        JobRow,
        _of_merchant(visible(caller, deleted=filters.deleted), JobRow, filters),
        *_owner(caller, JobRow, filters),
        where,
        [] if walked or each else asked,
        in_order=walked or each is not None,
        whole=filters.deleted or filters.reference_id is not None,
        gathered=gathered,
        pieces=pieces,
        doubted=_doubted(JobRow, filters),
        each=each,
        first=filters.created_gte,
        # What was last changed by then, or had its status by then, was created by then.
        last=min(filter(None, (filters.created_lte, filters.updated_lte, filters.status_changed_lte)), default=None),
    )


def about_actions(caller: Caller, filters: ActionFilters) -> Question[ActionRow]:
    """What a list or a search of actions asks for."""
    walked, each = _is_walked(caller, filters), _walked_for_each(caller, ActionRow, filters)
    where, asked = _narrowed(ActionRow, filters)
    where += _one_of(col(ActionRow.status), filters.status)
    if filters.job_id is not None:
        where.append(col(ActionRow.job_id) == filters.job_id)
    asked += [
        *_listed("S", filters.status),
        *_listed("T", filters.type),
        *_valued("s", filters.sku),
        *_valued("b", filters.barcode),
        *_valued("i", filters.invoice_number),
        *_valued("x", filters.external_reference_id),
    ]
    return Question(
        ActionRow,
        _of_merchant(visible_actions(caller), ActionRow, filters),
        *_owner(caller, ActionRow, filters),
        where,
        [] if walked or each else asked,
        in_order=walked or each is not None,
        whole=filters.job_id is not None,
        doubted=_doubted(ActionRow, filters),
        each=each,
        first=filters.created_gte,
        last=min(filter(None, (filters.created_lte, filters.updated_lte)), default=None),
    )


def having(rows: type[JobRow | ActionRow], asked: Asked) -> list[ColumnElement[bool]]:
    """One condition for each query: an index leaps from a row of one to the next of another."""
    return [_matches(rows, tsquery) for tsquery in asked]


def together(asked: Asked) -> Asked:
    """All queries as one: what has the rarest of their terms is looked at, and no list of a frequent term is gone through for itself."""
    return [" & ".join(f"({tsquery})" for tsquery in asked)] if asked else []


def any_of(alternatives: Sequence[str]) -> str:
    """The query that is true of what has at least one of these terms."""
    return f"({' | '.join(map(_lexeme, alternatives))})"


def within(blocks: Sequence[str]) -> Asked:
    """What asks for a row in one of these blocks; nothing where there are none to ask for."""
    return [any_of(blocks)] if blocks else []


def as_tsquery(asked: Iterable[Sequence[str]]) -> str:
    """The query that is true of what has at least one term of each of these lists."""
    return " & ".join(map(any_of, asked))


def begins_a_name(beginning: str) -> ColumnElement[bool]:
    """The full name, the family name or the company begins so."""
    return and_(_matches(JobRow, _beginning_with(terms.name_term(beginning))), _marked(beginning))


def _lexeme(term: str) -> str:
    escaped = term.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _owner(
    caller: Caller, rows: type[JobRow | ActionRow], filters: Filters
) -> tuple[str, bool, list[ColumnElement[bool]]]:
    merchant_id = caller.subject_id if caller.row_scope == "own" else filters.merchant_id
    mode = col(rows.livemode) == caller.livemode
    if merchant_id is None:
        return caller.tenant_id, False, [col(rows.tenant_id) == caller.tenant_id, mode]
    return merchant_id, True, [col(rows.merchant_id) == merchant_id, mode]


def _of_merchant(found: Select[RowT], rows: type[RowT], filters: Filters) -> Select[RowT]:
    return found if filters.merchant_id is None else found.where(col(rows.merchant_id) == filters.merchant_id)


def _is_walked(caller: Caller, filters: JobFilters | ActionFilters) -> bool:
    """Whether an index has just the rows that are asked for in the order that is asked for."""
    said = _said(filters)
    if filters.sort.removeprefix("-") != "created_at":
        return not said and caller.row_scope == "tenant"
    if caller.row_scope == "own" or said.pop("merchant_id", None) is not None:
        return not said
    return len(said) <= 1 and all(name in _ALONE and len(value) == 1 for name, value in said.items())


def _walked_for_each(
    caller: Caller, rows: type[JobRow | ActionRow], filters: JobFilters | ActionFilters
) -> OneOfValues | None:
    """The values for each of which an index has just the rows that are asked for in the order that is asked for."""
    said = _said(filters)
    if caller.row_scope == "own" or filters.sort.removeprefix("-") != "created_at":
        return None
    if said.keys() == {"scheduled_date_gte", "scheduled_date_lte"}:
        first, last = said.values()
        days = range((last - first).days + 1)
        return (
            OneOfValues(SCHEDULED, [first + timedelta(number) for number in days])
            if len(days) <= DAYS_WALKED_MAX
            else None
        )
    ((name, values),) = said.items() if len(said) == 1 else [("", [])]
    return (
        OneOfValues(col(getattr(rows, name)), list(dict.fromkeys(values)))
        if name in _ALONE and len(values) > 1
        else None
    )


def _said(filters: JobFilters | ActionFilters) -> dict[str, Any]:
    """What is asked for, the range of what orders the list left out."""
    order = filters.sort.removeprefix("-").removesuffix("_at")
    said = filters.model_dump(exclude_defaults=True, exclude={"limit", "cursor", "sort"})
    return {name: value for name, value in said.items() if name not in (f"{order}_gte", f"{order}_lte")}


def _narrowed(
    rows: type[JobRow | ActionRow], filters: JobFilters | ActionFilters
) -> tuple[list[ColumnElement[bool]], list[str]]:
    where: list[ColumnElement[bool]] = [
        *_one_of(col(rows.type), filters.type),
        *_between(col(rows.created_at), filters.created_gte, filters.created_lte),
        *_between(col(rows.updated_at), filters.updated_gte, filters.updated_lte),
    ]
    asked_times: list[str] = []
    if filters.sort.removeprefix("-") != "created_at":
        asked_times += _lying("C", filters.created_gte, filters.created_lte)
    if filters.sort.removeprefix("-") != "updated_at":
        asked_times += _lying("U", filters.updated_gte, filters.updated_lte)
    if filters.q is None:
        return where, asked_times
    asked = [[_found_as(word) for word in words] for words in terms.question(filters.q)]
    if len(asked) == 1:
        return where, [*asked_times, *asked[0]]
    return where, [*asked_times, " | ".join(f"({' & '.join(words)})" for words in asked)]


def _doubted(rows: type[JobRow | ActionRow], filters: JobFilters | ActionFilters) -> ExpensiveFilter | None:
    """What of a free text is not proved by the terms by which a row was found; None where all of it is."""
    ways = terms.question(filters.q) if filters.q else []
    doubtful = [[word for word in words if not terms.pieces_of(word)[1]] for words in ways]
    if not any(doubtful):
        return None
    return ExpensiveFilter(
        partial(_has_words, doubtful if len(ways) == 1 else ways), [col(rows.terms), col(rows.parts)]
    )


def _lying(kind: spans.Kind, start: datetime | None, end: datetime | None) -> Asked:
    """What asks for the hours from one instant to another, or to the present; nothing when they begin anywhere."""
    if start is None:
        return []
    latest = datetime.now(UTC) + CLOCKS_DIFFER
    stop = latest if end is None else min(end, latest)
    return within(spans.covering(kind, spans.hour(start), spans.hour(max(start, stop))))


def _found_as(word: str) -> str:
    """The query that finds a word, whole in a text or as a part in a name or number; and, of long parts, some rows more."""
    pieces, _ = terms.pieces_of(word)
    part = [f"({' & '.join(map(_lexeme, pieces))})"] if pieces else []
    return f"({' | '.join([_lexeme(f'w:{word}'), *part])})"


def _has_words(ways: Sequence[Sequence[str]], row: Any) -> ColumnElement[bool]:
    return or_(*(_has_all(row, words) for words in ways))


def _has_all(row: Any, words: Sequence[str]) -> ColumnElement[bool]:
    each = and_(*(_has_word(row, word) for word in words))
    # Terms have to be fetched each time that they are looked at: most often once is enough.
    return each if len(words) == 1 else or_(_matches(row, as_tsquery([[f"w:{word}"] for word in words])), each)


def _has_word(row: Any, word: str) -> ColumnElement[bool]:
    """What `_found_as` means, exactly."""
    pieces, exact = terms.pieces_of(word)
    if exact:
        return _matches(row, any_of([f"w:{word}", *pieces]))
    # Names and numbers first: they are at hand, terms may have to be fetched.
    return or_(func.strpos(row.parts, word) > 0, _matches(row, any_of([f"w:{word}"])))


def _beginning_with(term: str) -> str:
    return f"{_lexeme(term)}:*"


def _marked(beginning: str) -> ColumnElement[bool]:
    return func.strpos(col(JobRow.parts), terms.marked_name(beginning)) > 0


def _matches(row: Any, tsquery: str) -> ColumnElement[bool]:
    matching: ColumnElement[bool] = row.terms.op("@@", is_comparison=True)(
        cast(bindparam(None, tsquery, type_=Text()), TSQUERY)
    )
    return matching


def _listed(kind: terms.Kind, values: Sequence[str]) -> Asked:
    return [any_of([terms.term(kind, value) for value in values])] if values else []


def _valued(kind: terms.Kind, value: str | None) -> Asked:
    return [] if value is None else [any_of([terms.term(kind, value)])]


def _one_of(column: Any, values: Sequence[str]) -> list[ColumnElement[bool]]:
    if not values:
        return []
    if len(values) == 1:
        # An index that begins with this column is in order for one value, not for a list of one.
        return [column == values[0]]
    # One array, so that lists of every length share one prepared statement.
    return [column == any_(bindparam(None, list(values), type_=ARRAY(column.type)))]


def _between(column: Any, start: Any, end: Any) -> list[ColumnElement[bool]]:
    bounds = [] if start is None else [column >= start]
    return bounds if end is None else [*bounds, column <= end]
