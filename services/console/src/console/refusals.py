"""What a page says instead of its content, and what an open page says above it."""

from collections.abc import Sequence
from dataclasses import dataclass

from console import messages
from console.gateway import Away, Changed, Conflict, Forbidden, Missing, PaymentRequired, Problem
from console.i18n import gettext as _
from console.standings import Standing

CLOSED_DOORS = frozenset({"tenant_suspended", "tenant_closed"})
"""The codes of refusals of everything that somebody asks for."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal in words."""

    status: int
    title: str
    text: str
    problem: Problem | None = None
    missing: Sequence[str] = ()
    """Codes of permissions."""

    @property
    def may_be_tried_again(self) -> bool:
        """Whether the same can be sent again without being done twice."""
        match self.problem:
            case Away():
                return not self.problem.outcome_is_unknown
            case None:
                return bool(self.missing)
            case _:
                return self.status in (402, 403, 429) and self.problem.code not in CLOSED_DOORS


def of_problem(problem: Problem, standing: Standing) -> Refusal:
    """What a page says of a problem that it could not show itself."""
    match problem:
        case PaymentRequired():
            title, text = _("A subscription is needed"), without_subscription(standing)
        case Forbidden() if problem.code in CLOSED_DOORS:
            title, text = _("Nothing is open to you now"), messages.of_problem(problem)
        case Forbidden():
            title, text = _("You may not do this"), messages.of_problem(problem)
        case Missing():
            return not_here()
        case Conflict() | Changed():
            title, text = _("That is not possible now"), messages.of_problem(problem)
        case Away():
            title = _("A part of Waybill is away")
            text = _("The service “{service}” does not answer right now. Try again in a moment.").format(
                service=problem.service
            )
        case _:
            title, text = _("That did not work"), messages.of_problem(problem)
    status = 503 if isinstance(problem, Away) else problem.status
    required = problem.body.get("required", ()) if isinstance(problem, Forbidden) else ()
    return Refusal(status, title, text, problem, required)


def without_subscription(standing: Standing) -> str:
    """Why the services answer 402."""
    if standing.is_merchant:
        return _("{company} has no subscription right now: ask them.").format(company=standing.tenant.get("name", ""))
    match standing.subscription_status:
        # The trial may have ended since the standing was asked for.
        case "trialing" | "expired":
            return _("The trial has ended. Everything is kept, and goes on with a plan.")
        case "canceled":
            return _("The subscription has ended. Everything is kept, and goes on with a plan.")
        case "unpaid" | "past_due":
            return _("An invoice was not paid in time. Everything is kept, and goes on once it is paid.")
        case _:
            return _("Your company has no subscription for this right now.")


def forbidden(lacking: Sequence[str]) -> Refusal:
    return Refusal(403, _("You may not do this"), _("Your account lacks a permission for this."), None, lacking)


def foreign_form() -> Refusal:
    return Refusal(
        403,
        _("This form is out of date"),
        _("It was not sent from a page of your present session. Open the page again, and send it from there."),
    )


def too_large() -> Refusal:
    return Refusal(413, _("Too much at once"), _("This form has more text than the console takes."))


def not_here() -> Refusal:
    return Refusal(404, _("Not found"), _("There is nothing here, or not for you."))


def fault() -> Refusal:
    return Refusal(
        500,
        _("Something went wrong"),
        _("The console has a fault here. Tell whoever runs it the request id below."),
    )
