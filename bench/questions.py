"""Every documented search of jobs and actions, each with values that a stock of jobs holds: common ones, rare ones, one of a kind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Sample = Mapping[str, Any]
"""A job of the stock: its columns, and `sku` and `action_barcode` of one of its actions."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request that is made again and again, each time for another sample."""

    name: str
    ask: Callable[[Sample], Mapping[str, Any]]
    path: str = "/v1/jobs/search"
    own: bool = False
    """Asked by a merchant about its own, not by staff about all."""
    finds: bool = True
    """Whether there is something to find."""

    def request(self, sample: Sample) -> tuple[str, Mapping[str, Any]]:
        """Where to post what."""
        return self.path, self.ask(sample)


def _always(**asked: Any) -> Callable[[Sample], Mapping[str, Any]]:
    return lambda _: asked


_JOBS = (
    Question("newest jobs", _always()),
    Question("newest jobs of one merchant", _always(), own=True),
    Question("oldest jobs", _always(sort="created_at")),
    Question("last updated", _always(sort="-updated_at")),
    Question("first updated", _always(sort="updated_at")),
    Question("next scheduled", _always(sort="scheduled_date")),
    Question("last scheduled", _always(sort="-scheduled_date")),
    Question("last updated of one merchant", _always(sort="-updated_at"), own=True),
    Question("status: new", _always(status=["new"])),
    Question("status: damaged", _always(status=["damaged"])),
    Question("status: two of them", _always(status=["damaged", "incomplete"])),
    Question("status: new, next scheduled", _always(status=["new"], sort="scheduled_date")),
    Question("type: rare", _always(type=["custom"])),
    Question("location", lambda job: {"location_id": [job["location"]]}),
    Question("location, last updated", lambda job: {"location_id": [job["location"]], "sort": "-updated_at"}),
    Question("a merchant, asked by staff", lambda job: {"merchant_id": job["merchant"]}),
    Question("reference", lambda job: {"reference_id": job["reference_id"]}),
    Question("created between", lambda job: {"created_gte": job["created_at"], "created_lte": job["updated_at"]}),
    Question("updated since", lambda job: {"updated_gte": job["updated_at"]}),
    Question("status changed since", lambda job: {"status_changed_gte": job["updated_at"]}),
    Question("scheduled on", lambda job: {"scheduled_date_gte": job["day"], "scheduled_date_lte": job["day"]}),
    Question("contact name: beginning", lambda job: {"contact_name": job["contact"]["last_name"][:4]}),
    Question("contact name: whole", lambda job: {"contact_name": job["contact"]["last_name"]}),
    Question("phone", lambda job: {"phone": job["contact"]["phone"]}),
    Question("e-mail", lambda job: {"email": job["contact"]["email"]}),
    Question("postal code", lambda job: {"postal_code": job["address"]["postal_code"]}),
    Question("invoice", lambda job: {"invoice": job["invoices"][0]}),
    Question("barcode", lambda job: {"barcode": job["barcodes"][0]}),
    Question("tag: one in ten", _always(tag=["fragile"])),
    Question("tag: one in a hundred", _always(tag=["heavy"])),
    Question("tag: one in a thousand", lambda job: {"tag": [job["tags"][-1]]}),
    Question("tag and status", _always(tag=["heavy"], status=["new"])),
    Question("metadata", lambda job: {"metadata": {"shop": job["metadata"]["shop"]}}),
    Question("SKU of an action", lambda job: {"sku": job["sku"]}),
    Question("q: a common word", lambda job: {"q": job["short_description"].split()[0]}),
    Question("q: a rarer word", lambda job: {"q": job["short_description"].split()[1]}),
    Question("q: two words", lambda job: {"q": job["short_description"]}),
    Question("q: a last name", lambda job: {"q": job["contact"]["last_name"]}),
    Question("q: a reference", lambda job: {"q": job["reference_id"]}),
    Question("q: part of a reference", lambda job: {"q": job["reference_id"][-6:]}),
    Question("q: a phone number", lambda job: {"q": job["contact"]["phone"]}),
    Question("q: nothing has it", lambda job: {"q": job["reference_id"][::-1] + "zz"}, finds=False),
    Question("q of one merchant", lambda job: {"q": job["contact"]["last_name"]}, own=True, finds=False),
)
_ACTIONS = tuple(
    Question(f"actions: {name}", ask, "/v1/actions/search", own)
    for name, ask, own in (
        ("newest", _always(), False),
        ("newest of one merchant", _always(), True),
        ("last updated", _always(sort="-updated_at"), False),
        ("damaged", _always(status=["damaged"]), False),
        ("SKU", lambda job: {"sku": job["sku"]}, False),
        ("barcode", lambda job: {"barcode": job["action_barcode"]}, False),
        ("q", lambda job: {"q": job["action_description"]}, False),
    )
)
QUESTIONS: Sequence[Question] = (*_JOBS, *_ACTIONS)


def new_job(number: int) -> Mapping[str, Any]:
    """A job to create between the searches."""
    return {
        "reference_id": f"NEW{number:08d}",
        "contact": {"first_name": "Ada", "last_name": "Lovelace", "phone": "+15145550100"},
        "address": {"line1": "1 Rue Sherbrooke", "city": "Montréal", "postal_code": "H2X 1Y4"},
        "tags": ["fragile"],
        "actions": [{"description": "Sofa, three seats", "sku": "S-100"}],
    }
