"""The search query: the conditions of a request, as SQL.

Where it helps, a condition is stated twice: on a column, whose index has the order, and as a token, so that any combination is one
lookup in one index. The two always agree: a row's tokens are written whenever the row is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, and_, any_, bindparam, cast, func, or_
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY
from sqlalchemy.types import Text
from sqlmodel import col

from jobs import search_index
from jobs.job_store import NOT_SCHEDULED, SCHEDULED_ORDER, ActionRow, JobRow, visible_actions_to, visible_to
from jobs.search.schemas import ActionFilters, Filters, JobFilters, JobSearch
from shared.access.principals import Caller
from shared.api import ExpensiveFilter, OneOfValues

RowT = TypeVar("RowT", JobRow, ActionRow)
Tsqueries = Sequence[str]
"""Queries of terms in PostgreSQL's notation, all of which are true of a row."""

CLOCK_SKEW_MAX = timedelta(hours=2)
"""By no more than this the clock of who wrote a row is ahead."""

_INDEXED_ALONE = frozenset({"status", "type", "location_id"})
"""Conditions of which an index has the rows of one value in the order of their creation, whoever's they are."""
DAYS_SCANNED_MAX = 14
"""The same holds of a day. More of them are looked up instead."""


@dataclass(frozen=True, slots=True)
class SearchQuery(Generic[RowT]):
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
    asked: Tsqueries
    in_order: bool
    """Whether an index has just these rows in the order that is asked for, at least for one value after the other."""
    whole: bool
    """Whether it is found at once by other conditions, so that there is no need to look for it part by part."""
    wide_tokens: Tsqueries = ()
    """Asked for, too: what a look-up has to gather as a whole, however few of it are wanted."""
    pieces: Tsqueries = ()
    """What can be asked for in its place; more rows have these."""
    recheck: ExpensiveFilter | None = None
    """What is to be looked at in each row that was found, and costs most: the terms by which it was found do not prove it."""
    each: OneOfValues | None = None
    """What is walked for one value after the other."""
    first: datetime | None = None
    last: datetime | None = None
    """When the first and the last of them can have been created, as far as the conditions tell."""


def jobs_query(caller: Caller, filters: JobFilters) -> SearchQuery[JobRow]:
    """What a list or a search of jobs asks for."""
    walked, each = _is_index_ordered(caller, filters), _index_ordered_for_each(caller, JobRow, filters)
    where, asked = _common_conditions(JobRow, filters)
    where += [
        *_one_of(col(JobRow.status), filters.status),
        *_one_of(col(JobRow.location_id), filters.location_id),
        *_between(col(JobRow.status_changed_at), filters.status_changed_gte, filters.status_changed_lte),
    ]
    asked += [
        *_any_value("S", filters.status),
        *_any_value("T", filters.type),
        *_any_value("L", filters.location_id),
        *_any_value("d", filters.distribution_location_id),
        *(any_of([search_index.token("t", tag)]) for tag in filters.tag),
        *_one_value("p", filters.phone),
        *_one_value("e", filters.email),
        *_one_value("z", filters.postal_code),
        *_one_value("i", filters.invoice),
        *_one_value("b", filters.barcode),
        *_one_value("s", filters.sku),
        *_one_value("x", filters.external_reference_id),
        *_one_value("a", filters.assigned_to),
    ]
    wide_tokens: list[str] = []
    pieces: list[str] = []
    if filters.sort.removeprefix("-") != "updated_at":
        # Whatever changed its status changed the row.
        asked += _in_hours("U", filters.status_changed_gte, None)
    if filters.contact_name is not None:
        name = search_index.name_token(filters.contact_name)
        of_name = [any_of([piece]) for piece in search_index.ngrams_of_name(filters.contact_name)]
        where.append(_has_name_prefix(filters.contact_name))
        if search_index.fills_name_token(filters.contact_name):
            # Names begin alike: most of those that go on differently are told by their pieces.
            asked += [any_of([name]), *of_name]
        else:
            wide_tokens, pieces = [_prefix_query(name)], of_name
    if filters.scheduled_date_gte is not None or filters.scheduled_date_lte is not None:
        # A bound above keeps those without a date out of what is walked.
        start, end = filters.scheduled_date_gte, filters.scheduled_date_lte
        where += [*_between(SCHEDULED_ORDER, start, end), SCHEDULED_ORDER < NOT_SCHEDULED]
        if start is not None and end is not None:
            asked += within(
                search_index.covering_tokens("D", search_index.day_number(start), search_index.day_number(end))
            )
    if isinstance(filters, JobSearch) and filters.metadata:
        # Terms are folded, what programs keep in metadata is not.
        where.append(col(JobRow.metadata_).contains(filters.metadata))
        asked += [any_of([search_index.metadata_token(key, value)]) for key, value in filters.metadata.items()]
    if filters.reference_id is not None:
        where.append(col(JobRow.reference_id) == filters.reference_id)
    return SearchQuery(
        JobRow,
        _of_merchant(visible_to(caller, deleted=filters.deleted), JobRow, filters),
        *_owner(caller, JobRow, filters),
        where,
        [] if walked or each else asked,
        in_order=walked or each is not None,
        whole=filters.deleted or filters.reference_id is not None,
        wide_tokens=wide_tokens,
        pieces=pieces,
        recheck=_recheck_condition(JobRow, filters),
        each=each,
        first=filters.created_gte,
        # What was last changed by then, or had its status by then, was created by then.
        last=min(filter(None, (filters.created_lte, filters.updated_lte, filters.status_changed_lte)), default=None),
    )


def actions_query(caller: Caller, filters: ActionFilters) -> SearchQuery[ActionRow]:
    """What a list or a search of actions asks for."""
    walked, each = _is_index_ordered(caller, filters), _index_ordered_for_each(caller, ActionRow, filters)
    where, asked = _common_conditions(ActionRow, filters)
    where += _one_of(col(ActionRow.status), filters.status)
    if filters.job_id is not None:
        where.append(col(ActionRow.job_id) == filters.job_id)
    asked += [
        *_any_value("S", filters.status),
        *_any_value("T", filters.type),
        *_one_value("s", filters.sku),
        *_one_value("b", filters.barcode),
        *_one_value("i", filters.invoice_number),
        *_one_value("x", filters.external_reference_id),
    ]
    return SearchQuery(
        ActionRow,
        _of_merchant(visible_actions_to(caller), ActionRow, filters),
        *_owner(caller, ActionRow, filters),
        where,
        [] if walked or each else asked,
        in_order=walked or each is not None,
        whole=filters.job_id is not None,
        recheck=_recheck_condition(ActionRow, filters),
        each=each,
        first=filters.created_gte,
        last=min(filter(None, (filters.created_lte, filters.updated_lte)), default=None),
    )


def matching(rows: type[JobRow | ActionRow], asked: Tsqueries) -> list[ColumnElement[bool]]:
    """One condition for each query: an index leaps from a row of one to the next of another."""
    return [_matches(rows, tsquery) for tsquery in asked]


def all_of(asked: Tsqueries) -> Tsqueries:
    """All queries as one: what has the rarest of their terms is looked at, and no list of a frequent term is gone through for itself."""
    return [" & ".join(f"({tsquery})" for tsquery in asked)] if asked else []


def any_of(alternatives: Sequence[str]) -> str:
    """The query that is true of what has at least one of these terms."""
    return f"({' | '.join(map(_lexeme, alternatives))})"


def within(blocks: Sequence[str]) -> Tsqueries:
    """What asks for a row in one of these blocks; nothing where there are none to ask for."""
    return [any_of(blocks)] if blocks else []


def as_tsquery(asked: Iterable[Sequence[str]]) -> str:
    """The query that is true of what has at least one term of each of these lists."""
    return " & ".join(map(any_of, asked))


def name_begins_with(beginning: str) -> ColumnElement[bool]:
    """The full name, the family name or the company begins so."""
    return and_(_matches(JobRow, _prefix_query(search_index.name_token(beginning))), _has_name_prefix(beginning))


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


def _is_index_ordered(caller: Caller, filters: JobFilters | ActionFilters) -> bool:
    """Whether an index has just the rows that are asked for in the order that is asked for."""
    said = _given_conditions(filters)
    if filters.sort.removeprefix("-") != "created_at":
        return not said and caller.row_scope == "tenant"
    if caller.row_scope == "own" or said.pop("merchant_id", None) is not None:
        return not said
    return len(said) <= 1 and all(name in _INDEXED_ALONE and len(value) == 1 for name, value in said.items())


def _index_ordered_for_each(
    caller: Caller, rows: type[JobRow | ActionRow], filters: JobFilters | ActionFilters
) -> OneOfValues | None:
    """The values for each of which an index has just the rows that are asked for in the order that is asked for."""
    said = _given_conditions(filters)
    if caller.row_scope == "own" or filters.sort.removeprefix("-") != "created_at":
        return None
    if said.keys() == {"scheduled_date_gte", "scheduled_date_lte"}:
        first, last = said.values()
        days = range((last - first).days + 1)
        return (
            OneOfValues(SCHEDULED_ORDER, [first + timedelta(number) for number in days])
            if len(days) <= DAYS_SCANNED_MAX
            else None
        )
    ((name, values),) = said.items() if len(said) == 1 else [("", [])]
    return (
        OneOfValues(col(getattr(rows, name)), list(dict.fromkeys(values)))
        if name in _INDEXED_ALONE and len(values) > 1
        else None
    )


def _given_conditions(filters: JobFilters | ActionFilters) -> dict[str, Any]:
    """What is asked for, the range of what orders the list left out."""
    order = filters.sort.removeprefix("-").removesuffix("_at")
    said = filters.model_dump(exclude_defaults=True, exclude={"limit", "cursor", "sort"})
    return {name: value for name, value in said.items() if name not in (f"{order}_gte", f"{order}_lte")}


def _common_conditions(
    rows: type[JobRow | ActionRow], filters: JobFilters | ActionFilters
) -> tuple[list[ColumnElement[bool]], list[str]]:
    where: list[ColumnElement[bool]] = [
        *_one_of(col(rows.type), filters.type),
        *_between(col(rows.created_at), filters.created_gte, filters.created_lte),
        *_between(col(rows.updated_at), filters.updated_gte, filters.updated_lte),
    ]
    asked_times: list[str] = []
    if filters.sort.removeprefix("-") != "created_at":
        asked_times += _in_hours("C", filters.created_gte, filters.created_lte)
    if filters.sort.removeprefix("-") != "updated_at":
        asked_times += _in_hours("U", filters.updated_gte, filters.updated_lte)
    if filters.q is None:
        return where, asked_times
    asked = [[_word_query(word) for word in words] for words in search_index.parse_free_text(filters.q)]
    if len(asked) == 1:
        return where, [*asked_times, *asked[0]]
    return where, [*asked_times, " | ".join(f"({' & '.join(words)})" for words in asked)]


def _recheck_condition(rows: type[JobRow | ActionRow], filters: JobFilters | ActionFilters) -> ExpensiveFilter | None:
    """What of a free text is not proved by the terms by which a row was found; None where all of it is."""
    ways = search_index.parse_free_text(filters.q) if filters.q else []
    doubtful = [[word for word in words if not search_index.ngrams_of(word)[1]] for words in ways]
    if not any(doubtful):
        return None
    return ExpensiveFilter(
        partial(_has_words, doubtful if len(ways) == 1 else ways), [col(rows.terms), col(rows.parts)]
    )


def _in_hours(kind: search_index.BucketKind, start: datetime | None, end: datetime | None) -> Tsqueries:
    """What asks for the hours from one instant to another, or to the present; nothing when they begin anywhere."""
    if start is None:
        return []
    latest = datetime.now(UTC) + CLOCK_SKEW_MAX
    stop = latest if end is None else min(end, latest)
    return within(
        search_index.covering_tokens(kind, search_index.hour_number(start), search_index.hour_number(max(start, stop)))
    )


def _word_query(word: str) -> str:
    """The query that finds a word, whole in a text or as a part in a name or number; and, of long parts, some rows more."""
    pieces, _ = search_index.ngrams_of(word)
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
    pieces, exact = search_index.ngrams_of(word)
    if exact:
        return _matches(row, any_of([f"w:{word}", *pieces]))
    # Names and numbers first: they are at hand, terms may have to be fetched.
    return or_(func.strpos(row.parts, word) > 0, _matches(row, any_of([f"w:{word}"])))


def _prefix_query(term: str) -> str:
    return f"{_lexeme(term)}:*"


def _has_name_prefix(beginning: str) -> ColumnElement[bool]:
    return func.strpos(col(JobRow.parts), search_index.marked_name(beginning)) > 0


def _matches(row: Any, tsquery: str) -> ColumnElement[bool]:
    matching: ColumnElement[bool] = row.terms.op("@@", is_comparison=True)(
        cast(bindparam(None, tsquery, type_=Text()), TSQUERY)
    )
    return matching


def _any_value(kind: search_index.TokenKind, values: Sequence[str]) -> Tsqueries:
    return [any_of([search_index.token(kind, value) for value in values])] if values else []


def _one_value(kind: search_index.TokenKind, value: str | None) -> Tsqueries:
    return [] if value is None else [any_of([search_index.token(kind, value)])]


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
