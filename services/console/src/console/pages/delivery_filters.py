"""What deliveries are filtered by: in their list, in a replay of all that match, and in what a replay says of itself."""

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import QueryParams

from console.forms import integer
from console.gateway import Part
from console.i18n import current
from console.i18n import gettext as _
from console.pages.webhook_words import cause_text
from console.tables import LOCAL_TIME, Filter, TableQuery

LIST_PATH, RECOVER_PATH = "/deliveries", "/replays/deliveries"
CAUSES = ("status", "timeout", "connect", "tls", "dns", "blocked", "too_large", "protocol", "secret_unreadable")


def urls_of(endpoints: Part) -> dict[str, str]:
    """The addresses of endpoints by their ids."""
    return {} if endpoints.answer is None else {one["id"]: one["url"] for one in endpoints["data"]}


def delivery_table(path: str, given: QueryParams | Mapping[str, str], found: Mapping[str, Part]) -> TableQuery:
    """A table of deliveries with its filters; `found` has the `endpoints` and the `locations` that name their choices."""
    locations = found["locations"]
    places = [] if locations.answer is None else [(one["location_id"], one["name"]) for one in locations["data"]]
    statuses = [("delivered", _("Delivered")), ("pending", _("Waiting or retrying")), ("failed", _("Failed"))]
    filters = [
        Filter("endpoint_id", _("Endpoint"), list(urls_of(found["endpoints"]).items())),
        Filter("status", _("State"), statuses),
        Filter("location_id", _("Location"), places),
        Filter("created_from", _("Since"), type=LOCAL_TIME),
        Filter("created_before", _("Until"), type=LOCAL_TIME),
        Filter("job_reference", _("Reference of the job")),
        Filter("cause", _("Cause"), [(cause, cause_text(cause)) for cause in CAUSES], is_rare=True),
        Filter("response_class", _("Answers"), [(one, one) for one in ("2xx", "3xx", "4xx", "5xx")], is_rare=True),
        Filter("response_status", _("HTTP status"), is_rare=True),
        Filter("event_type", _("Event type"), is_rare=True),
        Filter("job_id", _("Job id"), is_rare=True),
        Filter("event_id", _("Event id"), is_rare=True),
    ]
    return TableQuery(path, QueryParams(dict(given)), filters)


def as_replay(table: TableQuery) -> dict[str, Any]:
    """The replay of exactly what the table is filtered by."""
    of_delivery: dict[str, Any] = {**table.values, **table.instants}
    endpoint_id, since, until = (
        of_delivery.pop(name, None) for name in ("endpoint_id", "created_from", "created_before")
    )
    if "response_status" in of_delivery:
        of_delivery["response_status"] = integer([of_delivery["response_status"]])
    return {
        "kind": "deliveries",
        "endpoint_id": endpoint_id,
        "since": since,
        "until": until,
        "deliveries": of_delivery,
    }


def of_replay(replay: Mapping[str, Any], *, exact: bool) -> dict[str, str]:
    """The filters of the list that show what a replay is about: to the second, or (not `exact`) as fields for a time have it."""
    given = {name: value for name, value in (replay["deliveries"] or {}).items() if value is not None}
    if replay["kind"] == "failed":
        given["status"] = "failed"
    at = str if exact else current().local
    given |= {"endpoint_id": replay["endpoint_id"], "created_from": at(replay["since"])}
    if exact or replay["until"] < replay["created_at"]:
        given["created_before"] = at(replay["until"])
    return {name: str(value) for name, value in given.items() if value is not None}
