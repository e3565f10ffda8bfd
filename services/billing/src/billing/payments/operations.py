"""Attempts to charge an invoice: written before the provider is called, and concluded once.

An attempt is committed as `new` with the decision to charge, and as `sent` before the call. Whatever happens to the process then, the
next one knows that the provider may have been called, and with which key.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing import invoices
from billing.payments.rules import UNDER_WAY
from billing.payments.tables import ChargeAttemptRow, PaymentMethodRow
from billing.providers import Charge, ChargeResult, Declined, Succeeded, Unknown
from shared.events.billing import InvoiceState
from shared.ids import new_id

NOT_DUE = "not_due"
"""Why an attempt was never sent: nothing was due any more."""


async def add_method(
    session: AsyncSession, tenant_id: str, *, provider: str, reference: str, label: str, livemode: bool, now: datetime
) -> PaymentMethodRow:
    """Keep a payment method that a provider has confirmed; it is the one that is charged from now on."""
    known = select(PaymentMethodRow).where(
        col(PaymentMethodRow.provider) == provider, col(PaymentMethodRow.reference) == reference
    )
    row = (await session.execute(known)).scalar_one_or_none()
    if row is not None:
        return row
    await _leave_no_default(session, tenant_id, now)
    row = PaymentMethodRow(
        id=new_id("pm"),
        tenant_id=tenant_id,
        provider=provider,
        reference=reference,
        label=label,
        is_default=True,
        livemode=livemode,
        version=1,
        created_at=now,
        updated_at=now,
    )
    session.add(row)
    await session.flush()
    return row


async def make_default(session: AsyncSession, row: PaymentMethodRow, now: datetime) -> None:
    """Charge this payment method from now on."""
    if not row.is_default:
        await _leave_no_default(session, row.tenant_id, now)
        row.is_default = True
        _touch(row, now)
        await session.flush()


def delete(row: PaymentMethodRow, now: datetime) -> None:
    """Delete a payment method. The row stays: what was charged by it is looked up by its reference."""
    row.is_default, row.deleted_at = False, now
    _touch(row, now)


async def _leave_no_default(session: AsyncSession, tenant_id: str, now: datetime) -> None:
    former = update(PaymentMethodRow).where(
        col(PaymentMethodRow.tenant_id) == tenant_id, col(PaymentMethodRow.is_default)
    )
    await session.execute(former.values(is_default=False, version=col(PaymentMethodRow.version) + 1, updated_at=now))


def _touch(row: PaymentMethodRow, now: datetime) -> None:
    row.version += 1
    row.updated_at = now


async def begin_attempts(
    session: AsyncSession, due: Sequence[tuple[InvoiceState, PaymentMethodRow, datetime]]
) -> list[ChargeAttemptRow]:
    """The next attempt to charge each of these invoices, by this method, at this instant. The caller schedules their tasks."""
    last = (
        select(col(ChargeAttemptRow.invoice_id), func.max(col(ChargeAttemptRow.n)).label("n"))
        .where(col(ChargeAttemptRow.invoice_id).in_([invoice.invoice_id for invoice, *_ in due]))
        .group_by(col(ChargeAttemptRow.invoice_id))
    )
    former = {row.invoice_id: row.n for row in await session.execute(last)}
    attempts = [_attempt(invoice, method, former.get(invoice.invoice_id, 0) + 1, now) for invoice, method, now in due]
    session.add_all(attempts)
    await session.flush()
    return attempts


def _attempt(invoice: InvoiceState, method: PaymentMethodRow, n: int, now: datetime) -> ChargeAttemptRow:
    return ChargeAttemptRow(
        id=new_id("cha"),
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.invoice_id,
        n=n,
        key=f"{invoice.invoice_id}_{n}",
        state="new",
        payment_method_id=method.id,
        provider=method.provider,
        amount=invoice.amount_due,
        currency=invoice.currency,
        created_at=now,
    )


async def send(session: AsyncSession, attempt_id: str, now: datetime) -> tuple[str, Charge, bool] | None:
    """Mark the attempt as sent: its provider, the charge, and whether it may have been sent before; None: there is nothing to send.

    An invoice that became void or paid before anything was sent is not charged.
    """
    attempt = await lock(session, attempt_id)
    if attempt is None or attempt.state not in UNDER_WAY:
        return None
    was_sent = attempt.state != "new"
    if not was_sent:
        invoice = await invoices.get(session, attempt.tenant_id, attempt.invoice_id)
        if invoice.status != "open":
            record(attempt, Declined(NOT_DUE), now)
            return None
        attempt.state, attempt.sent_at = "sent", now
    return attempt.provider, await charge_of(session, attempt), was_sent


async def charge_of(session: AsyncSession, attempt: ChargeAttemptRow) -> Charge:
    """What a provider is asked for by this attempt."""
    method = await session.get_one(PaymentMethodRow, attempt.payment_method_id)
    return Charge(
        key=attempt.key,
        tenant_id=attempt.tenant_id,
        invoice_id=attempt.invoice_id,
        method=method.reference,
        amount=attempt.amount,
        currency=attempt.currency,
        livemode=method.livemode,
    )


async def lock(session: AsyncSession, attempt_id: str) -> ChargeAttemptRow | None:
    """The row of an attempt, locked."""
    return await session.get(ChargeAttemptRow, attempt_id, with_for_update=True, populate_existing=True)


def record(attempt: ChargeAttemptRow, result: ChargeResult, now: datetime) -> bool:
    """Set what came of the attempt, which is locked; returns whether that is news. A concluded attempt stays what it is."""
    if attempt.state not in UNDER_WAY:
        return False
    match result:
        case Succeeded(reference):
            attempt.state, attempt.reference, attempt.reason = "succeeded", reference, None
        case Declined(code):
            attempt.state, attempt.reason = "declined", code
        case Unknown(reason):
            attempt.state, attempt.reason = "unknown", reason
            return False
    attempt.settled_at = now
    return True
