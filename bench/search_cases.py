"""The searches that `bench.searches` measures: every documented filter and order, with common, rare and unique values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Sample = Mapping[str, Any]
"""A stored job: its columns, and `sku`, `action_barcode` and `action_description` of one of its actions."""


@dataclass(frozen=True, slots=True)
class SearchCase:
    """A search, sent many times with the values of different sample jobs."""

    name: str
    body: Callable[[Sample], Mapping[str, Any]]
    path: str = "/v1/jobs/search"
    own: bool = False
    """True if a merchant searches its own jobs; else staff search those of the tenant."""
    finds: bool = True
    """True if at least one row must be found."""

    def request(self, sample: Sample) -> tuple[str, Mapping[str, Any]]:
        """Path and body of the POST request."""
        return self.path, self.body(sample)


def _always(**conditions: Any) -> Callable[[Sample], Mapping[str, Any]]:
    return lambda _: conditions


_JOBS = (
    SearchCase("newest jobs", _always()),
    SearchCase("newest jobs of one merchant", _always(), own=True),
    SearchCase("oldest jobs", _always(sort="created_at")),
    SearchCase("last updated", _always(sort="-updated_at")),
    SearchCase("first updated", _always(sort="updated_at")),
    SearchCase("next scheduled", _always(sort="scheduled_date")),
    SearchCase("last scheduled", _always(sort="-scheduled_date")),
    SearchCase("last updated of one merchant", _always(sort="-updated_at"), own=True),
    SearchCase("status: new", _always(status=["new"])),
    SearchCase("status: damaged", _always(status=["damaged"])),
    SearchCase("status: two of them", _always(status=["damaged", "incomplete"])),
    SearchCase("status: new, next scheduled", _always(status=["new"], sort="scheduled_date")),
    SearchCase("type: rare", _always(type=["custom"])),
    SearchCase("location", lambda job: {"location_id": [job["location"]]}),
    SearchCase("location, last updated", lambda job: {"location_id": [job["location"]], "sort": "-updated_at"}),
    SearchCase("a merchant, asked by staff", lambda job: {"merchant_id": job["merchant"]}),
    SearchCase("reference", lambda job: {"reference_id": job["reference_id"]}),
    SearchCase("created between", lambda job: {"created_gte": job["created_at"], "created_lte": job["updated_at"]}),
    SearchCase("updated since", lambda job: {"updated_gte": job["updated_at"]}),
    SearchCase("status changed since", lambda job: {"status_changed_gte": job["updated_at"]}),
    SearchCase("scheduled on", lambda job: {"scheduled_date_gte": job["day"], "scheduled_date_lte": job["day"]}),
    SearchCase("contact name: beginning", lambda job: {"contact_name": job["contact"]["last_name"][:4]}),
    SearchCase("contact name: whole", lambda job: {"contact_name": job["contact"]["last_name"]}),
    SearchCase("phone", lambda job: {"phone": job["contact"]["phone"]}),
    SearchCase("e-mail", lambda job: {"email": job["contact"]["email"]}),
    SearchCase("postal code", lambda job: {"postal_code": job["address"]["postal_code"]}),
    SearchCase("invoice", lambda job: {"invoice": job["invoices"][0]}),
    SearchCase("barcode", lambda job: {"barcode": job["barcodes"][0]}),
    SearchCase("tag: one in ten", _always(tag=["fragile"])),
    SearchCase("tag: one in a hundred", _always(tag=["heavy"])),
    SearchCase("tag: one in a thousand", lambda job: {"tag": [job["tags"][-1]]}),
    SearchCase("tag and status", _always(tag=["heavy"], status=["new"])),
    SearchCase("metadata", lambda job: {"metadata": {"shop": job["metadata"]["shop"]}}),
    SearchCase("SKU of an action", lambda job: {"sku": job["sku"]}),
    SearchCase("q: a common word", lambda job: {"q": job["short_description"].split()[0]}),
    SearchCase("q: a rarer word", lambda job: {"q": job["short_description"].split()[1]}),
    SearchCase("q: two words", lambda job: {"q": job["short_description"]}),
    SearchCase("q: a last name", lambda job: {"q": job["contact"]["last_name"]}),
    SearchCase("q: a reference", lambda job: {"q": job["reference_id"]}),
    SearchCase("q: part of a reference", lambda job: {"q": job["reference_id"][-6:]}),
    SearchCase("q: a phone number", lambda job: {"q": job["contact"]["phone"]}),
    SearchCase("q: nothing has it", lambda job: {"q": job["reference_id"][::-1] + "zz"}, finds=False),
    SearchCase("q of one merchant", lambda job: {"q": job["contact"]["last_name"]}, own=True, finds=False),
)
_ACTIONS = tuple(
    SearchCase(f"actions: {name}", body, "/v1/actions/search", own)
    for name, body, own in (
        ("newest", _always(), False),
        ("newest of one merchant", _always(), True),
        ("last updated", _always(sort="-updated_at"), False),
        ("damaged", _always(status=["damaged"]), False),
        ("SKU", lambda job: {"sku": job["sku"]}, False),
        ("barcode", lambda job: {"barcode": job["action_barcode"]}, False),
        ("q", lambda job: {"q": job["action_description"]}, False),
    )
)
SEARCH_CASES: Sequence[SearchCase] = (*_JOBS, *_ACTIONS)


def new_job(number: int) -> Mapping[str, Any]:
    """The body of a job to create."""
    return {
        "reference_id": f"NEW{number:08d}",
        "contact": {"first_name": "Ada", "last_name": "Lovelace", "phone": "+15145550100"},
        "address": {"line1": "1 Rue Sherbrooke", "city": "Montréal", "postal_code": "H2X 1Y4"},
        "tags": ["fragile"],
        "actions": [{"description": "Sofa, three seats", "sku": "S-100"}],
    }
