"""Reads a person's own second factor."""

from sqlalchemy.ext.asyncio import AsyncSession

from identity import tenants
from identity.second_factors.schemas import SecondFactor
from identity.totp import SecondFactorRow
from shared.audit import Actor


async def get(session: AsyncSession, actor: Actor) -> SecondFactor:
    """Whether the person who asks has a second factor, and needs one."""
    row = await session.get(SecondFactorRow, actor.id)
    policy = await tenants.get_session_policy(session, actor.tenant_id)
    enrolled = row is not None and row.confirmed_at is not None
    return SecondFactor(
        enrolled=enrolled,
        enrolled_at=row.confirmed_at if row else None,
        recovery_codes_left=len(row.recovery_digests) if row and enrolled else 0,
        required=policy.asks_for_second_factor(administrator=actor.caller.kind != "merchant"),
    )
