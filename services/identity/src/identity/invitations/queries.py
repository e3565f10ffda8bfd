"""Reads invitations, and finds whom one is for."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Select, exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import authentication, rows
from identity.authentication import PersonRow
from identity.invitations import rules
from identity.invitations.schemas import Invitation
from identity.logins import LoginRow
from identity.merchants import MerchantRow
from identity.tenants import TenantRow
from identity.users import UserRow
from shared.api import Page, Paging, page
from shared.audit import Actor
from shared.errors import NotFound


async def list_invitations(session: AsyncSession, actor: Actor, paging: Paging) -> Page[Invitation]:
    """The tenant's people without a password, of the kinds that the actor manages, newest first."""
    kinds = [kind for kind, code in (("user", rules.STAFF), ("merchant", rules.MERCHANTS)) if code in actor.permissions]
    statement = _visible_rows(actor).where(col(LoginRow.kind).in_(kinds))
    now = datetime.now(UTC)
    order = (col(LoginRow.invited_at), col(LoginRow.invitation_id))
    found = await page(session, statement, paging, by=order, view=lambda login: login, filters=kinds)
    people = await _people_of(session, found.data)
    return Page(
        data=[view(login, people[login.subject_id], now) for login in found.data],
        has_more=found.has_more,
        next_cursor=found.next_cursor,
    )


async def get_login(session: AsyncSession, actor: Actor, invitation_id: str) -> LoginRow:
    """The log-in that an invitation is of. Raises `NotFound`."""
    statement = _visible_rows(actor).where(col(LoginRow.invitation_id) == invitation_id)
    return await rows.get_one(session, statement, no_invitation())


def view(login: LoginRow, person: PersonRow, now: datetime) -> Invitation:
    """An invitation as the API shows it."""
    assert login.invitation_id is not None
    assert login.invited_at is not None
    return Invitation(
        id=login.invitation_id,
        person=authentication.view_person(person),
        status=rules.status_of(login.invitation_expires_at, now),
        invited_at=login.invited_at,
        invitation_expires_at=login.invitation_expires_at,
    )


def no_invitation() -> NotFound:
    return NotFound("this invitation is unknown, used, or has expired", code="invitation_not_found")


async def _people_of(session: AsyncSession, found: Sequence[LoginRow]) -> dict[str, PersonRow]:
    """The users and merchants of these log-ins."""
    people: dict[str, PersonRow] = {}
    users = [login.subject_id for login in found if login.kind == "user"]
    merchants = [login.subject_id for login in found if login.kind == "merchant"]
    for user in (await session.execute(select(UserRow).where(col(UserRow.user_id).in_(users)))).scalars():
        people[user.user_id] = user
    of_merchants = select(MerchantRow).where(col(MerchantRow.merchant_id).in_(merchants))
    for merchant in (await session.execute(of_merchants)).scalars():
        people[merchant.merchant_id] = merchant
    return people


def _visible_rows(actor: Actor) -> Select[LoginRow]:
    statement = select(LoginRow).where(
        col(LoginRow.tenant_id) == actor.tenant_id,
        col(LoginRow.invitation_id).is_not(None),
        col(LoginRow.password_hash).is_(None),
    )
    if actor.livemode:
        return statement
    # The people of a test tenant are all in test mode, those of a live one are not.
    return statement.where(exists().where(col(TenantRow.tenant_id) == col(LoginRow.tenant_id), col(TenantRow.test)))
