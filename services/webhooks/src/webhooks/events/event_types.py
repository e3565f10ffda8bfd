"""The types of events: what each says, as a JSON Schema, and an example of each that the schema admits.

Both are made from the models that the events are published with, so they cannot say anything else.
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
    "job.created": ("A job was made.", "new", []),
    "job.updated": ("Something about a job has changed; `changed_fields` names it.", "new", ["instructions"]),
    "job.started": ("Work on a job has begun.", "in_progress", ["status", "status_changed_at"]),
    "job.completed": ("All units of a job are done.", "completed", ["status", "status_changed_at"]),
    "job.partially_completed": (
        "A job has ended, and some of its units are done.",
        "partially_completed",
        ["status", "status_changed_at"],
    ),
    "job.incomplete": ("A job has ended with none of its units done.", "incomplete", ["status", "status_changed_at"]),
    "job.damaged": ("A job has ended, and units of it are damaged.", "damaged", ["status", "status_changed_at"]),
    "job.resolved": ("What was wrong with a job has been dealt with.", "resolved", ["status", "status_changed_at"]),
    "job.cancelled": ("A job will not be done.", "cancelled", ["status", "status_changed_at", "status_reason"]),
    "job.deleted": ("A job was deleted; it can be restored.", "new", ["deleted_at"]),
    "job.restored": ("A deleted job is back.", "new", ["deleted_at"]),
    "action.created": ("An action was added to a job; `action_id` names it.", "new", []),
    "action.updated": ("An action of a job has changed; `action_id` names it.", "new", ["quantity"]),
    "action.deleted": ("An action was taken from a job; `action_id` names it.", "new", []),
    "action.outcome_recorded": (
        "What became of an action's units was recorded; `action_id` names it.",
        "in_progress",
        ["outcome", "status"],
    ),
    "endpoint.created": ("A webhook endpoint was made.", "", []),
    "endpoint.updated": ("A webhook endpoint was changed or enabled.", "", []),
    "endpoint.warned": ("A webhook endpoint will be disabled if nothing succeeds.", "", []),
    "endpoint.disabled": ("A webhook endpoint was disabled; `reason` says why.", "", []),
    "endpoint.deleted": ("A webhook endpoint was deleted.", "", []),
}
"""For each type: a sentence, the status of a job in its example, and what has changed in it."""


class TestState(State):
    """What a test event carries."""

    tenant_id: str
    location_ids: list[str] = []
    livemode: bool
    endpoint_id: str
    message: str = "This is a test. Nothing has happened."


@cache
def list_event_types() -> Page[EventType]:
    """All types: those that endpoints can have first."""
    test = EventType(
        name=TEST_EVENT,
        description="Sent by `POST /v1/webhook-endpoints/{id}/test` and at no other time.",
        is_delivered=True,
        topic=None,
        json_schema=_delivered_schema(TEST_EVENT, TestState),
        example=event_body(TEST_EVENT, _AT, TestState(tenant_id=_TENANT, livemode=True, endpoint_id=_ENDPOINT)),
    )
    types = [*map(_delivered, jobs.EVENTS), test, *map(_published, webhooks.EVENTS)]
    return Page[EventType](data=types, has_more=False)


def event_body(name: str, at: datetime, state: State) -> dict[str, Any]:
    """An event as receivers get it."""
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
    """Of the whole body as it is sent."""
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
