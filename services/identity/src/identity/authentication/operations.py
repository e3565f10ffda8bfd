"""Logs people in and out, renews their sessions, accepts invitations and changes passwords.

A log-in reads, checks the password, then writes: no transaction waits for a password hash. A refresh token that is used twice was
stolen: its session ends.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from identity import logins, mail, revocations, rows, sessions, tenants, users
from identity.authentication import queries, rules
from identity.authentication.queries import PersonRow, lock_person, view_person
from identity.authentication.schemas import (
    AcceptedInvitation,
    InvitationIn,
    PasswordIn,
    RefreshIn,
    Session,
    SessionIn,
    StepUp,
    StepUpIn,
)
from identity.logins import Attempt, Attempts, LoginRow, Passwords
from identity.sessions import RefreshTokenRow, SessionRow
from identity.signing_keys import Signer
from identity.users import UserRow
from shared import audit
from shared.access import authorization, tokens
from shared.access.principals import Caller
from shared.api import Transactions
from shared.audit import Actor, Origin
from shared.errors import Forbidden, NotFound, Unauthenticated
from shared.events import identity as events
from shared.ids import new_id
from shared.messaging import outbox
from shared.postgres.database import Database

_WRITE_NOTHING = text("SELECT pg_current_xact_id()")
"""Makes the commit wait for the disk, as if something had been written."""


@dataclass(frozen=True, slots=True)
class Authenticator:
    """What authentication works with: where log-ins are stored, how passwords are checked, who signs, how long tokens live."""

    database: Database
    passwords: Passwords
    attempts: Attempts
    signer: Signer
    token_life: timedelta
    session_life: timedelta


async def log_in(authenticator: Authenticator, origin: Origin, body: SessionIn) -> Session:
    """A new session. Raises `Unauthenticated` (the same for every wrong value), `Forbidden` (tenant), `TooManyRequests`."""
    async with authenticator.database.reading() as session:
        tenant_id = await logins.get_tenant_id(session, body.tenant)
        login = await logins.get_by_email(session, body.tenant, body.email)
    # One budget, whether the account exists or not and however its tenant is named: the limit tells nothing of either.
    account = f"{tenant_id or rows.unique_key(body.tenant)}\n{rows.unique_key(body.email)}"
    attempt = authenticator.attempts.begin_log_in(account=account, address=origin.address)
    try:
        return await _log_in(authenticator, origin, body, login, attempt)
    except (Unauthenticated, Forbidden) as refusal:
        await _record_refusal(authenticator, origin, tenant_id, login, refusal.problem_code)
        raise


async def _log_in(
    authenticator: Authenticator, origin: Origin, body: SessionIn, login: LoginRow | None, attempt: Attempt
) -> Session:
    stored_hash = login.password_hash if login else None
    if not await authenticator.passwords.verify(stored_hash, body.password) or login is None or stored_hash is None:
        raise _wrong_password()
    attempt.succeeded()
    newer_hash = (
        await authenticator.passwords.hash(body.password)
        if authenticator.passwords.is_outdated(stored_hash, body.password)
        else None
    )
    async with authenticator.database.transaction() as session:
        person = await lock_person(session, login)
        current = await logins.get_by_subject(session, login.subject_id, lock=True)
        if person.status != "active" or current.password_hash != stored_hash:
            raise _wrong_password()
        current.password_hash = newer_hash or stored_hash
        rules.check_tenant_active(await queries.get_tenant_status(session, person.tenant_id))
        lifetimes = await tenants.get_session_lifetimes(session, person.tenant_id)
        now = datetime.now(UTC)
        row = SessionRow(
            session_id=new_id("ses"),
            tenant_id=person.tenant_id,
            subject_id=login.subject_id,
            created_at=now,
            expires_at=now + lifetimes.session_life(authenticator.session_life),
            ended_at=None,
            address=origin.address,
            user_agent=origin.user_agent,
            last_seen_at=now,
            stepped_up_at=None,
        )
        session.add(row)
        await session.flush()
        _record(session, origin, person, row, "password", "session.created")
        return await _issue_tokens(authenticator, session, person, row)


async def _record_refusal(
    authenticator: Authenticator, origin: Origin, tenant_id: str | None, login: LoginRow | None, code: str
) -> None:
    """Record a refused log-in. It is committed although the answer is an error.

    An unknown address counts for its tenant: all of them together are recorded as often as one account. An unknown tenant has no trail.
    """
    async with authenticator.database.transaction() as session:
        # The same steps for a known and an unknown address, so that the answer takes the same time.
        target = login.subject_id if login else tenant_id
        if target is not None and authenticator.attempts.may_record(target):
            audit.record_person(
                session,
                origin,
                tenant_id=tenant_id,
                # Nobody has shown who they are.
                actor=("unknown", "unknown", "password"),
                action="session.refused",
                target=target,
                after={"code": code},
            )
        else:
            await session.execute(_WRITE_NOTHING)


async def refresh(authenticator: Authenticator, origin: Origin, body: RefreshIn) -> Session:
    """The session's next token and refresh token. Raises `Unauthenticated`, and ends the session of a token that is used twice."""
    async with authenticator.database.transaction() as session:
        digest = logins.digest_token(body.refresh_token)
        subject_id = await queries.get_subject_of_token(session, digest)
        if subject_id is None:
            raise _refresh_refused()
        person = await lock_person(session, await logins.get_by_subject(session, subject_id))
        token = await session.get(RefreshTokenRow, digest, with_for_update=True)
        row = await session.get(SessionRow, token.session_id, with_for_update=True) if token else None
        if token is None or row is None:
            raise _refresh_refused()
        now = datetime.now(UTC)
        decision = rules.decide_refresh(
            used_at=token.used_at,
            ended_at=row.ended_at,
            expires_at=row.expires_at,
            now=now,
            active=person.status == "active",
        )
        if decision == "renew":
            rules.check_tenant_active(await queries.get_tenant_status(session, row.tenant_id))
            token.used_at = now
            row.last_seen_at = now
            return await _issue_tokens(authenticator, session, person, row)
        if decision == "end_session":
            row.ended_at = now
            _revoke_tokens(session, person, now)
            _record(session, origin, person, row, "refresh_token", "session.reuse_detected")
    # After the commit: the answer 401 must not roll back the end of the session.
    raise _refresh_refused()


async def log_out(session: AsyncSession, actor: Actor) -> None:
    """End the actor's session and revoke the person's tokens; the person's other sessions can get new tokens."""
    session_id, _ = _session_and_subject(actor.caller)
    await end_session(session, actor, session_id)


async def end_session(session: AsyncSession, actor: Actor, session_id: str) -> None:
    """End one of the actor's sessions and revoke the person's tokens. Repeating it changes nothing. Raises `NotFound`."""
    _, subject_id = _session_and_subject(actor.caller)
    person = await lock_person(session, await logins.get_by_subject(session, subject_id))
    row = await session.get(SessionRow, session_id, with_for_update=True)
    if row is None or row.subject_id != subject_id:
        raise NotFound("you have no session with this id", code="session_not_found")
    if row.ended_at is None:
        now = datetime.now(UTC)
        row.ended_at = now
        _revoke_tokens(session, person, now, actor)
        audit.record(session, actor, "session.revoked", session_id)


async def log_out_everywhere(session: AsyncSession, actor: Actor) -> None:
    """End all of the actor's sessions, in every service."""
    _, subject_id = _session_and_subject(actor.caller)
    person = await lock_person(session, await logins.get_by_subject(session, subject_id))
    now = datetime.now(UTC)
    await sessions.end_all(session, subject_id, now)
    _revoke_tokens(session, person, now, actor)
    audit.record(session, actor, "sessions.revoked", subject_id)


async def step_up(authenticator: Authenticator, transactions: Transactions, actor: Actor, body: StepUpIn) -> StepUp:
    """Step the actor's session up; returns a token that says so. Raises `Forbidden`, `TooManyRequests`, `Unauthenticated`."""
    session_id, subject_id = _session_and_subject(actor.caller)
    await reauthenticate(authenticator, actor, body.password)
    async with transactions.begin() as session:
        person = await lock_person(session, await logins.get_by_subject(session, subject_id))
        row = await _lock_open_session(session, session_id, person)
        now = datetime.now(UTC)
        row.stepped_up_at = row.last_seen_at = now
        audit.record(session, actor, "session.stepped_up", session_id)
        token, expires_at = await _sign_token(authenticator, session, person, row)
    return StepUp(token=token, expires_at=expires_at, stepped_up_until=now + authorization.STEP_UP_LIFE)


async def require_step_up(authenticator: Authenticator, actor: Actor, password: SecretStr | None = None) -> None:
    """Return if the actor's session is stepped up, or this is the actor's password. Raises `Forbidden`, `TooManyRequests`."""
    if password is not None:
        await reauthenticate(authenticator, actor, password)
    elif not authorization.is_stepped_up(actor.caller, datetime.now(UTC)):
        raise authorization.step_up_required()


async def change_password(
    authenticator: Authenticator, transactions: Transactions, actor: Actor, body: PasswordIn
) -> Session:
    """Set a new password, end the person's other sessions and issue a new token. Raises `Forbidden`, `TooManyRequests`."""
    session_id, subject_id = _session_and_subject(actor.caller)
    await reauthenticate(authenticator, actor, body.current_password)
    new_hash = await authenticator.passwords.hash(body.new_password)
    async with transactions.begin() as session:
        person = await lock_person(session, await logins.get_by_subject(session, subject_id))
        login = await logins.get_by_subject(session, subject_id, lock=True)
        login.password_hash = new_hash
        now = datetime.now(UTC)
        await sessions.end_all(session, subject_id, now, except_session_id=session_id)
        row = await _lock_open_session(session, session_id, person)
        await sessions.use_up_tokens(session, session_id, now)
        _revoke_tokens(session, person, now, actor)
        audit.record(session, actor, "password.changed", subject_id)
        changed = mail.PasswordChanged(changed_at=now, address=actor.origin.address)
        await mail.send(session, queries.recipient(person), changed)
        return await _issue_tokens(authenticator, session, person, row)


async def reauthenticate(authenticator: Authenticator, actor: Actor, password: SecretStr) -> None:
    """Check the password of the person in a session again. Raises `Forbidden`, `TooManyRequests`."""
    session_id, subject_id = _session_and_subject(actor.caller)
    attempt = authenticator.attempts.begin_reauthentication(session_id=session_id)
    async with authenticator.database.reading() as session:
        login = await logins.get_by_subject(session, subject_id)
    if not await authenticator.passwords.verify(login.password_hash, password):
        await _record_wrong_password(authenticator, actor)
        raise Forbidden("this is not your password", code="reauthentication_failed")
    attempt.succeeded()


async def _record_wrong_password(authenticator: Authenticator, actor: Actor) -> None:
    """Record a password that was wrong in a session. It is committed although the answer is an error."""
    if authenticator.attempts.may_record(actor.id):
        async with authenticator.database.transaction() as session:
            audit.record(session, actor, "reauthentication.refused", actor.id)


async def accept_invitation(authenticator: Authenticator, origin: Origin, body: InvitationIn) -> AcceptedInvitation:
    """Set the first password with an invitation, once. Raises `NotFound`, `TooManyRequests`."""
    attempt = authenticator.attempts.begin_invitation(address=origin.address)
    digest = logins.digest_token(body.token)
    async with authenticator.database.reading() as session:
        login = await logins.get_by_invitation(session, digest)
    if login is None:
        raise _no_invitation()
    attempt.succeeded()
    # Only for a known invitation, because a hash is expensive; and no transaction waits for it.
    password_hash = await authenticator.passwords.hash(body.password)
    async with authenticator.database.transaction() as session:
        person = await lock_person(session, login)
        login = await logins.get_by_invitation(session, digest, lock=True)
        now = datetime.now(UTC)
        if login is None or not rules.is_invitation_open(login.invitation_expires_at, now, person_status=person.status):
            raise _no_invitation()
        login.password_hash = password_hash
        login.invitation_digest = None
        login.invitation_expires_at = None
        if isinstance(person, UserRow):
            users.activate(session, person, now)
        principal = view_person(person)
        audit.record_person(
            session,
            origin,
            tenant_id=login.tenant_id,
            actor=(login.subject_id, principal.kind, "invitation"),
            action="invitation.accepted",
            target=login.subject_id,
        )
        return AcceptedInvitation(principal=principal)


async def _issue_tokens(
    authenticator: Authenticator, session: AsyncSession, person: PersonRow, row: SessionRow
) -> Session:
    """The next token and refresh token of a session whose person is locked."""
    refresh_token, digest = logins.new_token("wbr")
    session.add(RefreshTokenRow(digest=digest, session_id=row.session_id, used_at=None))
    signed, expires_at = await _sign_token(authenticator, session, person, row)
    return Session(
        id=row.session_id,
        token=signed,
        expires_at=expires_at,
        refresh_token=refresh_token,
        refresh_expires_at=row.expires_at,
        principal=view_person(person),
        livemode=person.livemode,
    )


async def _sign_token(
    authenticator: Authenticator, session: AsyncSession, person: PersonRow, row: SessionRow
) -> tuple[str, datetime]:
    """A token of a session whose person is locked, and when it expires."""
    issued_at = sessions.token_issued_at(datetime.now(UTC), person.sessions_valid_from)
    lifetimes = await tenants.get_session_lifetimes(session, row.tenant_id)
    expires_at = min(issued_at + lifetimes.token_life(authenticator.token_life), row.expires_at)
    claims = tokens.Claims(
        row.subject_id,
        row.tenant_id,
        row.session_id,
        issued_at,
        expires_at,
        person.livemode,
        stepped_up_at=row.stepped_up_at,
    )
    return authenticator.signer.sign(claims), expires_at


async def _lock_open_session(session: AsyncSession, session_id: str, person: PersonRow) -> SessionRow:
    """The row of a session that has not ended, locked. Raises `Unauthenticated`."""
    row = await session.get(SessionRow, session_id, with_for_update=True)
    if row is None or row.ended_at is not None or person.status != "active":
        raise Unauthenticated("this session has ended", code="session_revoked")
    return row


def _revoke_tokens(session: AsyncSession, person: PersonRow, now: datetime, actor: Actor | None = None) -> None:
    """Refuse, in every service, every token that this (locked) person was issued up to now; an actor gets a receipt.

    The version stays: the instant only grows, so the event needs no order.
    """
    person.sessions_valid_from = sessions.next_valid_from(now, person.sessions_valid_from)
    subject_id = person.user_id if isinstance(person, UserRow) else person.merchant_id
    state = events.SubjectSessions(subject_id=subject_id, sessions_valid_from=person.sessions_valid_from)
    revoked = events.SessionRevoked(
        tenant_id=person.tenant_id,
        subject=subject_id,
        sequence=person.version,
        revocation_id=revocations.id_for(
            session, actor, events.SessionRevoked, state, subject=subject_id, tenant_id=person.tenant_id
        )
        if actor
        else None,
        data=state,
    )
    outbox.publish(session, revoked)


def _record(session: AsyncSession, origin: Origin, person: PersonRow, row: SessionRow, via: str, action: str) -> None:
    actor = (row.subject_id, view_person(person).kind, via)
    audit.record_person(session, origin, tenant_id=row.tenant_id, actor=actor, action=action, target=row.session_id)


def _session_and_subject(caller: Caller) -> tuple[str, str]:
    # Routes that only sessions can call have a caller with both.
    assert caller.session_id is not None
    assert caller.subject_id is not None
    return caller.session_id, caller.subject_id


def _wrong_password() -> Unauthenticated:
    return Unauthenticated("wrong tenant, e-mail address or password", code="credentials_wrong")


def _refresh_refused() -> Unauthenticated:
    return Unauthenticated("this refresh token is not valid: log in again", code="refresh_token_wrong")


def _no_invitation() -> NotFound:
    return NotFound("this invitation is unknown, used, or has expired", code="invitation_not_found")
