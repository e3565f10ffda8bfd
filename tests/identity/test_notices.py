"""What other services publish, as mail to the people whom it concerns."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from identity.notices import rules
from shared.events import Event, billing, webhooks
from shared.ids import new_id
from tests.harness.bodies import email
from tests.harness.identity import Identity
from tests.harness.mailbox import Mailbox
from tests.harness.people import Tenant

NOW = datetime.now(UTC)


def trial(tenant: Tenant, **more: Any) -> billing.SubscriptionState:
    return billing.SubscriptionState(
        **{"tenant_id": tenant.id, "status": "trialing", "trial_ends_at": NOW + timedelta(days=3), **more}
    )


def will_end(tenant: Tenant, **more: Any) -> billing.TrialWillEnd:
    return billing.TrialWillEnd(tenant_id=tenant.id, subject=tenant.id, sequence=9, data=trial(tenant), **more)


def endpoint_event(kind: type[webhooks.EndpointEvent], tenant: Tenant, reason: str | None = None) -> Event:
    endpoint_id = new_id("ep")
    state = webhooks.EndpointState(
        endpoint_id=endpoint_id,
        tenant_id=tenant.id,
        url="https://shop.test/hooks",
        event_types=["*"],
        location_ids=None,
        enabled=False,
        reason=reason,
    )
    return kind(tenant_id=tenant.id, subject=endpoint_id, sequence=2, data=state)  # type: ignore[call-arg]


async def test_the_end_of_a_trial_is_told_to_those_who_can_pay_once(
    mailing: Identity, company: Tenant, box: Mailbox
) -> None:
    payer, packer = email(), email()
    await company.create_staff("billing.manage", email=payer)
    await company.create_staff("orders", email=packer)
    event = will_end(company)

    await mailing.publish(event, event)
    await mailing.publish(
        billing.TrialExpired(
            tenant_id=company.id, subject=company.id, sequence=10, data=trial(company, status="expired")
        )
    )

    for address in (company.owner_email, payer):
        reminder, ended = await box.wait_for(address, 2)
        assert reminder.message["Subject"].endswith("ends in 3 days")
        assert ended.message["Subject"].endswith("has ended")
    assert box.to(packer) == []


async def test_payments_and_invoices_are_told_with_their_amounts(
    mailing: Identity, company: Tenant, box: Mailbox
) -> None:
    failed = billing.FailedPayment(
        tenant_id=company.id,
        invoice_id="inv_1",
        invoice_number="LL-000042",
        currency="CAD",
        amount=14_900,
        reason="declined",
        next_attempt_at=NOW + timedelta(days=2),
    )
    invoice = billing.InvoiceState(
        invoice_id="inv_1",
        tenant_id=company.id,
        number="LL-000043",
        status="open",
        currency="JPY",
        total=14_900,
        amount_due=14_900,
        finalized_at=NOW,
    )

    await mailing.publish(
        billing.PaymentFailed(tenant_id=company.id, subject=company.id, sequence=11, data=failed),
        billing.InvoiceFinalized(tenant_id=company.id, subject=company.id, sequence=12, data=invoice),
    )

    mails = {mail.message["Subject"]: mail.text for mail in await box.wait_for(company.owner_email, 2)}
    assert "$149.00" in next(text for subject, text in mails.items() if "failed" in subject)
    assert "JP¥14,900" in next(text for subject, text in mails.items() if "LL-000043" in subject)


async def test_an_endpoint_that_its_receiver_has_ended_is_told_of_and_one_that_a_person_disabled_is_not(
    mailing: Identity, company: Tenant, box: Mailbox
) -> None:
    await mailing.publish(
        endpoint_event(webhooks.EndpointDisabled, company, "requested"),
        endpoint_event(webhooks.EndpointWarned, company),
        endpoint_event(webhooks.EndpointDisabled, company, "gone"),
    )

    mails = await box.wait_for(company.owner_email, 2)
    subjects = sorted(mail.message["Subject"] for mail in mails)
    assert [subject.rpartition(" of ")[0] for subject in subjects] == ["[Test] A webhook endpoint"] * 2
    assert sum("410" in mail.text for mail in mails) == 1


async def test_what_a_tenant_has_switched_off_and_what_is_long_past_is_not_told(
    mailing: Identity, company: Tenant, box: Mailbox
) -> None:
    settings = (await company.owner.get("/v1/tenant/settings")).json()
    answer = await company.owner.patch("/v1/tenant/settings", {"notices": {"endpoint_warned": False}})
    assert answer.status_code == 200, (answer.text, settings)

    await mailing.publish(
        will_end(company, time=NOW - rules.TOLD_OF_WITHIN - timedelta(minutes=1)),
        endpoint_event(webhooks.EndpointWarned, company),
        endpoint_event(webhooks.EndpointDisabled, company, "failing"),
    )

    (mail,) = await box.wait_for(company.owner_email)
    assert "was disabled" in mail.message["Subject"]


@pytest.mark.parametrize(("hours", "days"), [(72, 3), (71.9, 3), (24.1, 1), (1, 1)])
def test_days_left_are_those_of_the_reminder(hours: float, days: int) -> None:
    assert rules.days_left(NOW + timedelta(hours=hours), NOW) == days
