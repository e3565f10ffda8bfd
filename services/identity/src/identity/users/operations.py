"""Creates and changes users, and sets their permissions."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import audit, logins, sessions, tenants
from identity.actors import Actor
from identity.logins import Passwords
from identity.users import queries, rules
from identity.users.queries import lock_for_update, view_permissions
from identity.users.schemas import NewUser, StaffIn, StaffPatch, StaffPermissions, User
from identity.users.tables import UserRow
from shared.access import permissions
from shared.api import IfMatch
from shared.events import identity as facts
from shared.ids import new_id
from shared.messaging import outbox


def new_row(
    *,
    tenant_id: str,
    kind: str,
    email: str,
    names: tuple[str, str],
    invited: bool,
    permissions: list[str],
    livemode: bool,
    now: datetime,
) -> UserRow:
    """A row for a new user; whoever makes it adds and publishes it."""
    return UserRow(
        user_id=new_id("usr"),
        tenant_id=tenant_id,
        version=1,
        kind=kind,
        email=email,
        first_name=names[0],
        last_name=names[1],
        status="invited" if invited else "active",
        permissions=permissions,
        sessions_valid_from=now,
        livemode=livemode,
        created_at=now,
        updated_at=now,
    )


def publish(session: AsyncSession, fact: type[facts.UserEvent], row: UserRow) -> None:
    """Tell a fact of a user with its whole present state."""
    state = facts.UserState(
        user_id=row.user_id,
        tenant_id=row.tenant_id,
        kind=row.kind,
        status=row.status,
        permissions=row.permissions,
        sessions_valid_from=row.sessions_valid_from,
    )
    outbox.publish(
        session,
        fact(type=fact.type_name(), tenant_id=row.tenant_id, subject=row.user_id, sequence=row.version, data=state),
    )


async def create(
    session: AsyncSession, actor: Actor, passwords: Passwords, body: StaffIn, *, staff_max: int
) -> NewUser:
    """A new member of staff. Raises `Forbidden` for permissions that the caller lacks, `NameTaken`, `LimitReached`."""
    rules.check_grantable(permissions.expand(body.permissions), actor.permissions)
    password_hash = await logins.hash_if_given(passwords, body.password)
    tenant = await tenants.lock_own(session, actor)
    await tenants.require_room(session, UserRow, col(UserRow.tenant_id) == actor.tenant_id, maximum=staff_max)
    now = datetime.now(UTC)
    row = new_row(
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
    publish(session, facts.UserCreated, row)
    audit.record(session, actor, "user.created", row.user_id, after=audit.snapshot(queries.view(row)))
    return NewUser(
        **queries.view(row).model_dump(),
        invitation_token=invitation.token,
        invitation_expires_at=invitation.expires_at,
    )


async def update(session: AsyncSession, actor: Actor, user_id: str, if_match: IfMatch, patch: StaffPatch) -> User:
    """Change name or e-mail address. Raises `NotFound`, `PreconditionFailed`, `OwnerProtected`, `NameTaken`."""
    await tenants.lock_own(session, actor)
    row = await lock_for_update(session, actor, user_id)
    if_match.check(row.version)
    if actor.id != user_id and actor.caller.kind != "platform":
        # Whoever could change the owner's e-mail address could take the tenant.
        rules.check_not_owner(row.kind)
    before = queries.view(row)
    if patch.email is not None:
        await logins.change_email(session, tenant_id=row.tenant_id, email=patch.email, subject_id=user_id)
        row.email = patch.email
    row.first_name = patch.first_name or row.first_name
    row.last_name = patch.last_name or row.last_name
    if queries.view(row) != before:
        _changed(session, actor, row, facts.UserUpdated, before)
    return queries.view(row)


async def disable(session: AsyncSession, actor: Actor, user_id: str) -> User:
    """Shut a member of staff out, keys and running sessions included; repeating it changes nothing.

    Raises `NotFound`, `Forbidden` (oneself), `OwnerProtected`.
    """
    row = await lock_for_update(session, actor, user_id)
    rules.check_not_owner(row.kind)
    rules.check_not_self(actor.id, user_id)
    if row.status != "disabled":
        before = queries.view(row)
        now = datetime.now(UTC)
        row.status = "disabled"
        row.sessions_valid_from = sessions.next_valid_from(now, row.sessions_valid_from)
        await sessions.end_all(session, user_id, now)
        _changed(session, actor, row, facts.UserDisabled, before)
    return queries.view(row)


async def enable(session: AsyncSession, actor: Actor, user_id: str) -> User:
    """Let a disabled member of staff in again; repeating it changes nothing. Raises `NotFound`, `Forbidden`."""
    row = await lock_for_update(session, actor, user_id)
    if row.status == "disabled":
        rules.check_not_self(actor.id, user_id)
        rules.check_grantable(permissions.expand(row.permissions), actor.permissions)
        before = queries.view(row)
        login = await logins.get_by_subject(session, user_id)
        row.status = "active" if login.password_hash is not None else "invited"
        _changed(session, actor, row, facts.UserUpdated, before)
    return queries.view(row)


async def set_permissions(
    session: AsyncSession, actor: Actor, user_id: str, if_match: IfMatch, codes: list[str]
) -> StaffPermissions:
    """Give a member of staff this set; their running tokens end, so that it holds everywhere at once.

    Raises `NotFound`, `PreconditionFailed`, `OwnerProtected`, `Forbidden` (oneself, or more than the caller holds).
    """
    row = await lock_for_update(session, actor, user_id)
    if_match.check(row.version)
    rules.check_not_owner(row.kind)
    rules.check_not_self(actor.id, user_id)
    rules.check_grantable(permissions.expand(codes) - permissions.expand(row.permissions), actor.permissions)
    wanted = _ordered(codes)
    if wanted != row.permissions:
        before = queries.view(row)
        row.permissions = wanted
        row.sessions_valid_from = sessions.next_valid_from(datetime.now(UTC), row.sessions_valid_from)
        _changed(session, actor, row, facts.UserPermissionsChanged, before)
    return view_permissions(row)


def _changed(session: AsyncSession, actor: Actor, row: UserRow, fact: type[facts.UserEvent], before: User) -> None:
    row.version += 1
    row.updated_at = datetime.now(UTC)
    publish(session, fact, row)
    audit.record(
        session,
        actor,
        fact.type_name(),
        row.user_id,
        before=audit.snapshot(before),
        after=audit.snapshot(queries.view(row)),
    )


def _ordered(codes: list[str]) -> list[str]:
    return sorted(set(codes))
