"""Staff: administrators beside the owner. Nobody grants what they do not hold or changes their own rights; the owner is untouchable."""

from datetime import UTC, datetime

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import audit, domain, logins, tenancy, users
from identity.audit import Author
from identity.models.users import NewUser, StaffIn, StaffPatch, StaffPermissions, User, UserRow
from identity.passwords import Passwords
from shared.access import permissions
from shared.api import IfMatch, Page, Paging, page
from shared.errors import NotFound
from shared.events import identity as facts


async def create(
    session: AsyncSession, author: Author, passwords: Passwords, body: StaffIn, *, staff_max: int
) -> NewUser:
    """A new member of staff. Raises `Forbidden` for permissions that the caller lacks, `NameTaken`, `LimitReached`."""
    domain.check_grantable(permissions.expand(body.permissions), author.permissions)
    password_hash = await logins.hash_or_none(passwords, body.password)
    tenant = await tenancy.locked(session, author)
    await tenancy.require_room(session, UserRow, col(UserRow.tenant_id) == author.tenant_id, maximum=staff_max)
    now = datetime.now(UTC)
    row = users.new(
        tenant_id=tenant.tenant_id,
        kind="staff",
        email=body.email,
        names=(body.first_name, body.last_name),
        invited=password_hash is None,
        permissions=_ordered(body.permissions),
        livemode=not tenant.test,
        now=now,
    )
    session.add(row)
    invitation = await logins.create(
        session,
        tenant_id=tenant.tenant_id,
        email=body.email,
        subject_id=row.user_id,
        kind="user",
        password_hash=password_hash,
        now=now,
    )
    users.publish(session, facts.UserCreated, row)
    audit.record(session, author, "user.created", row.user_id, after=audit.told(users.view(row)))
    return NewUser(
        **users.view(row).model_dump(),
        invitation_token=invitation.token,
        invitation_expires_at=invitation.expires_at,
    )


async def find(session: AsyncSession, author: Author, paging: Paging, *, status: str | None) -> Page[User]:
    """The tenant's administrators, the owner among them, newest first."""
    statement = _rows(author)
    if status is not None:
        statement = statement.where(col(UserRow.status) == status)
    order = (col(UserRow.created_at), col(UserRow.user_id))
    return await page(session, statement, paging, by=order, view=users.view, filters=[status])


async def get(session: AsyncSession, author: Author, user_id: str) -> User:
    """One administrator. Raises `NotFound`."""
    return users.view(await _one(session, _rows(author).where(col(UserRow.user_id) == user_id)))


async def change(session: AsyncSession, author: Author, user_id: str, if_match: IfMatch, patch: StaffPatch) -> User:
    """Change name or e-mail address. Raises `NotFound`, `PreconditionFailed`, `OwnerProtected`, `NameTaken`."""
    await tenancy.locked(session, author)
    row = await _locked(session, author, user_id)
    if_match.check(row.version)
    if author.id != user_id and author.caller.kind != "platform":
        # Whoever could change the owner's e-mail address could take the tenant.
        domain.check_not_owner(row.kind)
    before = users.view(row)
    if patch.email is not None:
        await logins.rename(session, tenant_id=row.tenant_id, email=patch.email, subject_id=user_id)
        row.email = patch.email
    row.first_name = patch.first_name or row.first_name
    row.last_name = patch.last_name or row.last_name
    if users.view(row) != before:
        _changed(session, author, row, facts.UserUpdated, before)
    return users.view(row)


async def disable(session: AsyncSession, author: Author, user_id: str) -> User:
    """Shut a member of staff out, keys and running sessions included; repeating it changes nothing.

    Raises `NotFound`, `Forbidden` (oneself), `OwnerProtected`.
    """
    row = await _locked(session, author, user_id)
    domain.check_not_owner(row.kind)
    domain.check_not_self(author.id, user_id)
    if row.status != "disabled":
        before = users.view(row)
        now = datetime.now(UTC)
        row.status = "disabled"
        row.sessions_valid_from = domain.sessions_end(now, row.sessions_valid_from)
        await logins.end_sessions(session, user_id, now)
        _changed(session, author, row, facts.UserDisabled, before)
    return users.view(row)


async def enable(session: AsyncSession, author: Author, user_id: str) -> User:
    """Let a disabled member of staff in again; repeating it changes nothing. Raises `NotFound`, `Forbidden`."""
    row = await _locked(session, author, user_id)
    if row.status == "disabled":
        domain.check_not_self(author.id, user_id)
        domain.check_grantable(permissions.expand(row.permissions), author.permissions)
        before = users.view(row)
        login = await logins.of_subject(session, user_id)
        row.status = "active" if login.password_hash is not None else "invited"
        _changed(session, author, row, facts.UserUpdated, before)
    return users.view(row)


async def get_permissions(session: AsyncSession, author: Author, user_id: str) -> StaffPermissions:
    """What one administrator may do. Raises `NotFound`."""
    return _permissions(await _one(session, _rows(author).where(col(UserRow.user_id) == user_id)))


async def set_permissions(
    session: AsyncSession, author: Author, user_id: str, if_match: IfMatch, codes: list[str]
) -> StaffPermissions:
    """Give a member of staff this set; their running tokens end, so that it holds everywhere at once.

    Raises `NotFound`, `PreconditionFailed`, `OwnerProtected`, `Forbidden` (oneself, or more than the caller holds).
    """
    row = await _locked(session, author, user_id)
    if_match.check(row.version)
    domain.check_not_owner(row.kind)
    domain.check_not_self(author.id, user_id)
    domain.check_grantable(permissions.expand(codes) - permissions.expand(row.permissions), author.permissions)
    wanted = _ordered(codes)
    if wanted != row.permissions:
        before = users.view(row)
        row.permissions = wanted
        row.sessions_valid_from = domain.sessions_end(datetime.now(UTC), row.sessions_valid_from)
        _changed(session, author, row, facts.UserPermissionsChanged, before)
    return _permissions(row)


def _changed(session: AsyncSession, author: Author, row: UserRow, fact: type[facts.UserEvent], before: User) -> None:
    row.version += 1
    row.updated_at = datetime.now(UTC)
    users.publish(session, fact, row)
    audit.record(
        session, author, fact.type_name(), row.user_id, before=audit.told(before), after=audit.told(users.view(row))
    )


def _permissions(row: UserRow) -> StaffPermissions:
    is_owner = row.kind == "owner"
    return StaffPermissions(
        user_id=row.user_id,
        is_owner=is_owner,
        permissions=row.permissions,
        scopes=sorted(permissions.OWNER if is_owner else permissions.expand(row.permissions)),
        version=row.version,
    )


def _ordered(codes: list[str]) -> list[str]:
    return sorted(set(codes))


def _rows(author: Author) -> Select[UserRow]:
    return tenancy.visible(select(UserRow), author, UserRow.tenant_id, UserRow.livemode)


async def _locked(session: AsyncSession, author: Author, user_id: str) -> UserRow:
    statement = _rows(author).where(col(UserRow.user_id) == user_id)
    return await _one(session, statement.with_for_update(key_share=True))


async def _one(session: AsyncSession, statement: Select[UserRow]) -> UserRow:
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no member of staff with this id", code="user_not_found")
    return row
