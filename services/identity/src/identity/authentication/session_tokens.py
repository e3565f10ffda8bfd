"""Issues the tokens of sessions, and revokes them in every service."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from identity import logins, revocations, sessions, tenants, totp
from identity.authentication.queries import PersonRow, TokenHolder, token_holder, view_person
from identity.authentication.schemas import Session
from identity.logins import Attempts, Passwords
from identity.sessions import NewSession, RefreshTokenRow, SessionRow
from identity.signing_keys import Signer
from identity.users import UserRow
from shared.access import tokens
from shared.access.principals import Caller
from shared.audit import Actor
from shared.crypto.encryptor import Encryptor
from shared.errors import Unauthenticated
from shared.events import identity as events
from shared.messaging import outbox
from shared.postgres.database import Database


@dataclass(frozen=True, slots=True)
class Authenticator:
    """What authentication works with: where log-ins are stored, how passwords and codes are checked, who signs, how long tokens live."""

    database: Database
    passwords: Passwords
    attempts: Attempts
    signer: Signer
    encryptor: Encryptor
    token_life: timedelta
    session_life: timedelta


def issue_tokens(
    authenticator: Authenticator,
    session: AsyncSession,
    person: PersonRow,
    row: SessionRow,
    policy: tenants.SessionPolicy,
    *,
    enrolment_only: bool,
) -> Session:
    """The next token and refresh token of a session whose person is locked."""
    issued, digest = new_tokens(authenticator, token_holder(person), row, policy, enrolment_only=enrolment_only)
    session.add(RefreshTokenRow(digest=digest, session_id=row.session_id, used_at=None))
    return issued


def new_tokens(
    authenticator: Authenticator,
    holder: TokenHolder,
    row: SessionRow | NewSession,
    policy: tenants.SessionPolicy,
    *,
    enrolment_only: bool,
) -> tuple[Session, bytes]:
    """A token and a refresh token of a session whose person is locked, and the digest to store of the latter."""
    refresh_token, digest = logins.new_token("wbr")
    signed, expires_at = sign_token(authenticator, holder, row, policy, enrolment_only=enrolment_only)
    issued = Session(
        id=row.session_id,
        token=signed,
        expires_at=expires_at,
        refresh_token=refresh_token,
        refresh_expires_at=row.expires_at,
        principal=holder.person,
        livemode=holder.livemode,
    )
    return issued, digest


def sign_token(
    authenticator: Authenticator,
    holder: TokenHolder,
    row: SessionRow | NewSession,
    policy: tenants.SessionPolicy,
    *,
    enrolment_only: bool,
) -> tuple[str, datetime]:
    """A token of a session whose person is locked, and when it expires."""
    issued_at = sessions.token_issued_at(datetime.now(UTC), holder.sessions_valid_from)
    expires_at = min(issued_at + policy.token_life(authenticator.token_life), row.expires_at)
    claims = tokens.Claims(
        row.subject_id,
        row.tenant_id,
        row.session_id,
        issued_at,
        expires_at,
        holder.livemode,
        stepped_up_at=row.stepped_up_at,
        enrolment_only=enrolment_only,
    )
    return authenticator.signer.sign(claims), expires_at


async def can_only_enrol(
    session: AsyncSession, person: PersonRow, row: SessionRow, policy: tenants.SessionPolicy
) -> bool:
    """Whether the tenant asks this person for a second factor, and there is none."""
    asked = policy.asks_for_second_factor(administrator=isinstance(person, UserRow))
    return asked and not await totp.is_enrolled(session, row.subject_id)


async def lock_open_session(session: AsyncSession, session_id: str, person: PersonRow) -> SessionRow:
    """The row of a session that has not ended, locked. Raises `Unauthenticated`."""
    row = await session.get(SessionRow, session_id, with_for_update=True)
    if row is None or row.ended_at is not None or person.status != "active":
        raise Unauthenticated("this session has ended", code="session_revoked")
    return row


async def end_sessions(session: AsyncSession, person: PersonRow, now: datetime, actor: Actor | None = None) -> None:
    """End the sessions of a person, who is locked, and refuse their tokens in every service; an actor gets a receipt."""
    await sessions.end_all(session, view_person(person).id, now)
    revoke_tokens(session, person, now, actor)


def revoke_tokens(session: AsyncSession, person: PersonRow, now: datetime, actor: Actor | None = None) -> None:
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


def session_and_subject(caller: Caller) -> tuple[str, str]:
    # Routes that only sessions can call have a caller with both.
    assert caller.session_id is not None
    assert caller.subject_id is not None
    return caller.session_id, caller.subject_id
