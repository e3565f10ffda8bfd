"""Logs people in and out, renews their sessions, accepts invitations and changes passwords.

A log-in reads, checks the password, then writes: no transaction waits for a password hash. A refresh token that is used twice was
stolen: its session ends.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import actors, audit, logins, sessions, tenants, users
from identity.authentication import queries
from identity.authentication.queries import Person, lock_person, principal_of
from identity.authentication.schemas import AcceptedInvitation, InvitationIn, PasswordIn, RefreshIn, Session, SessionIn
from identity.logins import Attempts, LoginRow, Passwords, digest_token
from identity.sessions import RefreshTokenRow, SessionRow
from identity.signing_keys import Signer
from identity.tenants import TenantRow
from identity.users import UserRow
from shared.access import tokens
from shared.access.principals import Caller
from shared.errors import Forbidden, NotFound, Unauthenticated
from shared.events import identity as facts
from shared.ids import new_id
from shared.messaging import outbox
from shared.postgres.database import Database


async def accept_invitation(
    database: Database, passwords: Passwords, attempts: Attempts, origin: actors.Origin, body: InvitationIn
) -> AcceptedInvitation:
    """Set the first password with an invitation, once. Raises `NotFound`, `TooManyRequests`."""
    attempt = attempts.begin(account=None, address=origin.address)
    invited = select(LoginRow).where(col(LoginRow.invitation_digest) == digest_token(body.token))
    async with database.reading() as session:
        login = (await session.execute(invited)).scalar_one_or_none()
    if login is None:
        raise _no_invitation()
    attempt.succeeded()
    # Only for somebody who has an invitation: a hash is dear, and no transaction waits for one.
    password_hash = await passwords.hash(body.password)
    async with database.transaction() as session:
        person = await lock_person(session, login)
        login = (await session.execute(invited.with_for_update())).scalar_one_or_none()
        now = datetime.now(UTC)
        if login is None or person.status == "disabled" or _is_over(login.invitation_expires_at, now):
            raise _no_invitation()
        login.password_hash = password_hash
        login.invitation_digest = None
        login.invitation_expires_at = None
        if isinstance(person, UserRow):
            person.status = "active"
            person.version += 1
            person.updated_at = now
            users.publish(session, facts.UserUpdated, person)
        principal = principal_of(person)
        audit.record_person(
            session,
            origin,
            tenant_id=login.tenant_id,
            actor=(login.subject_id, principal.kind, "invitation"),
            action="invitation.accepted",
            target=login.subject_id,
        )
        return AcceptedInvitation(principal=principal)


def _no_invitation() -> NotFound:
    return NotFound("this invitation is unknown, used, or has expired", code="invitation_not_found")


def _is_over(expires_at: datetime | None, now: datetime) -> bool:
    return expires_at is None or expires_at <= now


@dataclass(frozen=True, slots=True)
class Authenticator:
    """What people come in with: where they are kept, how passwords are checked, who signs, how long all lasts."""

    database: Database
    passwords: Passwords
    attempts: Attempts
    signer: Signer
    token_life: timedelta
    session_life: timedelta


async def log_in(authenticator: Authenticator, origin: actors.Origin, body: SessionIn) -> Session:
    """A new session. Raises `Unauthenticated` (one answer for everything that is wrong), `Forbidden`, `TooManyRequests`."""
    async with authenticator.database.reading() as session:
        login = await logins.get_by_email(session, body.tenant, body.email)
    # A tenant has an id and a name: one account has one budget, whichever is given.
    account = login.subject_id if login else f"{tenants.unique_key(body.tenant)}\n{tenants.unique_key(body.email)}"
    attempt = authenticator.attempts.begin(account=account, address=origin.address)
    kept_hash = login.password_hash if login else None
    if not await authenticator.passwords.verify(kept_hash, body.password) or login is None or kept_hash is None:
        raise _wrong_password()
    attempt.succeeded()
    newer_hash = (
        await authenticator.passwords.hash(body.password) if authenticator.passwords.is_outdated(kept_hash) else None
    )
    async with authenticator.database.transaction() as session:
        person = await queries.lock_person(session, login)
        current = await logins.get_by_subject(session, login.subject_id, lock=True)
        if person.status != "active" or current.password_hash != kept_hash:
            raise _wrong_password()
        current.password_hash = newer_hash or kept_hash
        await _require_active_tenant(session, person.tenant_id)
        now = datetime.now(UTC)
        row = SessionRow(
            session_id=new_id("ses"),
            tenant_id=person.tenant_id,
            subject_id=login.subject_id,
            created_at=now,
            expires_at=now + authenticator.session_life,
            ended_at=None,
        )
        session.add(row)
        await session.flush()
        _record(session, origin, person, row, "password", "session.created")
        return _issue_tokens(authenticator, session, person, row)


async def refresh(authenticator: Authenticator, origin: actors.Origin, body: RefreshIn) -> Session:
    """The session's next token and refresh token. Raises `Unauthenticated`, and ends the session when a token is shown twice."""
    async with authenticator.database.transaction() as session:
        digest = logins.digest_token(body.refresh_token)
        subject_id = await session.scalar(
            select(col(SessionRow.subject_id))
            .join(RefreshTokenRow, col(RefreshTokenRow.session_id) == col(SessionRow.session_id))
            .where(col(RefreshTokenRow.digest) == digest)
        )
        if subject_id is None:
            raise _refresh_refused()
        person = await queries.lock_person(session, await logins.get_by_subject(session, subject_id))
        row = await session.get(RefreshTokenRow, digest, with_for_update=True)
        held = await session.get(SessionRow, row.session_id, with_for_update=True) if row else None
        if row is None or held is None:
            raise _refresh_refused()
        now = datetime.now(UTC)
        stolen = row.used_at is not None and held.ended_at is None
        if stolen:
            held.ended_at = now
            revoke_tokens(session, person, now)
            _record(session, origin, person, held, "refresh_token", "session.reuse_detected")
        elif row.used_at is None and held.ended_at is None and now < held.expires_at and person.status == "active":
            await _require_active_tenant(session, held.tenant_id)
            row.used_at = now
            return _issue_tokens(authenticator, session, person, held)
    # After the commit: an answer of 401 must not undo the end of the session.
    raise _refresh_refused()


async def log_out(session: AsyncSession, actor: actors.Actor) -> None:
    """End the caller's session and cut its running token at once; the person's other sessions go on with their next token."""
    session_id, subject_id = _session_and_subject(actor.caller)
    person = await queries.lock_person(session, await logins.get_by_subject(session, subject_id))
    now = datetime.now(UTC)
    held = await session.get(SessionRow, session_id, with_for_update=True)
    if held is not None and held.ended_at is None:
        held.ended_at = now
    revoke_tokens(session, person, now)
    audit.record(session, actor, "session.revoked", session_id)


async def change_password(authenticator: Authenticator, actor: actors.Actor, body: PasswordIn) -> Session:
    """Set a new password, end the person's other sessions, and go on with a new token. Raises `Forbidden`, `TooManyRequests`."""
    session_id, subject_id = _session_and_subject(actor.caller)
    await reauthenticate(authenticator, actor, body.current_password)
    new_hash = await authenticator.passwords.hash(body.new_password)
    async with authenticator.database.transaction() as session:
        person = await queries.lock_person(session, await logins.get_by_subject(session, subject_id))
        login = await logins.get_by_subject(session, subject_id, lock=True)
        login.password_hash = new_hash
        now = datetime.now(UTC)
        await sessions.end_all(session, subject_id, now, except_session_id=session_id)
        held = await session.get(SessionRow, session_id, with_for_update=True)
        if held is None or held.ended_at is not None or person.status != "active":
            raise Unauthenticated("this session has ended", code="session_revoked")
        revoke_tokens(session, person, now)
        audit.record(session, actor, "password.changed", subject_id)
        return _issue_tokens(authenticator, session, person, held)


async def reauthenticate(authenticator: Authenticator, actor: actors.Actor, password: SecretStr) -> None:
    """Make sure that whoever holds the caller's session knows its person's password. Raises `Forbidden`, `TooManyRequests`."""
    _, subject_id = _session_and_subject(actor.caller)
    attempt = authenticator.attempts.begin(account=subject_id, address=actor.origin.address)
    async with authenticator.database.reading() as session:
        login = await logins.get_by_subject(session, subject_id)
    if not await authenticator.passwords.verify(login.password_hash, password):
        raise Forbidden("this is not your password", code="reauthentication_failed")
    attempt.succeeded()


def revoke_tokens(session: AsyncSession, person: Person, now: datetime) -> None:
    """Refuse, everywhere and at once, every token that this (locked) person has been given up to now.

    It changes no version: the instant only grows, so the fact needs no order.
    """
    person.sessions_valid_from = sessions.next_valid_from(now, person.sessions_valid_from)
    subject_id = person.user_id if isinstance(person, UserRow) else person.merchant_id
    state = facts.SubjectSessions(subject_id=subject_id, sessions_valid_from=person.sessions_valid_from)
    outbox.publish(
        session,
        facts.SessionRevoked(tenant_id=person.tenant_id, subject=subject_id, sequence=person.version, data=state),
    )


def _issue_tokens(authenticator: Authenticator, session: AsyncSession, person: Person, row: SessionRow) -> Session:
    """The next token pair of a session whose person is locked."""
    refresh_token, digest = logins.new_token("wbr")
    session.add(RefreshTokenRow(digest=digest, session_id=row.session_id, used_at=None))
    issued_at = sessions.token_issued_at(datetime.now(UTC), person.sessions_valid_from)
    expires_at = min(issued_at + authenticator.token_life, row.expires_at)
    claims = tokens.Claims(row.subject_id, row.tenant_id, row.session_id, issued_at, expires_at, person.livemode)
    return Session(
        id=row.session_id,
        token=authenticator.signer.sign(claims),
        expires_at=expires_at,
        refresh_token=refresh_token,
        refresh_expires_at=row.expires_at,
        principal=queries.principal_of(person),
        livemode=person.livemode,
    )


async def _require_active_tenant(session: AsyncSession, tenant_id: str) -> None:
    status = await session.scalar(select(col(TenantRow.status)).where(col(TenantRow.tenant_id) == tenant_id))
    if status != "active":
        raise Forbidden(f"this tenant is {status}", code=f"tenant_{status}")


def _record(
    session: AsyncSession, origin: actors.Origin, person: Person, row: SessionRow, via: str, action: str
) -> None:
    actor = (row.subject_id, queries.principal_of(person).kind, via)
    audit.record_person(session, origin, tenant_id=row.tenant_id, actor=actor, action=action, target=row.session_id)


def _session_and_subject(caller: Caller) -> tuple[str, str]:
    # Routes for sessions admit callers with a session alone, and those have both.
    assert caller.session_id is not None
    assert caller.subject_id is not None
    return caller.session_id, caller.subject_id


def _wrong_password() -> Unauthenticated:
    return Unauthenticated("wrong tenant, e-mail address or password", code="credentials_wrong")


def _refresh_refused() -> Unauthenticated:
    return Unauthenticated("this refresh token is not valid: log in again", code="refresh_token_wrong")
