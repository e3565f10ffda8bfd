"""Rules of a job: which command leads from which status to which (`TRANSITIONS`), what may be changed in which status (`EDITABLE`), and
when a time window begins and ends.

No command requests `partially_completed`: it is the result of `complete` if only part of the work was done.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from types import MappingProxyType
from typing import Literal
from zoneinfo import ZoneInfo

from shared.errors import Conflict
from shared.events.jobs import JobState

JobType = Literal["delivery", "return", "pickup", "installation", "service", "exchange", "custom"]
JobStatus = Literal[
    "staging",
    "new",
    "in_progress",
    "completed",
    "partially_completed",
    "incomplete",
    "damaged",
    "resolved",
    "cancelled",
]
ActionStatus = Literal["undetermined", "completed", "incomplete", "damaged"]
Command = Literal["accept", "assign", "start", "complete", "fail", "report_damage", "resolve", "cancel"]

ACTIONS_MAX = 500
"""Actions of one job, created with it or added later."""

TRANSITIONS: Mapping[tuple[JobStatus, Command], JobStatus] = MappingProxyType(
    {
        ("staging", "accept"): "new",
        ("staging", "cancel"): "cancelled",
        ("new", "assign"): "new",
        ("new", "start"): "in_progress",
        ("new", "cancel"): "cancelled",
        ("in_progress", "assign"): "in_progress",
        ("in_progress", "complete"): "completed",
        ("in_progress", "fail"): "incomplete",
        ("in_progress", "report_damage"): "damaged",
        ("in_progress", "cancel"): "cancelled",
        ("partially_completed", "resolve"): "resolved",
        ("incomplete", "resolve"): "resolved",
        ("damaged", "resolve"): "resolved",
    }
)

SATISFIED: Mapping[Command, frozenset[JobStatus]] = MappingProxyType(
    {
        "accept": frozenset({"new"}),
        "assign": frozenset(),
        "start": frozenset({"in_progress"}),
        "complete": frozenset({"completed", "partially_completed"}),
        "fail": frozenset({"incomplete"}),
        "report_damage": frozenset({"damaged"}),
        "resolve": frozenset({"resolved"}),
        "cancel": frozenset({"cancelled"}),
    }
)
"""Statuses in which a command has nothing to do: it succeeds and changes nothing, so that it can be repeated."""

EVERYTHING: frozenset[str] = frozenset({"*"})
_OPEN = EVERYTHING
_UNDER_WAY = frozenset({"metadata", "tags"})
_ENDED = frozenset({"metadata"})

EDITABLE: Mapping[JobStatus, frozenset[str]] = MappingProxyType(
    {
        "staging": _OPEN,
        "new": _OPEN,
        "in_progress": _UNDER_WAY,
        "completed": _ENDED,
        "partially_completed": _ENDED,
        "incomplete": _ENDED,
        "damaged": _ENDED,
        "resolved": _ENDED,
        "cancelled": _ENDED,
    }
)
"""Fields that may be changed in each status. `actions` is one of the fields."""

DELETABLE: frozenset[JobStatus] = frozenset({"staging", "new", "cancelled"})
"""Statuses in which a job may be deleted: work has not begun, or was cancelled."""

STOP_TYPES: frozenset[JobType] = frozenset({"pickup", "return", "exchange"})
"""Types of actions that can have a `stop`: another address where goods are picked up or delivered."""


class CommandNotAllowed(Conflict):
    """The job's status does not allow the command."""

    def __init__(self, status: JobStatus, requested: str, detail: str | None = None, code: str = "status_conflict"):
        super().__init__(
            detail or f"a job with status {status} does not allow {requested}",
            code=code,
            current_status=status,
            requested=requested,
            allowed_transitions=allowed_transitions(status),
        )


class NotEditable(Conflict):
    """The job's status does not allow changes of these fields."""

    def __init__(self, status: JobStatus, fields: Iterable[str]):
        refused = sorted(fields)
        super().__init__(
            f"a job with status {status} does not allow changes of: {', '.join(refused)}",
            code="not_editable",
            current_status=status,
            fields=refused,
            editable_fields=sorted(EDITABLE[status]),
            allowed_transitions=allowed_transitions(status),
        )


class NotDeletable(Conflict):
    """The job's status does not allow that it is deleted."""

    def __init__(self, status: JobStatus):
        super().__init__(
            f"a job with status {status} cannot be deleted",
            code="not_deletable",
            current_status=status,
            allowed_transitions=allowed_transitions(status),
        )


class TooManyActions(Conflict):
    """The job has `ACTIONS_MAX` actions already."""

    def __init__(self) -> None:
        super().__init__(f"a job has at most {ACTIONS_MAX} actions", code="too_many_actions", actions_max=ACTIONS_MAX)


@dataclass(frozen=True, slots=True)
class Units:
    """The outcome of an action, in units."""

    completed: int = 0
    incomplete: int = 0
    damaged: int = 0

    @property
    def status(self) -> ActionStatus:
        """The action's status: damaged if any unit is, else incomplete if any unit is, else completed."""
        if self.damaged:
            return "damaged"
        if self.incomplete:
            return "incomplete"
        return "completed" if self.completed else "undetermined"


def allowed_transitions(status: JobStatus) -> list[JobStatus]:
    """The other statuses that a command can lead to from this one."""
    return list(_reached_from(status))


@cache
def _reached_from(status: JobStatus) -> tuple[JobStatus, ...]:
    reached = (result for (origin, _), result in TRANSITIONS.items() if origin == status and result != status)
    return tuple(dict.fromkeys(reached))


def next_status(status: JobStatus, command: Command, *, dispatches: bool) -> JobStatus:
    """The status that a command leads to; the present one if the command has nothing to do.

    Only callers with `orders.dispatch` (`dispatches`) may cancel a job in progress. Raises `CommandNotAllowed`.
    """
    if status in SATISFIED[command]:
        return status
    result = TRANSITIONS.get((status, command))
    if result is None:
        raise CommandNotAllowed(status, command)
    if command == "cancel" and status == "in_progress" and not dispatches:
        raise CommandNotAllowed(status, command, "only dispatch can cancel a job in progress")
    return result


def require_editable(status: JobStatus, changed: Iterable[str]) -> None:
    """Raise `NotEditable` if one of these fields may not be changed in this status."""
    allowed = EDITABLE[status]
    refused = set() if allowed == EVERYTHING else set(changed) - allowed
    if refused:
        raise NotEditable(status, refused)


def completed_status(outcomes: Iterable[Units]) -> JobStatus:
    """The status after `complete`, given the outcome of every action. Raises `CommandNotAllowed` if no unit was completed."""
    known = list(outcomes)
    if all(units.status == "completed" for units in known):
        return "completed"
    if any(units.completed for units in known):
        return "partially_completed"
    detail = "no unit of any action was completed: use fail or report-damage"
    raise CommandNotAllowed("in_progress", "complete", detail, code="nothing_completed")


def locations_of(job: JobState) -> list[str]:
    """The job's location and distribution location, each once."""
    return list(
        dict.fromkeys([job.location_id, *([job.distribution_location_id] if job.distribution_location_id else [])])
    )


def ends_next_day(start: str, end: str) -> bool:
    """Whether a time window from `start` to `end` (HH:MM) ends on the day after the one on which it starts."""
    return end < start


def window_instants(day: date, start: str, end: str, timezone: str) -> tuple[datetime, datetime] | None:
    """When the time window of this day begins and ends; None if that is beyond the range of instants.

    A time that clocks show twice in a night, or leave out, has two readings: the window begins at the earlier and ends at the later one.
    """
    try:
        begins = min(_readings(day, start, timezone))
        return begins, max(_readings(day + timedelta(days=ends_next_day(start, end)), end, timezone))
    except OverflowError:
        return None


def _readings(day: date, hour_and_minute: str, timezone: str) -> list[datetime]:
    hours, minutes = map(int, hour_and_minute.split(":"))
    local = datetime.combine(day, time()) + timedelta(hours=hours, minutes=minutes)
    zone = ZoneInfo(timezone)
    return [local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
