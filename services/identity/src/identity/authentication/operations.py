"""Logs people in and out, renews their sessions, and changes passwords.

A log-in reads, checks the password, then writes: no transaction waits for a password hash. A refresh token that is used twice was
stolen: its session ends.
"""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from identity import logins, mail, rows, sessions, tenants, totp
from identity.authentication import queries, rules
from identity.authentication.queries import LockedLogin, lock_login, lock_subject, view_person
from identity.authentication.reauthentication import SecondFactorRequired, reauthenticate, use_code
from identity.authentication.schemas import (
    PasswordIn,
    Person,
    RefreshIn,
    Session,
    SessionIn,
)
from identity.authentication.session_tokens import (
    Authenticator,
    can_only_enrol,
    end_sessions,
    issue_tokens,
    lock_open_session,
    new_tokens,
    revoke_tokens,
    session_and_subject,
)
from identity.logins import Attempt, FoundLogin
from identity.sessions import NewSession, RefreshTokenRow, SessionRow
from shared import audit
from shared.api import Transactions
from shared.audit import Actor, Origin
from shared.errors import Forbidden, NotFound, Unauthenticated
from shared.ids import new_id
from shared.postgres.driver_connection import driver_of, driver_reading, driver_transaction

_WRITE_NOTHING = "SELECT pg_current_xact_id()"
"""Makes the commit wait for the disk, as if something had been written."""


async def log_in(authenticator: Authenticator, origin: Origin, body: SessionIn) -> Session:
    """A new session. Raises `Unauthenticated` (the same for every wrong value), `Forbidden` (tenant), `TooManyRequests`."""
    async with driver_reading(authenticator.database) as driver:
        tenant_id, found = await logins.find(driver, body.tenant, body.email)
    # One budget, whether the account exists or not and however its tenant is named: the limit tells nothing of either.
    account = f"{tenant_id or rows.unique_key(body.tenant)}\n{rows.unique_key(body.email)}"
    attempt = authenticator.attempts.begin_log_in(account=account, address=origin.address)
    try:
        return await _log_in(authenticator, origin, body, found, attempt)
    except SecondFactorRequired:
        # Nothing was wrong: the same person asks again, with a code.
        raise
    except (Unauthenticated, Forbidden) as refusal:
        await _record_refusal(authenticator, origin, tenant_id, found, refusal.problem_code)
        raise


async def _log_in(
    authenticator: Authenticator, origin: Origin, body: SessionIn, found: FoundLogin | None, attempt: Attempt
) -> Session:
    stored_hash = found.password_hash if found else None
    if not await authenticator.passwords.verify(stored_hash, body.password) or found is None or stored_hash is None:
        raise _wrong_password()
    attempt.succeeded()
    newer_hash = (
        await authenticator.passwords.hash(body.password)
        if authenticator.passwords.is_outdated(stored_hash, body.password)
        else None
    )
    if newer_hash is None:
        async with driver_transaction(authenticator.database) as session:
            login = await _lock_if_right(session, found, stored_hash)
            if not login.has_second_factor and _new_places(origin, login) is None:
                # As nearly always: there is nothing to change of the person.
                return await _open_session(authenticator, session, origin, login, has_factor=False)
    async with authenticator.database.transaction() as session:
        login = await _lock_if_right(session, found, stored_hash)
        person, now = login.holder.person, datetime.now(UTC)
        factor = await totp.lock_enrolled(session, person.id) if login.has_second_factor else None
        if factor is not None:
            use_code(authenticator, factor, body.code, now)
        places = _new_places(origin, login)
        if places is not None:
            await _tell_of_place(session, origin, login, now)
        if newer_hash is not None or places is not None:
            await logins.update(session, person.id, password_hash=newer_hash, places=places)
        return await _open_session(authenticator, session, origin, login, has_factor=factor is not None)


async def _lock_if_right(session: AsyncSession, found: FoundLogin, stored_hash: str) -> LockedLogin:
    """The log-in, locked. Raises `Unauthenticated` when its password, which was right, is right no more, `Forbidden` (tenant)."""
    login = await lock_login(session, found)
    if login.status != "active" or login.password_hash != stored_hash:
        raise _wrong_password()
    rules.check_tenant_active(login.policy.status)
    return login


def _new_places(origin: Origin, login: LockedLogin) -> list[bytes] | None:
    """The places of a person with that of this log-in; None if it is known."""
    place = sessions.place_of(login.holder.person.id, origin.address, origin.user_agent)
    return logins.add_place(login.places, place)


async def _tell_of_place(session: AsyncSession, origin: Origin, login: LockedLogin, now: datetime) -> None:
    """Tell the person by mail of a place that is new, and not the first, where the tenant wants that."""
    if login.places and "new_sign_in" not in login.policy.notices_off:
        device = sessions.device_of(origin.user_agent)
        seen = mail.NewSignIn(signed_in_at=now, address=origin.address, device=device)
        await mail.send(session, login.recipient, seen)


async def _open_session(
    authenticator: Authenticator, session: AsyncSession, origin: Origin, login: LockedLogin, *, has_factor: bool
) -> Session:
    person, policy, now = login.holder.person, login.policy, datetime.now(UTC)
    new = NewSession(
        session_id=new_id("ses"),
        tenant_id=person.tenant_id,
        subject_id=person.id,
        created_at=now,
        expires_at=now + policy.session_life(authenticator.session_life),
        address=origin.address,
        user_agent=origin.user_agent,
    )
    enrolment_only = not has_factor and policy.asks_for_second_factor(administrator=person.kind != "merchant")
    issued, digest = new_tokens(authenticator, login.holder, new, policy, enrolment_only=enrolment_only)
    await sessions.create(session, new, digest)
    _record(session, origin, person, new, "password", "session.created")
    return issued


async def _record_refusal(
    authenticator: Authenticator, origin: Origin, tenant_id: str | None, found: FoundLogin | None, code: str
) -> None:
    """Record a refused log-in. It is committed although the answer is an error.

    An unknown address counts for its tenant: all of them together are recorded as often as one account. An unknown tenant has no trail.
    """
    async with driver_transaction(authenticator.database) as session:
        # The same steps for a known and an unknown address, so that the answer takes the same time.
        target = found.subject_id if found else tenant_id
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
            await (await driver_of(session)).execute(_WRITE_NOTHING)


async def refresh(authenticator: Authenticator, origin: Origin, body: RefreshIn) -> Session:
    """The session's next token and refresh token. Raises `Unauthenticated`, and ends the session of a token that is used twice."""
    async with authenticator.database.transaction() as session:
        digest = logins.digest_token(body.refresh_token)
        subject_id = await queries.get_subject_of_token(session, digest)
        if subject_id is None:
            raise _refresh_refused()
        person = await lock_subject(session, subject_id)
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
            policy = await tenants.get_session_policy(session, row.tenant_id)
            rules.check_tenant_active(policy.status)
            token.used_at = row.last_seen_at = now
            enrolment_only = await can_only_enrol(session, person, row, policy)
            return issue_tokens(authenticator, session, person, row, policy, enrolment_only=enrolment_only)
        if decision == "end_session":
            row.ended_at = now
            revoke_tokens(session, person, now)
            _record(session, origin, view_person(person), row, "refresh_token", "session.reuse_detected")
    # After the commit: the answer 401 must not roll back the end of the session.
    raise _refresh_refused()


async def log_out(session: AsyncSession, actor: Actor) -> None:
    """End the actor's session and revoke the person's tokens; the person's other sessions can get new tokens."""
    session_id, _ = session_and_subject(actor.caller)
    await end_session(session, actor, session_id)


async def end_session(session: AsyncSession, actor: Actor, session_id: str) -> None:
    """End one of the actor's sessions and revoke the person's tokens. Repeating it changes nothing. Raises `NotFound`."""
    _, subject_id = session_and_subject(actor.caller)
    person = await lock_subject(session, subject_id)
    row = await session.get(SessionRow, session_id, with_for_update=True)
    if row is None or row.subject_id != subject_id:
        raise NotFound("you have no session with this id", code="session_not_found")
    if row.ended_at is None:
        now = datetime.now(UTC)
        row.ended_at = now
        revoke_tokens(session, person, now, actor)
        audit.record(session, actor, "session.revoked", session_id)


async def log_out_everywhere(session: AsyncSession, actor: Actor) -> None:
    """End all of the actor's sessions, in every service."""
    _, subject_id = session_and_subject(actor.caller)
    await end_sessions(session, await lock_subject(session, subject_id), datetime.now(UTC), actor)
    audit.record(session, actor, "sessions.revoked", subject_id)


async def change_password(
    authenticator: Authenticator, transactions: Transactions, actor: Actor, body: PasswordIn
) -> Session:
    """Set a new password, end the person's other sessions and issue a new token. Raises `Forbidden`, `TooManyRequests`."""
    session_id, subject_id = session_and_subject(actor.caller)
    await reauthenticate(authenticator, actor, body.current_password, body.code)
    new_hash = await authenticator.passwords.hash(body.new_password)
    async with transactions.begin() as session:
        person = await lock_subject(session, subject_id)
        login = await logins.get_by_subject(session, subject_id, lock=True)
        login.password_hash = new_hash
        await logins.end_reset(session, login)
        now = datetime.now(UTC)
        await sessions.end_all(session, subject_id, now, except_session_id=session_id)
        row = await lock_open_session(session, session_id, person)
        await sessions.use_up_tokens(session, session_id, now)
        revoke_tokens(session, person, now, actor)
        audit.record(session, actor, "password.changed", subject_id)
        changed = mail.PasswordChanged(changed_at=now, address=actor.origin.address)
        await mail.send(session, queries.recipient(person), changed)
        policy = await tenants.get_session_policy(session, row.tenant_id)
        enrolment_only = await can_only_enrol(session, person, row, policy)
        return issue_tokens(authenticator, session, person, row, policy, enrolment_only=enrolment_only)


def _record(
    session: AsyncSession, origin: Origin, person: Person, row: SessionRow | NewSession, via: str, action: str
) -> None:
    actor = (person.id, person.kind, via)
    audit.record_person(session, origin, tenant_id=row.tenant_id, actor=actor, action=action, target=row.session_id)


def _wrong_password() -> Unauthenticated:
    return Unauthenticated("wrong tenant, e-mail address or password", code="credentials_wrong")


def _refresh_refused() -> Unauthenticated:
    return Unauthenticated("this refresh token is not valid: log in again", code="refresh_token_wrong")
