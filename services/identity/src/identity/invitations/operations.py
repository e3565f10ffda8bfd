"""Sends invitations again, withdraws them, and lets people accept them, once.

Who accepts gets those of the offered permissions that one of the inviters could still grant: an inviter who was disabled, or has lost
a permission meanwhile, gives it no more. Who sends an invitation again, or sets its permissions, is an inviter, too.
"""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from identity import authentication, logins, mail, merchants, users
from identity.authentication import Authenticator, PersonRow
from identity.invitations import queries, rules
from identity.invitations.queries import no_invitation
from identity.invitations.schemas import AcceptedInvitation, InvitationIn, SentInvitation
from identity.logins import LoginRow, Role
from identity.users import UserRow
from shared import audit
from shared.access import permissions
from shared.audit import Actor, Origin

_PLATFORM_KEY = "key_"
"""The ids of platform keys begin so; what users do with their keys is done by the users."""


async def resend(session: AsyncSession, actor: Actor, invitation_id: str) -> SentInvitation:
    """Send an invitation again, with a new token; the one of before is dead. Raises `NotFound`, `Forbidden`, `OwnerProtected`."""
    login, person = await _lock(session, actor, invitation_id)
    now = datetime.now(UTC)
    invitation = logins.invite(login, actor.id, now)
    invitation = await logins.mail_invitation(session, invitation, authentication.recipient(person), _role_of(person))
    audit.record(session, actor, "invitation.resent", login.subject_id)
    shown = queries.view(login, person, now)
    return SentInvitation(**shown.model_dump(), invitation_token=invitation.token)


async def withdraw(session: AsyncSession, actor: Actor, invitation_id: str) -> None:
    """Let an invitation be dead until it is sent again. Repeating it changes nothing. Raises like `resend`."""
    login, _ = await _lock(session, actor, invitation_id)
    if login.invitation_digest is not None:
        logins.end_invitation(login)
        await mail.cancel(session, mail.Invitation, login.subject_id)
        audit.record(session, actor, "invitation.withdrawn", login.subject_id)


async def accept(authenticator: Authenticator, origin: Origin, body: InvitationIn) -> AcceptedInvitation:
    """Set the first password with an invitation, once. Raises `NotFound`, `TooManyRequests`."""
    attempt = authenticator.attempts.begin_token(address=origin.address)
    digest = logins.digest_token(body.token)
    async with authenticator.database.reading() as session:
        login = await logins.get_by_invitation(session, digest)
    if login is None:
        raise no_invitation()
    attempt.succeeded()
    # Only for a known invitation, because a hash is expensive; and no transaction waits for it.
    password_hash = await authenticator.passwords.hash(body.password)
    async with authenticator.database.transaction() as session:
        person = await authentication.lock_person(session, login)
        login = await logins.get_by_invitation(session, digest, lock=True)
        now = datetime.now(UTC)
        if login is None or not rules.is_open(login.invitation_expires_at, now, person_status=person.status):
            raise no_invitation()
        login.password_hash = password_hash
        logins.end_invitation(login)
        withheld: list[str] = []
        if isinstance(person, UserRow):
            granted = await _granted(session, person, login)
            withheld = sorted(set(person.permissions) - set(granted))
            users.activate(session, person, granted, now)
        principal = authentication.view_person(person)
        audit.record_person(
            session,
            origin,
            tenant_id=login.tenant_id,
            actor=(login.subject_id, principal.kind, "invitation"),
            action="invitation.accepted",
            target=login.subject_id,
            after={"withheld": withheld} if withheld else None,
        )
        return AcceptedInvitation(principal=principal)


async def _granted(session: AsyncSession, person: UserRow, login: LoginRow) -> list[str]:
    """The permissions of an invitation that one of its inviters could grant now."""
    if not login.inviters or any(inviter.startswith(_PLATFORM_KEY) for inviter in login.inviters):
        held = permissions.OWNER
    else:
        held = await users.get_held(session, login.inviters)
    return rules.still_grantable({code: permissions.expand([code]) for code in person.permissions}, held)


async def _lock(session: AsyncSession, actor: Actor, invitation_id: str) -> tuple[LoginRow, PersonRow]:
    """The log-in and the person of an invitation, which the actor may give anew, locked."""
    found = await queries.get_login(session, actor, invitation_id)
    rules.check_may_manage(found.kind, actor.permissions)
    lock = users.lock_for_reset if found.kind == "user" else merchants.lock_for_reset
    person = await lock(session, actor, found.subject_id)
    login = await logins.get_by_subject(session, found.subject_id, lock=True)
    if login.password_hash is not None:
        raise no_invitation()
    return login, person


def _role_of(person: PersonRow) -> Role:
    kind: Role = authentication.view_person(person).kind
    return kind
