"""Creates log-ins and changes their e-mail address. Passwords are stored as hashes, invitation tokens as digests."""

import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from pydantic import SecretStr
from sqlalchemy import delete, select
from sqlalchemy import update as sql_update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import mail, rows
from identity.logins import rules
from identity.logins.passwords import Passwords
from identity.logins.queries import get_by_subject
from identity.logins.tables import LoginRow
from identity.mail import Recipient
from shared.ids import new_id

_TOKEN_BYTES = 32

Role = Literal["owner", "staff", "merchant"]
"""What somebody is invited as."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a new person needs to set a password; all are None when a password was given, the token when it was sent by mail."""

    id: str | None
    token: str | None
    expires_at: datetime | None

    @property
    def shown(self) -> dict[str, Any]:
        """The fields of `WithInvitation`."""
        return {"invitation_id": self.id, "invitation_token": self.token, "invitation_expires_at": self.expires_at}


NO_INVITATION = Invitation(None, None, None)


@dataclass(frozen=True, slots=True)
class EmailUpdate:
    """What became of a change of address: the one that is in force, and the one that waits until its mail is answered."""

    email: str
    invitation: Invitation = NO_INVITATION
    pending: str | None = None
    pending_until: datetime | None = None

    @property
    def shown(self) -> dict[str, Any]:
        """The fields of `WithEmailChange`."""
        return {
            **self.invitation.shown,
            "pending_email": self.pending,
            "pending_email_expires_at": self.pending_until,
        }


async def create(
    session: AsyncSession,
    *,
    tenant_id: str,
    email: str,
    subject_id: str,
    kind: str,
    password_hash: str | None,
    invited_by: str,
    now: datetime,
) -> Invitation:
    """A log-in for a new user or merchant; without a password it is invited. Raises `AlreadyExists`."""
    await _require_free_email(session, tenant_id, email, subject_id)
    login = LoginRow(
        tenant_id=tenant_id,
        email_key=rows.unique_key(email),
        subject_id=subject_id,
        kind=kind,
        password_hash=password_hash,
        invitation_id=None,
        invited_at=None,
        inviters=[],
        invitation_digest=None,
        invitation_expires_at=None,
        reset_digest=None,
        reset_expires_at=None,
        reset_mailed_at=[],
        new_email=None,
        new_email_digest=None,
        new_email_expires_at=None,
        places=[],
    )
    session.add(login)
    return NO_INVITATION if password_hash is not None else invite(login, invited_by, now)


def invite(login: LoginRow, invited_by: str | None, now: datetime) -> Invitation:
    """A new invitation for a log-in without a password; the token of before is dead. `invited_by` None: by whoever did it before."""
    token, login.invitation_digest = new_token("wbi")
    login.invitation_id = login.invitation_id or new_id("ivt")
    login.invited_at = login.invited_at or now
    login.invitation_expires_at = now + rules.INVITATION_LIFE
    if invited_by is not None:
        add_inviter(login, invited_by)
    return Invitation(login.invitation_id, token, login.invitation_expires_at)


def add_inviter(login: LoginRow, invited_by: str) -> None:
    """Let somebody else, too, stand for the permissions that come with an invitation."""
    if invited_by not in login.inviters:
        login.inviters = [*login.inviters, invited_by]


def end_invitation(login: LoginRow) -> None:
    """Let the token of an invitation be dead."""
    login.invitation_digest = login.invitation_expires_at = None


def begin_reset(login: LoginRow, now: datetime) -> tuple[str, datetime] | None:
    """A token with which a password can be reset, and when it expires; the one of before is dead. None if one was mailed just now."""
    if not rules.may_mail_reset(login.reset_mailed_at, now):
        return None
    token, login.reset_digest = new_token("wbp")
    login.reset_expires_at = now + rules.RESET_LIFE
    login.reset_mailed_at = [*rules.recent_resets(login.reset_mailed_at, now), now]
    return token, login.reset_expires_at


async def end_reset(session: AsyncSession, login: LoginRow) -> None:
    """Let the token of a reset be dead, and not be mailed any more."""
    login.reset_digest = login.reset_expires_at = None
    await mail.cancel(session, mail.PasswordReset, login.subject_id)


async def update_email(session: AsyncSession, to: Recipient, email: str, role: Role, now: datetime) -> EmailUpdate:
    """Give a person another e-mail address. Raises `AlreadyExists`.

    Who has a password must answer a mail to the new address first, and the present one hears of it. Without a mail server, and for those
    who were only invited, the change takes place at once; an invitation ends with its address, and there is a new one.
    """
    await _require_free_email(session, to.tenant_id, email, to.id)
    login = await get_by_subject(session, to.id, lock=True)
    if login.email_key == rows.unique_key(email):
        return EmailUpdate(email)
    if login.password_hash is None or not mail.is_on(session):
        return await move_email(session, login, to, email, role, now)
    token, login.new_email_digest = new_token("wbe")
    login.new_email, login.new_email_expires_at = email, now + rules.EMAIL_CHANGE_LIFE
    await mail.send(
        session, replace(to, email=email), mail.EmailVerification(token=token, expires_at=login.new_email_expires_at)
    )
    await mail.send(session, to, mail.EmailChangeRequested(present=to.email, future=email, requested_at=now))
    return EmailUpdate(to.email, pending=email, pending_until=login.new_email_expires_at)


async def move_email(
    session: AsyncSession, login: LoginRow, to: Recipient, email: str, role: Role, now: datetime
) -> EmailUpdate:
    """Put another address, which is free, in the place of a locked log-in's. Other ways in die with the address they were sent to."""
    login.email_key = rows.unique_key(email)
    login.new_email = login.new_email_digest = login.new_email_expires_at = None
    await end_reset(session, login)
    await mail.cancel(session, mail.EmailVerification, to.id)
    present = replace(to, email=email)
    if login.password_hash is None:
        return EmailUpdate(email, await mail_invitation(session, invite(login, None, now), present, role))
    for one in (to, present):
        await mail.send(session, one, mail.EmailChanged(former=to.email, present=email, changed_at=now))
    return EmailUpdate(email)


async def require_free_email(session: AsyncSession, login: LoginRow, email: str) -> None:
    """Raises `AlreadyExists` when another person of the tenant has this address."""
    await _require_free_email(session, login.tenant_id, email, login.subject_id)


async def mail_invitation(session: AsyncSession, invitation: Invitation, to: Recipient, role: Role) -> Invitation:
    """Send an invitation to its person. What is sent is for that person alone: the invitation comes back without its token."""
    if invitation.token is None or invitation.expires_at is None:
        return invitation
    mailed = await mail.send(
        session, to, mail.Invitation(role=role, token=invitation.token, expires_at=invitation.expires_at)
    )
    return replace(invitation, token=None) if mailed else invitation


async def update(
    session: AsyncSession, subject_id: str, *, password_hash: str | None, places: list[bytes] | None
) -> None:
    """Store a newer hash of the same password, and the places a person is known at; None: as it is."""
    given = {"password_hash": password_hash, "places": places}
    changed = {name: value for name, value in given.items() if value is not None}
    await session.execute(sql_update(LoginRow).where(col(LoginRow.subject_id) == subject_id).values(changed))


async def delete_of_tenant(session: AsyncSession, tenant_id: str, rows_max: int) -> int:
    """Delete log-ins of a tenant, `rows_max` at most; returns how many."""
    some = select(col(LoginRow.subject_id)).where(col(LoginRow.tenant_id) == tenant_id).limit(rows_max)
    statement = delete(LoginRow).where(col(LoginRow.subject_id).in_(some)).returning(col(LoginRow.subject_id))
    return len((await session.execute(statement)).all())


async def hash_if_given(passwords: Passwords, password: SecretStr | None) -> str | None:
    """The hash of a password; None for None. Raises `Unavailable` when too many hashes are waiting."""
    return None if password is None else await passwords.hash(password)


def new_token(prefix: str) -> tuple[str, bytes]:
    """An opaque token of 256 random bits, and the digest to store."""
    token = f"{prefix}_{secrets.token_urlsafe(_TOKEN_BYTES)}"
    return token, digest_token(token)


def digest_token(token: str) -> bytes:
    """The digest under which a token is stored."""
    return hashlib.sha256(token.encode()).digest()


async def _require_free_email(session: AsyncSession, tenant_id: str, email: str, subject_id: str) -> None:
    holder = select(col(LoginRow.subject_id)).where(
        col(LoginRow.tenant_id) == tenant_id, col(LoginRow.email_key) == rows.unique_key(email)
    )
    await rows.require_free(
        session, holder, subject_id, message="this e-mail address is in use in this tenant", code="email_taken"
    )
