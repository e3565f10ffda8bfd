"""What there is to say of an endpoint and of an attempt, in the reader's language."""

from collections.abc import Mapping
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
