"""Event types: a JSON Schema and an example of each.

Both are generated from the models that the events are published with.
"""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from shared.api import Page
from shared.events import Event, State, jobs, webhooks
from webhooks.events.schemas import EventType

TEST_EVENT = "webhook.test"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_AT = datetime(2030, 1, 31, 9, 0, tzinfo=UTC)
_TENANT = "ten_01h455vb4pex5vsknk084sn02q"
_LOCATION = "loc_01h455vb4pex5vsknk084sn02q"
_JOB = "job_01h455vb4pex5vsknk084sn02q"
_ACTION = "act_01h455vb4pex5vsknk084sn02q"
_ENDPOINT = "ep_01h455vb4pex5vsknk084sn02q"

_DESCRIPTIONS = {
    "job.created": ("A job was created.", "new", []),
    "job.updated": ("A job has changed; `changed_fields` names what.", "new", ["instructions"]),
    "job.started": ("Work on a job has begun.", "in_progress", ["status", "status_changed_at"]),
    "job.completed": ("All units of a job are done.", "completed", ["status", "status_changed_at"]),
    "job.partially_completed": (
        "A job has ended with some of its units done.",
        "partially_completed",
        ["status", "status_changed_at"],
    ),
    "job.incomplete": ("A job has ended with none of its units done.", "incomplete", ["status", "status_changed_at"]),
    "job.damaged": ("A job has ended with damaged units.", "damaged", ["status", "status_changed_at"]),
    "job.resolved": ("The problem of a job was resolved.", "resolved", ["status", "status_changed_at"]),
    "job.cancelled": ("A job was cancelled.", "cancelled", ["status", "status_changed_at", "status_reason"]),
    "job.deleted": ("A job was deleted; it can be restored.", "new", ["deleted_at"]),
    "job.restored": ("A deleted job is back.", "new", ["deleted_at"]),
    "action.created": ("An action was added to a job; `action_id` names it.", "new", []),
    "action.updated": ("An action of a job has changed; `action_id` names it.", "new", ["quantity"]),
    "action.deleted": ("An action was deleted from a job; `action_id` names it.", "new", []),
    "action.outcome_recorded": (
        "The outcome of an action's units was recorded; `action_id` names it.",
        "in_progress",
        ["outcome", "status"],
    ),
    "endpoint.created": ("A webhook endpoint was created.", "", []),
    "endpoint.updated": ("A webhook endpoint was updated or enabled.", "", []),
    "endpoint.warned": ("A webhook endpoint will be disabled if deliveries go on failing.", "", []),
    "endpoint.disabled": ("A webhook endpoint was disabled; `reason` says why.", "", []),
    "endpoint.deleted": ("A webhook endpoint was deleted.", "", []),
}
"""For each type: its description, and the job's status and `changed_fields` in its example."""


class TestState(State):
    """The data of a test event."""

    tenant_id: str
    location_ids: list[str] = []
    livemode: bool
    endpoint_id: str
    message: str = "This is a test. Nothing has happened."


@cache
def list_event_types() -> Page[EventType]:
    """All event types; those that endpoints can subscribe to come first."""
    test = EventType(
        name=TEST_EVENT,
        description="Sent only by `POST /v1/webhook-endpoints/{id}/test`.",
        is_delivered=True,
        topic=None,
        json_schema=_delivered_schema(TEST_EVENT, TestState),
        example=event_body(TEST_EVENT, _AT, TestState(tenant_id=_TENANT, livemode=True, endpoint_id=_ENDPOINT)),
    )
    types = [*map(_delivered, jobs.EVENTS), test, *map(_published, webhooks.EVENTS)]
    return Page[EventType](data=types, has_more=False)


def event_body(name: str, at: datetime, state: State) -> dict[str, Any]:
    """The body of an event as receivers get it."""
    return {"type": name, "timestamp": at.isoformat().replace("+00:00", "Z"), "data": state.model_dump(mode="json")}


def _delivered(event: type[jobs.JobEvent]) -> EventType:
    name = event.type_name()
    return EventType(
        name=name,
        description=_description(event),
        is_delivered=True,
        topic=event.topic,
        json_schema=_delivered_schema(name, jobs.JobChange),
        example=event_body(name, _AT, _job_change(name)),
    )


def _published(event: type[Event]) -> EventType:
    state = webhooks.EndpointState(
        endpoint_id=_ENDPOINT,
        tenant_id=_TENANT,
        url="https://example.com/hooks",
        event_types=["job.*"],
        location_ids=[_LOCATION],
        enabled=event is not webhooks.EndpointDisabled,
        reason="failing" if event is webhooks.EndpointDisabled else None,
    )
    schema = {"$schema": _DIALECT, **webhooks.EndpointState.model_json_schema(mode="serialization")}
    return EventType(
        name=event.type_name(),
        description=_description(event),
        is_delivered=False,
        topic=event.topic,
        json_schema=schema,
        example=state.model_dump(mode="json"),
    )


def _description(event: type[Event]) -> str:
    says = _DESCRIPTIONS.get(event.type_name())
    return says[0] if says is not None else (event.__doc__ or event.type_name())


def _delivered_schema(name: str, state: type[State]) -> dict[str, Any]:
    """The JSON Schema of a delivered body."""
    content = state.model_json_schema(mode="serialization")
    definitions = content.pop("$defs", {})
    return {
        "$schema": _DIALECT,
        "title": name,
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"const": name},
            "timestamp": {"type": "string", "format": "date-time", "description": "When it happened."},
            "data": content,
        },
        "$defs": definitions,
    }


def _job_change(name: str) -> jobs.JobChange:
    _, status, changed = _DESCRIPTIONS.get(name, ("", "new", []))
    about_action = name.startswith("action.")
    recorded = name == "action.outcome_recorded"
    action = jobs.ActionState(
        id=_ACTION,
        job_id=_JOB,
        type="delivery",
        position=1,
        sku="S-1",
        description="Sofa",
        quantity=2,
        status="completed" if recorded else "undetermined",
        outcome=jobs.OutcomeState(completed=2) if recorded else None,
        version=1,
        created_at=_AT,
        updated_at=_AT,
    )
    job = jobs.JobState(
        id=_JOB,
        merchant_id="mer_01h455vb4pex5vsknk084sn02q",
        reference_id="A-1001",
        status=status,
        status_reason="The customer is away" if status == "cancelled" else None,
        status_changed_at=_AT if status != "new" else None,
        type="delivery",
        contact=jobs.ContactState(first_name="Ada", phone="+15145550100"),
        address=jobs.AddressState(raw="1 Rue Sherbrooke, Montréal", country="CA"),
        location_id=_LOCATION,
        actions=[] if name == "action.deleted" else [action],
        created_by="usr_01h455vb4pex5vsknk084sn02q",
        livemode=True,
        version=1 if name == "job.created" else 2,
        created_at=_AT,
        updated_at=_AT,
        deleted_at=_AT if name == "job.deleted" else None,
    )
    return jobs.JobChange(
        tenant_id=_TENANT,
        location_ids=[_LOCATION],
        sequence=1 if name == "job.created" else 2,
        livemode=True,
        changed_fields=changed,
        action_id=_ACTION if about_action else None,
        job=job,
    )
