"""Creates, updates, disables and enables users, and sets their permissions."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import changes, logins, rows, sessions, tenants
from identity.logins import Passwords
from identity.mail import MailAnswers
from identity.search_words import search_words
from identity.users import rules
from identity.users.queries import (
    lock_for_mail,
    lock_for_update,
    lock_owner,
    recipient,
    view,
    view_permissions,
)
from identity.users.schemas import ChangedUser, CreatedUser, StaffIn, StaffPatch, StaffPermissions, User
from identity.users.tables import UserRow
from shared import audit
from shared.access import authorization, permissions
from shared.api import IfMatch
from shared.audit import Actor
from shared.events import identity as events
from shared.ids import new_id


@dataclass(frozen=True, slots=True)
class OwnerExchange:
    """The rows of a tenant's new and its former owner."""

    owner: UserRow
    former: UserRow


async def create(
    session: AsyncSession, actor: Actor, passwords: Passwords, body: StaffIn, *, staff_max: int
) -> CreatedUser:
    """A new member of staff. Raises `Forbidden` for permissions that the actor lacks, `AlreadyExists` (e-mail), `LimitReached`."""
    rules.check_grantable(permissions.expand(body.permissions), actor.permissions)
    password_hash = await logins.hash_if_given(passwords, body.password)
    tenant = await tenants.lock_own(session, actor)
    await rows.require_room(session, UserRow, col(UserRow.tenant_id) == actor.tenant_id, maximum=staff_max)
    now = datetime.now(UTC)
    row = new_row(
        tenant_id=tenant.tenant_id,
        kind="staff",
        email=body.email,
        names=(body.first_name, body.last_name),
        language=body.language,
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
        invited_by=actor.id,
        now=now,
    )
    invitation = await logins.mail_invitation(session, invitation, recipient(row), "staff")
    publish(session, events.UserCreated, row)
    audit.record(session, actor, "user.created", row.user_id, after=view(row))
    return CreatedUser(
        **view(row).model_dump(),
        **invitation.shown,
    )


async def update(
    session: AsyncSession, actor: Actor, user_id: str, if_match: IfMatch, patch: StaffPatch
) -> ChangedUser:
    """Change name or e-mail address. Raises `NotFound`, `PreconditionFailed`, `OwnerProtected`, `Forbidden`, `AlreadyExists`."""
    await tenants.lock_own(session, actor)
    row = await lock_for_update(session, actor, user_id, if_match)
    rules.check_may_update(row.kind, own=actor.id == user_id, by_platform=actor.caller.kind == "platform")
    before, change = view(row), logins.EmailUpdate(row.email)
    if patch.email is not None:
        rules.check_may_manage(_held_by(row), actor.permissions)
        change = await _update_email(session, actor, row, patch.email)
    row.first_name = patch.first_name or row.first_name
    row.last_name = patch.last_name or row.last_name
    if "language" in patch.model_fields_set:
        row.language = patch.language
    if view(row) != before:
        _publish_change(session, actor, events.UserUpdated, row, before)
    return ChangedUser(
        **view(row).model_dump(),
        **change.shown,
    )


async def disable(session: AsyncSession, actor: Actor, user_id: str) -> User:
    """Refuse a member of staff: its sessions end, its tokens and API keys stop working. Repeating it changes nothing.

    Raises `NotFound`, `Forbidden` (oneself, or a user with more permissions than the actor holds), `OwnerProtected`.
    """
    row = await lock_for_update(session, actor, user_id)
    rules.check_not_owner(row.kind)
    rules.check_not_self(actor.id, user_id)
    rules.check_may_manage(_held_by(row), actor.permissions)
    if row.status != "disabled":
        before = view(row)
        now = datetime.now(UTC)
        row.status = "disabled"
        row.sessions_valid_from = sessions.next_valid_from(now, row.sessions_valid_from)
        await sessions.end_all(session, user_id, now)
        _publish_change(session, actor, events.UserDisabled, row, before)
    return view(row)


async def enable(session: AsyncSession, actor: Actor, user_id: str) -> User:
    """Enable a disabled member of staff. Repeating it changes nothing.

    Raises `NotFound`, and `Forbidden` (oneself, or a user with more permissions than the actor holds).
    """
    row = await lock_for_update(session, actor, user_id)
    if row.status == "disabled":
        rules.check_not_self(actor.id, user_id)
        rules.check_grantable(permissions.expand(row.permissions), actor.permissions)
        before = view(row)
        login = await logins.get_by_subject(session, user_id)
        row.status = rules.status_when_enabled(has_password=login.password_hash is not None)
        _publish_change(session, actor, events.UserUpdated, row, before)
    return view(row)


async def set_permissions(
    session: AsyncSession, actor: Actor, user_id: str, if_match: IfMatch, codes: list[str]
) -> StaffPermissions:
    """Replace the permissions of a member of staff. Tokens issued before are refused, so the new ones hold at once everywhere.

    Raises `NotFound`, `PreconditionFailed`, `OwnerProtected`, `Forbidden` (oneself; to somebody, or from somebody, who holds more).
    """
    row = await lock_for_update(session, actor, user_id, if_match)
    rules.check_not_owner(row.kind)
    rules.check_not_self(actor.id, user_id)
    former, requested = permissions.expand(row.permissions), permissions.expand(codes)
    rules.check_grantable(requested - former, actor.permissions)
    if former - requested:
        rules.check_may_manage(former, actor.permissions)
    ordered = _ordered(codes)
    if ordered != row.permissions:
        before = view(row)
        if row.status == "invited":
            logins.add_inviter(await logins.get_by_subject(session, user_id, lock=True), actor.id)
        row.permissions = ordered
        row.sessions_valid_from = sessions.next_valid_from(datetime.now(UTC), row.sessions_valid_from)
        _publish_change(session, actor, events.UserPermissionsChanged, row, before)
    return view_permissions(row)


async def lock_for_reset(session: AsyncSession, actor: Actor, user_id: str) -> UserRow:
    """The row, locked, of a person whose way in the actor may give anew: of the owner only as the platform.

    Raises `NotFound`, `OwnerProtected`, and `Forbidden` (oneself, or a user with more permissions than the actor holds).
    """
    row = await lock_for_update(session, actor, user_id)
    rules.check_not_self(actor.id, user_id)
    rules.check_may_update(row.kind, own=False, by_platform=actor.caller.kind == "platform")
    if row.kind != "owner":
        rules.check_may_manage(_held_by(row), actor.permissions)
    return row


async def exchange_owner(session: AsyncSession, actor: Actor, tenant_id: str, user_id: str) -> OwnerExchange:
    """Make a member of staff the owner of a tenant, whose row the caller has locked, and the owner staff with all permissions.

    Tokens of the former owner that were issued before are refused. The caller publishes both. Raises `NotFound`, `UserNotActive`, and
    `Forbidden` when the owner names itself.
    """
    rules.check_not_self(actor.id, user_id)
    former = await lock_owner(session, tenant_id)
    owner = await lock_for_update(session, actor, user_id)
    rules.check_can_own(owner.status)
    now = datetime.now(UTC)
    former.kind, former.permissions = "staff", _ordered(list(permissions.ALL_SECTIONS))
    former.sessions_valid_from = sessions.next_valid_from(now, former.sessions_valid_from)
    # First there is one owner fewer: the unique index of owners is checked row by row.
    await session.flush()
    owner.kind, owner.permissions = "owner", []
    for row in (former, owner):
        row.version += 1
        row.updated_at = now
    return OwnerExchange(owner, former)


def activate(session: AsyncSession, row: UserRow, permissions: list[str], now: datetime) -> None:
    """Make an invited user, whose row is locked, active with these permissions. The caller writes the audit event."""
    row.status = "active"
    row.permissions = permissions
    row.version += 1
    row.updated_at = now
    publish(session, events.UserUpdated, row)


async def note_mail(session: AsyncSession, answers: MailAnswers) -> None:
    """Note what mail servers answered, where that is news."""
    for row in await lock_for_mail(session, answers):
        before = view(row)
        row.email_refusal = answers[row.user_id, row.email]
        row.email_refused_at = datetime.now(UTC) if row.email_refusal else None
        changes.publish_own_change(
            session, events.UserUpdated, row, subject=row.user_id, state=state(row), before=before, after=view(row)
        )


def new_row(
    *,
    tenant_id: str,
    kind: str,
    email: str,
    names: tuple[str, str],
    language: str | None,
    invited: bool,
    permissions: list[str],
    livemode: bool,
    now: datetime,
) -> UserRow:
    """The row of a new user, with its first and last name. The caller adds it to the session and publishes it."""
    return UserRow(
        user_id=new_id("usr"),
        tenant_id=tenant_id,
        version=1,
        kind=kind,
        email=email,
        first_name=names[0],
        last_name=names[1],
        language=language,
        status="invited" if invited else "active",
        permissions=permissions,
        sessions_valid_from=now,
        livemode=livemode,
        created_at=now,
        updated_at=now,
    )


def index(row: UserRow) -> None:
    """Have a row found by the words that it has now."""
    row.search_words = search_words(row.tenant_id, row.first_name, row.last_name, row.email)


def publish(session: AsyncSession, event_type: type[events.UserEvent], row: UserRow) -> None:
    """Publish an event with the user's whole state."""
    index(row)
    changes.publish(session, event_type, row, subject=row.user_id, state=state(row))


async def _update_email(session: AsyncSession, actor: Actor, row: UserRow, email: str) -> logins.EmailUpdate:
    """Change the address of a user. One's own is a way to one's secrets: it takes a step-up, which keys cannot have."""
    now = datetime.now(UTC)
    moved = rows.unique_key(email) != rows.unique_key(row.email)
    if moved and actor.id == row.user_id and not authorization.is_stepped_up(actor.caller, now):
        raise authorization.step_up_required()
    role: logins.Role = "owner" if row.kind == "owner" else "staff"
    change = await logins.update_email(session, recipient(row), email, role, now)
    if change.email != row.email:
        row.email = change.email
        row.email_refused_at = row.email_refusal = None
    if change.pending is not None:
        audit.record(session, actor, "email_change.requested", row.user_id, after={"email": change.pending})
    return change


def _publish_change(
    session: AsyncSession, actor: Actor, event_type: type[events.UserEvent], row: UserRow, before: User
) -> None:
    index(row)
    changes.publish_change(
        session, actor, event_type, row, subject=row.user_id, state=state(row), before=before, after=view(row)
    )


def state(row: UserRow) -> events.UserState:
    """A user as events show it."""
    return events.UserState(
        user_id=row.user_id,
        tenant_id=row.tenant_id,
        kind=row.kind,
        status=row.status,
        permissions=row.permissions,
        sessions_valid_from=row.sessions_valid_from,
    )


def _held_by(row: UserRow) -> frozenset[str]:
    return permissions.OWNER if row.kind == "owner" else permissions.expand(row.permissions)


def _ordered(codes: list[str]) -> list[str]:
    return sorted(set(codes))
