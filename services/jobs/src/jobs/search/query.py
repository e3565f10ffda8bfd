"""The search query: the conditions of a request, as SQL.

Many conditions are expressed twice: on a column, because the column's index has the requested order, and as a token, because any
combination of tokens is one lookup in one index. Example: `status=new&tag=fragile` has the column condition `status = 'new'` and the
tokens `S:new` and `t:fragile`. The two cannot disagree: a row's tokens are written with the row.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from jobs import search_index
from jobs.job_store import ActionRow, JobRow, visible
from jobs.search.schemas import ActionFilters, Filters, JobFilters, JobSearch
from shared.access.principals import Caller
from shared.ids import known_uuid, to_uuid
from shared.postgres.fragments import Sql, all_of, joined, sql

Table = type[JobRow] | type[ActionRow]
Tsqueries = Sequence[str]
"""Token queries in PostgreSQL's `tsquery` notation, such as `('t:fragile')`; a row must match all of them."""

CLOCK_SKEW_MAX = timedelta(hours=2)
"""Largest difference by which the clock of a process that wrote a row can be ahead."""
DAYS_SCANNED_MAX = 14
"""Largest number of scheduled days that are read as one index scan per day; more days are looked up by tokens."""
_SINGLE_VALUE_INDEXES = frozenset({"status", "type", "location_id"})
"""Conditions for which an index has the rows of each value in the order of creation, for all merchants together."""
SCHEDULED = "coalesce(jobs.scheduled_date, '9999-12-31'::date)"
"""The expression of the index `ix_jobs_scheduled`: jobs without a date come after all others."""
UNSCHEDULED = "'9999-12-31'::date"


@dataclass(frozen=True, slots=True)
class OneOfValues:
    """The condition that a column has one of a few values. An index has the rows of each value in the order of the list."""

    column: str
    sql_type: str
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """The conditions of a list or search, in the forms from which the planner chooses."""

    table: Table
    visible: Sql
    """The condition that the caller may see a row, and that it is the owner's."""
    owner_id: str
    """Id of the merchant (`of_merchant`) or of the tenant whose rows are searched."""
    of_merchant: bool
    owner_conditions: Sequence[Sql]
    """Owner and mode as column conditions: every ordered index begins with these columns."""
    where: Sequence[Sql]
    """The other column conditions."""
    tokens: Tsqueries
    """The token conditions; empty if an index has the rows in order."""
    index_ordered: bool
    """True if an index has exactly these rows in the requested order, at least for each value of `per_value`."""
    unpartitioned: bool
    """True if another condition (a reference, a job id, deleted jobs) finds few rows, so that the list is not read in parts."""
    wide_tokens: Tsqueries = ()
    """Further token conditions. PostgreSQL collects all their matches before it returns one, as for the prefix `n:ad` of a name."""
    ngrams: Tsqueries = ()
    """Conditions that replace `wide_tokens` at less cost; some rows that match them must be filtered out by `where`."""
    recheck: Sql | None = None
    """What tokens do not prove. It reads a row's `terms` and `parts` and is expensive, so it is evaluated last."""
    per_value: OneOfValues | None = None
    """A column and values: for each value an index has the rows in order, and the first rows of all of them are merged."""
    created_from: datetime | None = None
    created_until: datetime | None = None
    """Earliest and latest creation instant that a matching row can have, as far as the conditions tell."""

    @property
    def name(self) -> str:
        """The name of the table."""
        return str(self.table.__tablename__)


def jobs_query(caller: Caller, filters: JobFilters) -> SearchQuery:
    """The query of a list or a search of jobs."""
    index_ordered, per_value = _is_index_ordered(caller, filters), _ordered_per_value(caller, filters)
    where, tokens = _common_conditions(filters)
    where += [
        *_one_of("status", filters.status),
        *_one_of("location_id", [known_uuid(location_id) for location_id in filters.location_id]),
        *_between("status_changed_at", filters.status_changed_gte, filters.status_changed_lte),
    ]
    tokens += [
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
    ngrams: list[str] = []
    if filters.sort.removeprefix("-") != "updated_at":
        # A change of the status is also an update of the row.
        tokens += _in_hours("U", filters.status_changed_gte, None)
    if filters.contact_name is not None:
        name = search_index.name_token(filters.contact_name)
        name_ngrams = [any_of([ngram]) for ngram in search_index.ngrams_of_name(filters.contact_name)]
        where.append(_has_name_prefix(filters.contact_name))
        if search_index.fills_name_token(filters.contact_name):
            # Many names have the same first six letters; n-grams exclude most of those that continue differently.
            tokens += [any_of([name]), *name_ngrams]
        else:
            wide_tokens, ngrams = [_prefix_query(name)], name_ngrams
    if filters.scheduled_date_gte is not None or filters.scheduled_date_lte is not None:
        start, end = filters.scheduled_date_gte, filters.scheduled_date_lte
        # The upper bound ends an index scan before the jobs without a date.
        where += [*_between(SCHEDULED, start, end), sql(f"{SCHEDULED} < {UNSCHEDULED}")]
        if start is not None and end is not None:
            tokens += any_bucket(
                search_index.covering_tokens("D", search_index.day_number(start), search_index.day_number(end))
            )
    if isinstance(filters, JobSearch) and filters.metadata:
        # Tokens are folded, but metadata must match exactly.
        where.append(sql("metadata @> {}::jsonb", json.dumps(filters.metadata)))
        tokens += [any_of([search_index.metadata_token(key, value)]) for key, value in filters.metadata.items()]
    if filters.reference_id is not None:
        where.append(sql("reference_id = {}", filters.reference_id))
    return SearchQuery(
        JobRow,
        _of_merchant(visible(caller, JobRow, deleted=filters.deleted), filters),
        *_owner(caller, filters),
        where,
        [] if index_ordered or per_value else tokens,
        index_ordered=index_ordered or per_value is not None,
        unpartitioned=filters.deleted or filters.reference_id is not None,
        wide_tokens=wide_tokens,
        ngrams=ngrams,
        recheck=_recheck_condition(filters),
        per_value=per_value,
        created_from=filters.created_gte,
        # A row that was last updated, or got its status, by an instant was created by then.
        created_until=min(
            filter(None, (filters.created_lte, filters.updated_lte, filters.status_changed_lte)), default=None
        ),
    )


def actions_query(caller: Caller, filters: ActionFilters) -> SearchQuery:
    """The query of a list or a search of actions."""
    index_ordered, per_value = _is_index_ordered(caller, filters), _ordered_per_value(caller, filters)
    where, tokens = _common_conditions(filters)
    where += _one_of("status", filters.status)
    if filters.job_id is not None:
        where.append(sql("job_id = {}", to_uuid(filters.job_id)))
    tokens += [
        *_any_value("S", filters.status),
        *_any_value("T", filters.type),
        *_one_value("s", filters.sku),
        *_one_value("b", filters.barcode),
        *_one_value("i", filters.invoice_number),
        *_one_value("x", filters.external_reference_id),
    ]
    return SearchQuery(
        ActionRow,
        _of_merchant(visible(caller, ActionRow), filters),
        *_owner(caller, filters),
        where,
        [] if index_ordered or per_value else tokens,
        index_ordered=index_ordered or per_value is not None,
        unpartitioned=filters.job_id is not None,
        recheck=_recheck_condition(filters),
        per_value=per_value,
        created_from=filters.created_gte,
        created_until=min(filter(None, (filters.created_lte, filters.updated_lte)), default=None),
    )


def matching(tsqueries: Tsqueries) -> list[Sql]:
    """One SQL condition per query, so that the index can skip from a match of one to the next match of another."""
    return [_matches(tsquery) for tsquery in tsqueries]


def as_one(tsqueries: Tsqueries) -> Tsqueries:
    """All queries as one, which the index evaluates from its rarest token on, without reading the lists of frequent ones whole."""
    return [" & ".join(f"({tsquery})" for tsquery in tsqueries)] if tsqueries else []


def any_of(tokens: Sequence[str]) -> str:
    """The query that matches rows with at least one of these tokens."""
    return f"({' | '.join(map(_lexeme, tokens))})"


def any_bucket(buckets: Sequence[str]) -> Tsqueries:
    """The query that matches rows in one of these time buckets; none if the range is too long to be covered by buckets."""
    return [any_of(buckets)] if buckets else []


def as_tsquery(alternatives: Iterable[Sequence[str]]) -> str:
    """The query that matches rows with at least one token of each of these lists."""
    return " & ".join(map(any_of, alternatives))


def name_begins_with(beginning: str) -> Sql:
    """The condition that the full name, the family name or the company begins so."""
    return all_of([_matches(_prefix_query(search_index.name_token(beginning))), _has_name_prefix(beginning)])


def _lexeme(token: str) -> str:
    escaped = token.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _owner(caller: Caller, filters: Filters) -> tuple[str, bool, list[Sql]]:
    """`owner_id`, `of_merchant` and `owner_conditions` of a query."""
    merchant_id = caller.subject_id if caller.row_scope == "own" else filters.merchant_id
    mode = sql("livemode = {}", caller.livemode)
    if merchant_id is None:
        return caller.tenant_id, False, [sql("tenant_id = {}", known_uuid(caller.tenant_id)), mode]
    return merchant_id, True, [sql("merchant_id = {}", known_uuid(merchant_id)), mode]


def _of_merchant(seen: Sql, filters: Filters) -> Sql:
    if filters.merchant_id is None:
        return seen
    return all_of([seen, sql("merchant_id = {}", known_uuid(filters.merchant_id))])


def _is_index_ordered(caller: Caller, filters: JobFilters | ActionFilters) -> bool:
    """True if an index has exactly the requested rows in the requested order.

    Example: `status=new` of a tenant in the order of creation (`ix_jobs_of_status`), but not of one merchant.
    """
    given = _given_conditions(filters)
    if filters.sort.removeprefix("-") != "created_at":
        return not given and caller.row_scope == "tenant"
    if caller.row_scope == "own" or given.pop("merchant_id", None) is not None:
        return not given
    return len(given) <= 1 and all(name in _SINGLE_VALUE_INDEXES and len(value) == 1 for name, value in given.items())


def _ordered_per_value(caller: Caller, filters: JobFilters | ActionFilters) -> OneOfValues | None:
    """The values for each of which an index has exactly the requested rows in the requested order; None if there is no such index.

    Examples: `status=new&status=damaged`, or the scheduled days of a short range, both in the order of creation.
    """
    given = _given_conditions(filters)
    if caller.row_scope == "own" or filters.sort.removeprefix("-") != "created_at":
        return None
    if given.keys() == {"scheduled_date_gte", "scheduled_date_lte"}:
        first, last = given.values()
        days = range((last - first).days + 1)
        if len(days) > DAYS_SCANNED_MAX:
            return None
        return OneOfValues(SCHEDULED, "date", [first + timedelta(number) for number in days])
    if len(given) != 1:
        return None
    ((name, values),) = given.items()
    if name not in _SINGLE_VALUE_INDEXES or len(values) == 1:
        return None
    distinct = list(dict.fromkeys(values))
    if name == "location_id":
        return OneOfValues(name, "uuid", [known_uuid(location_id) for location_id in distinct])
    return OneOfValues(name, "text", distinct)


def _given_conditions(filters: JobFilters | ActionFilters) -> dict[str, Any]:
    """The conditions of the request by name, without a range of the value that orders the list (an index serves both)."""
    order = filters.sort.removeprefix("-").removesuffix("_at")
    given = filters.model_dump(exclude_defaults=True, exclude={"limit", "cursor", "sort"})
    return {name: value for name, value in given.items() if name not in (f"{order}_gte", f"{order}_lte")}


def _common_conditions(filters: JobFilters | ActionFilters) -> tuple[list[Sql], list[str]]:
    """The column conditions and the token conditions that jobs and actions have in common."""
    where = [
        *_one_of("type", filters.type),
        *_between("created_at", filters.created_gte, filters.created_lte),
        *_between("updated_at", filters.updated_gte, filters.updated_lte),
    ]
    tokens: list[str] = []
    if filters.sort.removeprefix("-") != "created_at":
        tokens += _in_hours("C", filters.created_gte, filters.created_lte)
    if filters.sort.removeprefix("-") != "updated_at":
        tokens += _in_hours("U", filters.updated_gte, filters.updated_lte)
    if filters.q is not None:
        tokens += _free_text_queries(filters.q)
    return where, tokens


def _free_text_queries(text: str) -> list[str]:
    """One query per word; one query for all if the text has two meanings (words, or a phone number)."""
    alternatives = [[_word_query(word) for word in words] for words in search_index.parse_free_text(text)]
    if len(alternatives) == 1:
        return alternatives[0]
    return [" | ".join(f"({' & '.join(words)})" for words in alternatives)]


def _recheck_condition(filters: JobFilters | ActionFilters) -> Sql | None:
    """The words of a free text whose tokens do not prove that the row has them; None if all do.

    Example: `sherbrooke` is looked up by overlapping n-grams, which a row can have in several words.
    """
    alternatives = search_index.parse_free_text(filters.q) if filters.q else []
    unproven = [[word for word in words if not search_index.ngrams_of(word)[1]] for words in alternatives]
    if not any(unproven):
        return None
    return _has_words(unproven if len(alternatives) == 1 else alternatives)


def _in_hours(kind: search_index.BucketKind, start: datetime | None, end: datetime | None) -> Tsqueries:
    """The query for the hours from `start` to `end` (None: the present); none without a start, as the range is then too long."""
    if start is None:
        return []
    latest = datetime.now(UTC) + CLOCK_SKEW_MAX
    stop = latest if end is None else min(end, latest)
    return any_bucket(
        search_index.covering_tokens(kind, search_index.hour_number(start), search_index.hour_number(max(start, stop)))
    )


def _word_query(word: str) -> str:
    """The query that finds a word as a whole word, or as a part of a name or number.

    For long parts it also finds rows that have the n-grams in other places: `_has_word` excludes them.
    """
    ngrams, _ = search_index.ngrams_of(word)
    part = [f"({' & '.join(map(_lexeme, ngrams))})"] if ngrams else []
    return f"({' | '.join([_lexeme(f'w:{word}'), *part])})"


def _has_words(alternatives: Sequence[Sequence[str]]) -> Sql:
    return _any(map(_has_all, alternatives))


def _has_all(words: Sequence[str]) -> Sql:
    each = all_of(map(_has_word, words))
    # Each use of the tokens can fetch them from the TOAST table again; mostly the first use, for all words together, is enough.
    return each if len(words) == 1 else _any([_matches(as_tsquery([[f"w:{word}"] for word in words])), each])


def _has_word(word: str) -> Sql:
    """The exact condition for which `_word_query` is the lookup."""
    ngrams, exact = search_index.ngrams_of(word)
    if exact:
        return _matches(any_of([f"w:{word}", *ngrams]))
    # Names and numbers first: they are stored in the row, its tokens may be in the TOAST table.
    return _any([sql("strpos(parts, {}) > 0", word), _matches(any_of([f"w:{word}"]))])


def _any(conditions: Iterable[Sql]) -> Sql:
    return sql("({})", joined(" OR ", (sql("({})", condition) for condition in conditions)))


def _prefix_query(token: str) -> str:
    return f"{_lexeme(token)}:*"


def _has_name_prefix(beginning: str) -> Sql:
    return sql("strpos(parts, {}) > 0", search_index.marked_name(beginning))


def _matches(tsquery: str) -> Sql:
    return sql("terms @@ CAST({} AS text)::tsquery", tsquery)


def _any_value(kind: search_index.TokenKind, values: Sequence[str]) -> Tsqueries:
    return [any_of([search_index.token(kind, value) for value in values])] if values else []


def _one_value(kind: search_index.TokenKind, value: str | None) -> Tsqueries:
    return [] if value is None else [any_of([search_index.token(kind, value)])]


def _one_of(column: str, values: Sequence[Any]) -> list[Sql]:
    if not values:
        return []
    if len(values) == 1:
        # With `= value` an index that begins with this column returns rows in order; with a list of one it does not.
        return [sql(f"{column} = {{}}", values[0])]
    # One array parameter, so that lists of every length share one prepared statement.
    return [sql(f"{column} = ANY({{}})", list(values))]


def _between(column: str, start: Any, end: Any) -> list[Sql]:
    bounds = [] if start is None else [sql(f"{column} >= {{}}", start)]
    return bounds if end is None else [*bounds, sql(f"{column} <= {{}}", end)]
