"""Reads and locks users."""

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import tenants
from identity.actors import Actor
from identity.users.schemas import StaffPermissions, User
from identity.users.tables import UserRow
from shared.access import permissions
from shared.api import Page, Paging, page
from shared.errors import NotFound


def view(row: UserRow) -> User:
    """A user as the API shows it."""
    return User(
        id=row.user_id,
        tenant_id=row.tenant_id,
        kind=row.kind,
        email=row.email,
        first_name=row.first_name,
        last_name=row.last_name,
        status=row.status,
        permissions=row.permissions,
        livemode=row.livemode,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


async def list_users(session: AsyncSession, actor: Actor, paging: Paging, *, status: str | None) -> Page[User]:
    """The tenant's administrators, the owner among them, newest first."""
    statement = _visible_rows(actor)
    if status is not None:
        statement = statement.where(col(UserRow.status) == status)
    order = (col(UserRow.created_at), col(UserRow.user_id))
    return await page(session, statement, paging, by=order, view=view, filters=[status])


async def get(session: AsyncSession, actor: Actor, user_id: str) -> User:
    """One administrator. Raises `NotFound`."""
    return view(await _one(session, _visible_rows(actor).where(col(UserRow.user_id) == user_id)))


async def get_permissions(session: AsyncSession, actor: Actor, user_id: str) -> StaffPermissions:
    """What one administrator may do. Raises `NotFound`."""
    return view_permissions(await _one(session, _visible_rows(actor).where(col(UserRow.user_id) == user_id)))


def view_permissions(row: UserRow) -> StaffPermissions:
    is_owner = row.kind == "owner"
    return StaffPermissions(
        user_id=row.user_id,
        is_owner=is_owner,
        permissions=row.permissions,
        scopes=sorted(permissions.OWNER if is_owner else permissions.expand(row.permissions)),
        version=row.version,
    )


def _visible_rows(actor: Actor) -> Select[UserRow]:
    return tenants.visible_to(select(UserRow), actor, UserRow.tenant_id, UserRow.livemode)


async def lock_for_update(session: AsyncSession, actor: Actor, user_id: str) -> UserRow:
    statement = _visible_rows(actor).where(col(UserRow.user_id) == user_id)
    return await _one(session, statement.with_for_update(key_share=True))


async def _one(session: AsyncSession, statement: Select[UserRow]) -> UserRow:
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no member of staff with this id", code="user_not_found")
    return row
