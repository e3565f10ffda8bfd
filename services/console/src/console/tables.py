"""Tables: what is asked for stands in the address, so a page of one can be opened again, shared, and gone back to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from console.gateway import Answer
from console.i18n import current

PAGE_ROWS = 50
LOCAL_TIME = "datetime-local"
MERCHANT_LOOKUP = "merchant"
"""The type of a filter whose choices are looked for by name."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter of a table: its parameter, its label, and the choices, where there are few."""

    name: str
    label: str
    choices: Sequence[tuple[str, str]] = ()
    type: str = "text"
    is_rare: bool = False
    """It is folded away until it is set."""


class TableQuery:
    """What the address asks of a table: filters, and the page."""

    def __init__(self, path: str, given: QueryParams, filters: Sequence[Filter] = (), *, search: bool = False):
        self.path = path
        self.filters = filters
        self.search = search
        names = [one.name for one in filters] + (["q"] if search else [])
        self.values = {name: value for name in names if (value := given.get(name, "").strip())}
        self.cursor = given.get("cursor") or None

    @property
    def asked(self) -> dict[str, Any]:
        """The query for the service's list."""
        return {**self.values, **self.instants, "cursor": self.cursor, "limit": PAGE_ROWS}

    @property
    def instants(self) -> dict[str, str]:
        """The filters that are local times, in the reader's zone, as instants."""
        times = [one.name for one in self.filters if one.type == LOCAL_TIME and one.name in self.values]
        return {name: current().instant_of(self.values[name]) for name in times}

    @property
    def is_filtered(self) -> bool:
        return bool(self.values)

    @property
    def chips(self) -> list[tuple[str, str, str]]:
        """Each filter that is set: its label, what it is set to, and the address without it."""
        found, words = [], current()
        for one in self.filters:
            if one.name in self.values:
                value = self.values[one.name]
                at = self.instants.get(one.name, value)
                shown = dict(one.choices).get(value, words.instant(at) if at != value else value)
                found.append((one.label, shown, self.address(**{one.name: None})))
        return found

    def address(self, **changes: str | None) -> str:
        """The address with other values; every change begins at the first page."""
        return self.address_on(self.path, **changes)

    def address_on(self, path: str, **changes: str | None) -> str:
        """The same on another page that knows these filters."""
        wanted: Mapping[str, str | None] = {**self.values, **changes}
        query = urlencode({name: value for name, value in wanted.items() if value})
        return f"{path}?{query}" if query else path

    def next_address(self, answer: Answer) -> str | None:
        """The address of the page after this one."""
        cursor = answer.get("next_cursor")
        return self.address(cursor=cursor) if cursor else None
