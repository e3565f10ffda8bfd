"""Reads and locks users."""

from collections.abc import Sequence

from sqlalchemy import Select, and_, or_, select, true, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import rows
from identity.mail import MailAnswers, Recipient
from identity.search_words import search_page
from identity.users.schemas import StaffPermissions, User
from identity.users.tables import UserRow
from shared.access import permissions
from shared.api import ANY_VERSION, IfMatch, Page, Paging, where_equal
from shared.audit import Actor
from shared.errors import NotFound


async def list_users(
    session: AsyncSession, actor: Actor, paging: Paging, *, status: str | None, q: str | None
) -> Page[User]:
    """The tenant's owner and members of staff, newest first; with `q` those whose words begin with its words."""
    statement = where_equal(_visible_rows(actor), {col(UserRow.status): status})
    return await search_page(session, UserRow, actor.tenant_id, statement, paging, q=q, view=view, filters=[status])


async def get(session: AsyncSession, actor: Actor, user_id: str) -> User:
    """One user. Raises `NotFound`."""
    return view(await _get_row(session, actor, user_id))


async def get_held(session: AsyncSession, user_ids: list[str]) -> frozenset[str]:
    """What active users among these hold together, with all that sections include."""
    statement = select(UserRow).where(col(UserRow.user_id).in_(user_ids), col(UserRow.status) == "active")
    held: frozenset[str] = frozenset()
    for row in (await session.execute(statement)).scalars():
        held |= permissions.OWNER if row.kind == "owner" else permissions.expand(row.permissions)
    return held


async def get_permissions(session: AsyncSession, actor: Actor, user_id: str) -> StaffPermissions:
    """What one user may do. Raises `NotFound`."""
    return view_permissions(await _get_row(session, actor, user_id))


async def lock_for_update(
    session: AsyncSession, actor: Actor, user_id: str, if_match: IfMatch = ANY_VERSION
) -> UserRow:
    """One user's row, locked. Raises `NotFound`, `PreconditionFailed`."""
    row = await rows.get_one(session, _by_id(actor, user_id).with_for_update(key_share=True), _not_found())
    if_match.check(row.version)
    return row


async def lock_owner(session: AsyncSession, tenant_id: str) -> UserRow:
    """The row of a tenant's owner, locked."""
    statement = select(UserRow).where(col(UserRow.tenant_id) == tenant_id, col(UserRow.kind) == "owner")
    return (await session.execute(statement.with_for_update())).scalar_one()


async def lock_for_mail(session: AsyncSession, answers: MailAnswers) -> Sequence[UserRow]:
    """The users, locked, with whose present address it is news that a server took mail or refused it."""
    id_, refused_at = col(UserRow.user_id), col(UserRow.email_refused_at)
    refused = [key for key, refusal in answers.items() if refusal is not None and key[0].startswith("usr_")]
    taken = [key for key, refusal in answers.items() if refusal is None and key[0].startswith("usr_")]
    if not refused and not taken:
        return []
    person = tuple_(id_, col(UserRow.email))
    news = or_(person.in_(refused), and_(person.in_(taken), refused_at.is_not(None)))
    statement = select(UserRow).where(news).order_by(id_).with_for_update(key_share=True)
    return (await session.execute(statement)).scalars().all()


async def list_recipients(
    session: AsyncSession, tenant_id: str, permission: str, people_max: int
) -> Sequence[Recipient]:
    """The owner of a tenant and the active members of staff who hold a permission: the first of them, `people_max` at most."""
    is_owner = col(UserRow.kind) == "owner"
    holds = and_(
        col(UserRow.status) == "active", col(UserRow.permissions).bool_op("&&")(permissions.with_ancestors(permission))
    )
    statement = (
        select(UserRow)
        .where(col(UserRow.tenant_id) == tenant_id, or_(is_owner, holds))
        .order_by(is_owner.desc(), col(UserRow.created_at), col(UserRow.user_id))
        .limit(people_max)
    )
    return [recipient(row) for row in (await session.execute(statement)).scalars()]


async def list_holders(
    session: AsyncSession, tenant_id: str, codes: Sequence[str], people_max: int
) -> Sequence[UserRow]:
    """Active users who hold all these permissions, the owner first: `people_max` at most."""
    is_owner = col(UserRow.kind) == "owner"
    holds = [col(UserRow.permissions).bool_op("&&")(permissions.with_ancestors(code)) for code in codes]
    statement = (
        select(UserRow)
        .where(
            col(UserRow.tenant_id) == tenant_id, col(UserRow.status) == "active", or_(is_owner, and_(true(), *holds))
        )
        .order_by(is_owner.desc(), col(UserRow.created_at), col(UserRow.user_id))
        .limit(people_max)
    )
    return (await session.execute(statement)).scalars().all()


def full_name(row: UserRow) -> str:
    """A user's first and last name."""
    return f"{row.first_name} {row.last_name}"


def recipient(row: UserRow, *, email: str | None = None) -> Recipient:
    """A user as the recipient of a mail; `email` is a former address."""
    return Recipient(
        id=row.user_id,
        tenant_id=row.tenant_id,
        email=email or row.email,
        name=full_name(row),
        language=row.language,
        livemode=row.livemode,
    )


def view(row: UserRow) -> User:
    """A user as the API shows it."""
    return User(
        id=row.user_id,
        tenant_id=row.tenant_id,
        kind=row.kind,
        email=row.email,
        first_name=row.first_name,
        last_name=row.last_name,
        language=row.language,
        email_refused_at=row.email_refused_at,
        email_refusal=row.email_refusal,
        status=row.status,
        permissions=row.permissions,
        livemode=row.livemode,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def view_permissions(row: UserRow) -> StaffPermissions:
    """A user's permissions as the API shows them; an owner's are computed."""
    is_owner = row.kind == "owner"
    return StaffPermissions(
        user_id=row.user_id,
        is_owner=is_owner,
        permissions=row.permissions,
        scopes=sorted(permissions.OWNER if is_owner else permissions.expand(row.permissions)),
        version=row.version,
    )


async def _get_row(session: AsyncSession, actor: Actor, user_id: str) -> UserRow:
    return await rows.get_one(session, _by_id(actor, user_id), _not_found())


def _by_id(actor: Actor, user_id: str) -> Select[UserRow]:
    return _visible_rows(actor).where(col(UserRow.user_id) == user_id)


def _visible_rows(actor: Actor) -> Select[UserRow]:
    return rows.visible_to(select(UserRow), actor, UserRow.tenant_id, UserRow.livemode)


def _not_found() -> NotFound:
    return NotFound("no member of staff with this id", code="user_not_found")
