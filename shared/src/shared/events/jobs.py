"""Jobs publishes on `jobs.events.v1` (kept for 14 days). Key: the job's id, so that the events of one job keep their order.

`JobState` is also the schema of a job in the HTTP API. `JobChange`, the value of each record, is also the `data` of a webhook.
"""

from datetime import date, datetime
from typing import ClassVar, Literal

from pydantic import Field

from shared.events import Event, State

TOPIC = "jobs.events.v1"
SOURCE = "waybill/jobs"


class ContactState(State):
    first_name: str | None = None
    last_name: str | None = None
    company: str | None = None
    phone: str | None = Field(None, description="E.164, such as +15145550100.")
    email: str | None = None


class AddressState(State):
    raw: str | None = None
    line1: str | None = None
    line2: str | None = None
    city: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: str | None = Field(None, description="ISO 3166-1 alpha-2.")


class GeoState(State):
    latitude: float = Field(description="Degrees, WGS 84.")
    longitude: float = Field(description="Degrees, WGS 84.")


class TimeWindowState(State):
    start: str = Field(description="Local time of day, HH:MM, on the scheduled date.")
    end: str = Field(description="Local time of day, HH:MM, up to 24:00; earlier than `start`: on the next day.")


class MoneyState(State):
    amount: int = Field(description="Minor units of the currency, such as cents.")
    currency: str = Field(description="ISO 4217.")


class StopState(State):
    name: str | None = None
    address: AddressState
    geo: GeoState | None = None
    instructions: str | None = None


class OutcomeState(State):
    """The result of an action: its units by result. The three numbers add up to its quantity."""

    completed: int = 0
    incomplete: int = 0
    damaged: int = 0
    note: str | None = None


class ActionState(State):
    object: str = "action"
    id: str
    job_id: str
    type: str
    position: int
    sku: str | None = None
    description: str | None = None
    quantity: int
    unit: str | None = None
    piece_count: int | None = None
    value: MoneyState | None = None
    weight_grams: int | None = None
    volume_cubic_cm: int | None = None
    handling_seconds: int | None = None
    stop: StopState | None = None
    invoice_number: str | None = None
    barcode: str | None = None
    external_reference_id: str | None = None
    status: str
    """undetermined | completed | incomplete | damaged"""
    outcome: OutcomeState | None = None
    version: int
    created_at: datetime
    updated_at: datetime


class JobState(State):
    object: str = "job"
    id: str
    merchant_id: str
    reference_id: str | None = None
    status: str
    """staging | new | in_progress | completed | partially_completed | incomplete | damaged | resolved | cancelled"""
    status_reason: str | None = Field(None, description="Why it was cancelled, failed, damaged or resolved.")
    status_changed_at: datetime | None = None
    assigned_to: str | None = Field(
        None, description="Who carries it out: a name or number that the dispatcher chooses."
    )
    type: str
    short_description: str | None = None
    scheduled_date: date | None = None
    time_window: TimeWindowState | None = None
    timezone: str | None = None
    priority: int = 0
    contact: ContactState
    address: AddressState
    geo: GeoState | None = None
    location_id: str
    distribution_location_id: str | None = None
    balance_owed: MoneyState | None = None
    instructions: str | None = None
    invoices: list[str] = []
    barcodes: list[str] = []
    tags: list[str] = []
    metadata: dict[str, str] = {}
    actions: list[ActionState] = []
    created_by: str = Field(description="Id of the principal that created it.")
    livemode: bool
    version: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = Field(
        None, description="Set while it is deleted; it can be restored.", examples=[None]
    )
    erased_at: datetime | None = Field(
        None, description="When its customer's personal data was erased.", examples=[None]
    )


class JobChange(State):
    """The data of every job and action event."""

    tenant_id: str
    location_ids: list[str] = Field(description="The job's locations, before and after the change when it moved.")
    sequence: int = Field(description="Counts the events of this job, from 1 without gaps.")
    livemode: bool
    changed_fields: list[str] = Field(
        [], description="Fields whose value has changed: of the action in an action event, else of the job."
    )
    action_id: str | None = Field(None, description="In an action event, the id of the action.")
    job: JobState


class JobEvent(Event):
    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE
    data: JobChange


class JobCreated(JobEvent):
    """A job was created."""

    type: Literal["job.created"] = "job.created"


class JobUpdated(JobEvent):
    """A job has changed; `changed_fields` names what."""

    type: Literal["job.updated"] = "job.updated"


class JobStarted(JobEvent):
    """Work on a job has begun."""

    type: Literal["job.started"] = "job.started"


class JobCompleted(JobEvent):
    """All units of a job are done."""

    type: Literal["job.completed"] = "job.completed"


class JobPartiallyCompleted(JobEvent):
    """A job has ended with some of its units done."""

    type: Literal["job.partially_completed"] = "job.partially_completed"


class JobIncomplete(JobEvent):
    """A job has ended with none of its units done."""

    type: Literal["job.incomplete"] = "job.incomplete"


class JobDamaged(JobEvent):
    """A job has ended with damaged units."""

    type: Literal["job.damaged"] = "job.damaged"


class JobResolved(JobEvent):
    """The problem of a job was resolved."""

    type: Literal["job.resolved"] = "job.resolved"


class JobCancelled(JobEvent):
    """A job was cancelled."""

    type: Literal["job.cancelled"] = "job.cancelled"


class JobDeleted(JobEvent):
    """A job was deleted; it can be restored."""

    type: Literal["job.deleted"] = "job.deleted"


class JobRestored(JobEvent):
    """A deleted job is back."""

    type: Literal["job.restored"] = "job.restored"


class ActionCreated(JobEvent):
    """An action was added to a job; `action_id` names it."""

    type: Literal["action.created"] = "action.created"


class ActionUpdated(JobEvent):
    """An action of a job has changed; `action_id` names it."""

    type: Literal["action.updated"] = "action.updated"


class ActionDeleted(JobEvent):
    """An action was deleted from a job; `action_id` names it."""

    type: Literal["action.deleted"] = "action.deleted"


class ActionOutcomeRecorded(JobEvent):
    """The outcome of an action's units was recorded; `action_id` names it."""

    type: Literal["action.outcome_recorded"] = "action.outcome_recorded"


EVENTS: tuple[type[JobEvent], ...] = (
    JobCreated,
    JobUpdated,
    JobStarted,
    JobCompleted,
    JobPartiallyCompleted,
    JobIncomplete,
    JobDamaged,
    JobResolved,
    JobCancelled,
    JobDeleted,
    JobRestored,
    ActionCreated,
    ActionUpdated,
    ActionDeleted,
    ActionOutcomeRecorded,
)
