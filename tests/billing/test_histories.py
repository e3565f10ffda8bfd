"""Random histories of a subscription against the pure machine: what no order of commands, instants and payments may break."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from billing import invoices
from billing.plans import PlanTerms, TaxRate
from billing.subscriptions import rules
from billing.subscriptions.terms import (
    ChangePeriod,
    Charge,
    Decision,
    FailureNoted,
    InvoicePeriod,
    Publish,
    Terms,
    VoidOpenInvoice,
    allowed_moves,
    is_entitled,
)
from shared.errors import WaybillError
from shared.events import billing as events

ZONE = "America/Montreal"
PLANS = [
    PlanTerms("starter_monthly", 1, "month", "CAD", 4900, keeps_trial=True),
    PlanTerms("pro_monthly", 1, "month", "CAD", 14900),
    PlanTerms("starter_yearly", 1, "year", "CAD", 49000),
    PlanTerms("pro_yearly", 1, "year", "CAD", 149001, keeps_trial=True),
    PlanTerms("free_monthly", 1, "month", "CAD", 0),
]
MOVES = (
    "subscribe",
    "change",
    "cancel",
    "cancel_now",
    "resume",
    "method_given",
    "pay",
    "mark_paid",
    "extend",
    "grant",
    "charged",
    "declined",
    "refused",
)
DAYS = st.integers(min_value=0, max_value=45)

# Otherwise few purchases would ever be paid.
OFTEN = ("subscribe", "change", *("charged", "mark_paid") * 3)

steps = st.lists(st.tuples(st.sampled_from([*MOVES, *OFTEN]), DAYS, st.sampled_from(PLANS), st.booleans()), max_size=60)


@dataclass
class History:
    """A subscription with the invoices and charges that its decisions made."""

    terms: Terms
    now: datetime
    invoiced: int = 0
    paid: int = 0
    credited: int = 0
    open: int | None = None
    charges: int = 0
    seen: Counter[type[events.BillingEvent]] = field(default_factory=Counter)

    def carry_out(self, decision: Decision) -> None:
        before, self.terms = self.terms, decision.terms
        for effect in decision.effects:
            match effect:
                case Publish(event):
                    self.seen[event] += 1
                case InvoicePeriod() | ChangePeriod():
                    self._invoice(effect)
                case Charge():
                    assert self.open is not None, "there is something to charge"
                    assert not before.charging, "one charge at a time"
                    self.charges += 1
                case VoidOpenInvoice():
                    assert self.open is not None
                    self.credited += self.open
                    self.open = None
                case FailureNoted():
                    assert self.open is not None, "what failed was due"
        self.check()

    def _invoice(self, effect: InvoicePeriod | ChangePeriod) -> None:
        assert self.open is None, "at most one open invoice"
        terms = effect.terms
        assert terms.plan is not None
        assert terms.current_period_start is not None
        assert terms.current_period_end is not None
        assert terms.current_period_start < terms.current_period_end
        if isinstance(effect, InvoicePeriod):
            draft = invoices.draft_of_period(terms.plan, terms.current_period_start, terms.current_period_end)
        else:
            draft = invoices.draft_of_change(
                effect.former,
                terms.plan,
                at=effect.at,
                former_end=effect.former_end,
                end=terms.current_period_end,
                days_left=effect.days_left,
                days=effect.days,
            )
        total = invoices.quote(draft, [TaxRate("GST", 50_000)]).total
        assert total >= 0, "an invoice is never negative"
        self.invoiced += total
        self.open = total
        self.charges += terms.charging
        if total == 0:
            self.settle()

    def settle(self) -> None:
        assert self.open is not None
        self.paid += self.open
        self.open = None
        self.carry_out(rules.paid(self.terms, self.now, zone=ZONE))

    def check(self) -> None:
        terms = self.terms
        assert self.invoiced == self.paid + self.credited + (self.open or 0)
        assert terms.payment_pending or not terms.charging
        assert (terms.access_until is None) <= (terms.status in ("active", "past_due"))
        assert terms.status not in ("trialing", "expired", "canceled") or not terms.payment_pending
        assert terms.status not in ("unpaid", "canceled", "expired") or not is_entitled(terms, self.now)

    def wait(self, until: datetime) -> None:
        """Let time pass, and do what becomes due at its instant. In between access only ends, and never begins."""
        while (due_at := rules.next_instant(self.terms)) is not None and due_at <= until:
            self.now = max(self.now, due_at)
            decision = rules.decide_due(self.terms, self.now, zone=ZONE)
            assert decision != Decision(self.terms), "something was due"
            self.carry_out(decision)
        assert is_entitled(self.terms, self.now) >= is_entitled(self.terms, until)
        self.now = until

    def do(self, move: str, plan: PlanTerms, *, by_charge: bool) -> None:
        terms, now = self.terms, self.now
        in_flight = terms.charging
        moves = {
            "subscribe": lambda: rules.subscribe(terms, plan, now, zone=ZONE, by_charge=by_charge),
            "change": lambda: rules.change(terms, plan, now, zone=ZONE),
            "cancel": lambda: rules.cancel(terms, now, at_once=False),
            "cancel_now": lambda: rules.cancel(terms, now, at_once=True),
            "resume": lambda: rules.resume(terms),
            "method_given": lambda: rules.method_given(terms),
            "pay": lambda: rules.pay(terms),
            "extend": lambda: rules.extend_trial(terms, now + timedelta(days=9), now),
            "grant": lambda: rules.grant(terms, plan, now + timedelta(days=20), now),
            "declined": lambda: rules.failed(terms, now, "declined") if in_flight else Decision(terms),
            "refused": lambda: rules.failed(terms, now, "method_invalid") if in_flight else Decision(terms),
        }
        if (move == "charged" and in_flight) or (move == "mark_paid" and self.open is not None and not in_flight):
            self.settle()
        elif move in moves:
            try:
                decision = moves[move]()
            except WaybillError:
                named = {"cancel_now": "cancel"}.get(move, move)
                # `pay` waits for a charge under way; a plan may be the present one; operators have rules of their own.
                assert named not in allowed_moves(terms) or named in ("pay", "change", "extend", "grant")
                return
            self.carry_out(decision)


@given(st.integers(0, 20), steps)
def test_no_history_breaks_the_books_or_the_entitlement(
    trial_days: int, moves: list[tuple[str, int, PlanTerms, bool]]
) -> None:
    created_at = datetime(2027, 1, 31, 14, 30, tzinfo=UTC)
    history = History(rules.start_trial(created_at, trial_days), created_at)
    trials = 1
    for move, days, plan, by_charge in moves:
        history.wait(history.now + timedelta(days=days))
        extended = history.seen[events.TrialExtended]
        history.do(move, plan, by_charge=by_charge)
        trials += history.seen[events.TrialExtended] - extended
    # Whatever is under way comes to an end; then time passes.
    if history.terms.charging:
        history.do("charged", PLANS[0], by_charge=True)
    history.wait(history.now + timedelta(days=100))

    assert history.seen[events.TrialExpired] <= trials
    assert history.seen[events.TrialConverted] <= trials
    assert history.seen[events.SubscriptionPastDue] >= history.seen[events.SubscriptionUnpaid]


@given(st.sampled_from(PLANS[:4]), st.lists(st.integers(0, 3 * 3600), min_size=8, max_size=8))
def test_dunning_tries_on_its_days_however_late_each_answer_is(plan: PlanTerms, seconds_late: list[int]) -> None:
    start = datetime(2027, 1, 31, 14, 30, tzinfo=UTC)
    history = History(rules.start_trial(start, 0), start)
    history.wait(start)
    history.do("subscribe", plan, by_charge=True)
    history.do("charged", plan, by_charge=True)
    assert history.terms.current_period_end is not None
    history.wait(history.terms.current_period_end)
    tried: list[datetime] = []
    for late in seconds_late:
        if not history.terms.charging:
            break
        tried.append(history.now)
        history.now += timedelta(seconds=late)
        history.do("declined", plan, by_charge=True)
        if (retry_at := history.terms.retry_at) is not None:
            history.wait(retry_at)

    first_failure = tried[0] + timedelta(seconds=seconds_late[0])
    assert tried[1:] == [first_failure + after for after in rules.RETRIES]
    assert history.terms.status == "unpaid"
    assert history.open is not None
