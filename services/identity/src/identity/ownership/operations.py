"""Hands a tenant over to another owner."""

from datetime import UTC, datetime

from identity import authentication, mail, tenants, users
from identity.authentication import Authenticator
from identity.ownership import rules
from identity.ownership.schemas import Ownership, OwnershipIn
from shared.api import Transactions
from shared.audit import Actor


async def transfer(
    authenticator: Authenticator, transactions: Transactions, actor: Actor, body: OwnershipIn
) -> Ownership:
    """Make a member of staff the owner; the former owner becomes staff with all permissions, and its tokens end.

    Raises `Forbidden` (wrong password, no step-up, no longer the owner), `NotFound`, `UserNotActive`, `TooManyRequests`.
    """
    await authentication.require_step_up(authenticator, actor, body)
    async with transactions.begin() as session:
        # Transfers of a tenant come one after the other: the second one finds another owner.
        tenant = await tenants.lock_own(session, actor)
        rules.check_owner(actor.id, tenant.owner_id)
        exchange = await users.exchange_owner(session, actor, tenant.tenant_id, body.user_id)
        tenants.publish_ownership(
            session,
            actor,
            tenant,
            (users.state(exchange.owner), exchange.owner.version),
            (users.state(exchange.former), exchange.former.version),
        )
        moved = mail.OwnershipMoved(
            former_owner=users.full_name(exchange.former),
            new_owner=users.full_name(exchange.owner),
            moved_at=datetime.now(UTC),
        )
        for person in (exchange.former, exchange.owner):
            await mail.send(session, users.recipient(person), moved)
        return Ownership(
            tenant_id=tenant.tenant_id,
            owner=users.view(exchange.owner),
            former_owner=users.view(exchange.former),
            version=tenant.version,
        )
