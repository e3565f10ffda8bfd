"""Asks for changes of e-mail addresses, and lets them take place."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from identity import authentication, changes, logins, merchants, users
from identity.authentication import Authenticator, PersonRow
from identity.email_changes.schemas import (
    ConfirmedEmailChange,
    EmailChange,
    EmailChangeConfirmation,
    EmailChangeIn,
)
from identity.users import UserRow
from shared import audit
from shared.api import Transactions
from shared.audit import Actor, Origin
from shared.errors import NotFound
from shared.events import identity as events


async def request(
    authenticator: Authenticator, transactions: Transactions, actor: Actor, body: EmailChangeIn
) -> EmailChange:
    """Ask for another address of one's own account. Raises `Forbidden` (no step-up), `AlreadyExists`, `TooManyRequests`."""
    await authentication.require_step_up(authenticator, actor, body)
    async with transactions.begin() as session:
        person = await authentication.lock_subject(session, actor.id)
        now = datetime.now(UTC)
        to = authentication.recipient(person)
        change = await logins.update_email(session, to, body.email, authentication.view_person(person).kind, now)
        if change.email != to.email:
            _set_email(session, person, change.email, now)
        action = "email_change.requested" if change.pending else "email.changed"
        audit.record(session, actor, action, actor.id, after={"email": body.email})
    return EmailChange(email=change.email, pending_email=change.pending, pending_email_expires_at=change.pending_until)


async def confirm(authenticator: Authenticator, origin: Origin, body: EmailChangeConfirmation) -> ConfirmedEmailChange:
    """Let a change take place, once. All sessions of the person end, and both addresses are told; API keys stay.

    Raises `NotFound` (for every token that is not valid), `AlreadyExists` (the address was taken meanwhile), `TooManyRequests`.
    """
    attempt = authenticator.attempts.begin_token(address=origin.address)
    digest = logins.digest_token(body.token)
    async with authenticator.database.transaction() as session:
        found = await logins.get_by_new_email(session, digest)
        if found is None:
            raise _no_change()
        person = await authentication.lock_person(session, found)
        login = await logins.get_by_new_email(session, digest, lock=True)
        now = datetime.now(UTC)
        if login is None or person.status != "active" or not logins.is_token_open(login.new_email_expires_at, now):
            raise _no_change()
        email, to = login.new_email or "", authentication.recipient(person)
        await logins.require_free_email(session, login, email)
        role = authentication.view_person(person).kind
        await logins.move_email(session, login, to, email, role, now)
        _set_email(session, person, email, now)
        await authentication.end_sessions(session, person, now)
        audit.record_person(
            session,
            origin,
            tenant_id=login.tenant_id,
            actor=(login.subject_id, role, "email_change"),
            action="email.changed",
            target=login.subject_id,
            after={"email": email},
        )
        principal = authentication.view_person(person)
    attempt.succeeded()
    return ConfirmedEmailChange(principal=principal)


def _set_email(session: AsyncSession, person: PersonRow, email: str, now: datetime) -> None:
    """Show another address of a person, who is locked, and publish that."""
    person.version += 1
    person.updated_at = now
    person.email_refused_at = person.email_refusal = None
    if isinstance(person, UserRow):
        person.email = email
        users.publish(session, events.UserUpdated, person)
        return
    person.login_email = email
    merchants.index(person)
    changes.publish(session, events.MerchantUpdated, person, subject=person.merchant_id, state=merchants.state(person))


def _no_change() -> NotFound:
    return NotFound("this token is unknown, used, or has expired", code="email_change_not_found")
