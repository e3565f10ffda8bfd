"""Finds differences between the tables of billing."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.payments import ChargeAttemptRow
from billing.reconciliation.rules import Difference, DifferenceKind
from shared.ids import from_uuid

DIFFERENCES_MAX = 1000
"""Of each kind: whoever has more than that has one cause for them."""
CHARGES_MAX = 10_000

# Each statement finds a kind of difference: the tenant, what is there, and what ought to be.
_STATEMENTS = {
    "numbers_with_gaps": """
        SELECT tenant_id, count(invoices.id) AS found, counter.invoices AS expected
        FROM invoice_counters AS counter LEFT JOIN invoices USING (tenant_id)
        GROUP BY tenant_id, counter.invoices HAVING count(invoices.id) <> counter.invoices OR max(number) <> counter.invoices
    """,
    "receivable_differs": """
        SELECT tenant_id, receivable AS found, due AS expected FROM books WHERE receivable <> due
    """,
    "revenue_differs": """
        SELECT tenant_id, -sold AS found, invoiced - credited AS expected FROM books WHERE -sold <> invoiced - credited
    """,
    "cash_differs": """
        SELECT tenant_id, cash AS found, paid - customer_credit + used AS expected
        FROM books WHERE cash <> paid - customer_credit + used
    """,
    "credit_owed": """
        SELECT tenant_id, -customer_credit AS found, 0 AS expected FROM books WHERE customer_credit <> 0
    """,
    "open_invoice_differs": """
        SELECT tenant_id, open_invoices AS found, payment_pending::integer AS expected
        FROM subscriptions JOIN books USING (tenant_id) WHERE open_invoices <> payment_pending::integer
    """,
}
_BOOKS = """
    WITH entries AS (
        SELECT tenant_id,
            coalesce(sum(amount) FILTER (WHERE account = 'receivable'), 0) AS receivable,
            coalesce(sum(amount) FILTER (WHERE account IN ('revenue', 'tax')), 0) AS sold,
            coalesce(sum(amount) FILTER (WHERE account = 'cash'), 0) AS cash,
            coalesce(sum(amount) FILTER (WHERE account = 'customer_credit'), 0) AS customer_credit
        FROM ledger_entries GROUP BY tenant_id
    ), documents AS (
        SELECT tenant_id, sum(total) AS invoiced, count(*) FILTER (WHERE status = 'open') AS open_invoices,
            coalesce(sum(total - credit_applied) FILTER (WHERE status = 'open'), 0) AS due,
            coalesce(sum(credit_applied) FILTER (WHERE status = 'open'), 0) AS used,
            coalesce(sum(total) FILTER (WHERE status = 'paid'), 0) AS paid
        FROM invoices GROUP BY tenant_id
    ), notes AS (
        SELECT tenant_id, sum(amount) AS credited FROM credit_notes GROUP BY tenant_id
    ), books AS (
        SELECT tenant_id, coalesce(receivable, 0) AS receivable, coalesce(sold, 0) AS sold, coalesce(cash, 0) AS cash,
            coalesce(customer_credit, 0) AS customer_credit, coalesce(invoiced, 0) AS invoiced, coalesce(due, 0) AS due,
            coalesce(used, 0) AS used, coalesce(paid, 0) AS paid, coalesce(open_invoices, 0) AS open_invoices,
            coalesce(credited, 0) AS credited
        FROM entries FULL JOIN documents USING (tenant_id) FULL JOIN notes USING (tenant_id)
    )
"""


async def differences_within(session: AsyncSession) -> list[Difference]:
    """What of billing's own records contradicts itself."""
    found = []
    for kind, statement in _STATEMENTS.items():
        rows = await session.execute(text(f"{_BOOKS} {statement} LIMIT :rows_max"), {"rows_max": DIFFERENCES_MAX})
        for row in rows:
            tenant_id = from_uuid("ten", row.tenant_id)
            detail = f"{row.found} found, {row.expected} expected"
            found.append(Difference(cast(DifferenceKind, kind), tenant_id, detail))
    return found


async def charges_since(session: AsyncSession, since: datetime) -> Sequence[ChargeAttemptRow]:
    """The charges that were begun since then, and all that are still under way; the oldest first."""
    recent = (col(ChargeAttemptRow.created_at) >= since) | col(ChargeAttemptRow.settled_at).is_(None)
    statement = select(ChargeAttemptRow).where(recent).order_by(col(ChargeAttemptRow.id)).limit(CHARGES_MAX)
    return (await session.execute(statement)).scalars().all()
