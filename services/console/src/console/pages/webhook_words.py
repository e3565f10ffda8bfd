"""What there is to say of an endpoint and of an attempt, in the reader's language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from babel.dates import format_timedelta

from console.i18n import current, ngettext
from console.i18n import gettext as _
from console.visits import Visit


def state_sentences(
    visit: Visit, endpoint: Mapping[str, Any], figures: Mapping[str, Any] | None, failure: Mapping[str, Any] | None
) -> list[str]:
    """What there is to say of an endpoint now: how it is, and what happens next."""
    words = visit.words
    if not endpoint["enabled"]:
        since = {"at": words.instant(endpoint["disabled_at"])}
        match endpoint["disabled_reason"]:
            case "gone":
                return [_("Disabled since %(at)s: its receiver answered 410 Gone.") % since]
            case "failing":
                return [_("Disabled since %(at)s: nothing had succeeded for too long.") % since]
            case _:
                return [_("Disabled by hand since %(at)s. It gets no events.") % since]
    if figures is None:
        return []
    if figures["state"] == "failing":
        what = str(failure["response_status"] or cause_text(failure["cause"])) if failure else _("failures")
        said = [
            _("Failing since %(at)s: %(what)s × %(count)s.")
            % {"at": words.instant(figures["failing_since"]), "what": what, "count": words.number(figures["failures"])}
        ]
        if is_future(figures["next_probe_at"]):
            left = (datetime.fromisoformat(figures["next_probe_at"]) - datetime.now(UTC)).total_seconds()
            left = max(1, round(left))
            said.append(
                ngettext(
                    "The breaker is open: next probe in %(num)d second.",
                    "The breaker is open: next probe in %(num)d seconds.",
                    left,
                )
                % {"num": left}
            )
        said.append(_("If nothing succeeds it is disabled on %(at)s.") % {"at": words.instant(figures["disables_at"])})
        return said
    if not figures["deliveries"]:
        return [_("Ready. No events in the last 24 hours.")]
    return [
        _("Working: %(share)s of %(count)s deliveries in 24 hours.")
        % {"share": words.percent(figures["success_rate"]), "count": words.number(figures["deliveries"])}
    ]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of something an endpoint gets: of the event types with a prefix, or of the events of a location."""

    name: str
    wanted: int
    total: int


def wants(patterns: Sequence[str], event_type: str) -> bool:
    """Whether an endpoint with these patterns gets events of this type."""
    return any(one in ("*", event_type) or (one.endswith(".*") and event_type.startswith(one[:-1])) for one in patterns)


def events_of(patterns: Sequence[str], types: Sequence[Mapping[str, Any]]) -> list[Coverage]:
    """What of each kind of event an endpoint gets; its patterns as they are, while the types are not known."""
    groups: dict[str, list[str]] = {}
    for one in types:
        if one["is_delivered"] and one["name"] != "webhook.test":
            groups.setdefault(one["name"].partition(".")[0], []).append(one["name"])
    if not groups:
        return [Coverage(pattern, 1, 1) for pattern in patterns]
    return [
        Coverage(f"{prefix}.*", sum(wants(patterns, name) for name in names), len(names))
        for prefix, names in sorted(groups.items())
    ]


def places_of(location_ids: str | Sequence[str], places: Sequence[Mapping[str, Any]]) -> list[Coverage]:
    """Which locations' events an endpoint gets: those it gets first, and none that is not in use and not asked for."""
    if not places:
        return [] if isinstance(location_ids, str) else [Coverage(one, 1, 1) for one in location_ids]
    found = [
        Coverage(one["name"], int(location_ids == "*" or one["location_id"] in location_ids), 1)
        for one in places
        if one["active"] or one["location_id"] in location_ids
    ]
    return sorted(found, key=lambda one: -one.wanted)


def cause_text(cause: str) -> str:
    """Why an attempt failed, in words."""
    return {
        "status": _("refused"),
        "timeout": _("no answer in time"),
        "connect": _("no connection"),
        "tls": _("no valid certificate"),
        "dns": _("unknown name"),
        "blocked": _("address not allowed"),
        "too_large": _("answer too large"),
        "protocol": _("no HTTP"),
        "secret_unreadable": _("secret unreadable"),
    }.get(cause, cause)


def is_future(instant: str | None) -> bool:
    """Whether an instant is still to come."""
    return instant is not None and datetime.fromisoformat(instant) > datetime.now(UTC)


def duration(seconds: float) -> str:
    """`6 min`."""
    return str(format_timedelta(timedelta(seconds=seconds), locale=current().locale, format="short", threshold=1.2))
