"""Asks people in a session for their password again, and for a code where they have a second factor: step-up."""

from datetime import UTC, datetime

from pydantic import SecretStr

from identity import logins, tenants, totp
from identity.authentication.queries import lock_subject, token_holder
from identity.authentication.schemas import PasswordAgain, StepUp, StepUpIn
from identity.authentication.session_tokens import (
    Authenticator,
    can_only_enrol,
    lock_open_session,
    session_and_subject,
    sign_token,
)
from identity.totp import SecondFactorRow
from shared import audit
from shared.access import authorization
from shared.api import Transactions
from shared.audit import Actor
from shared.errors import Forbidden, Unauthenticated


class SecondFactorRequired(Unauthenticated):
    """The password is right, and the person has a second factor."""

    code = "second_factor_required"


async def step_up(authenticator: Authenticator, transactions: Transactions, actor: Actor, body: StepUpIn) -> StepUp:
    """Step the actor's session up; returns a token that says so. Raises `Forbidden`, `TooManyRequests`, `Unauthenticated`."""
    session_id, subject_id = session_and_subject(actor.caller)
    await reauthenticate(authenticator, actor, body.password, body.code)
    async with transactions.begin() as session:
        person = await lock_subject(session, subject_id)
        row = await lock_open_session(session, session_id, person)
        now = datetime.now(UTC)
        row.stepped_up_at = row.last_seen_at = now
        audit.record(session, actor, "session.stepped_up", session_id)
        policy = await tenants.get_session_policy(session, row.tenant_id)
        enrolment_only = await can_only_enrol(session, person, row, policy)
        token, expires_at = sign_token(authenticator, token_holder(person), row, policy, enrolment_only=enrolment_only)
    return StepUp(token=token, expires_at=expires_at, stepped_up_until=now + authorization.STEP_UP_LIFE)


async def require_step_up(authenticator: Authenticator, actor: Actor, given: PasswordAgain) -> None:
    """Return if the actor's session is stepped up, or the password is given in place. Raises `Forbidden`, `TooManyRequests`."""
    if given.password is not None:
        await reauthenticate(authenticator, actor, given.password, given.code)
    elif not authorization.is_stepped_up(actor.caller, datetime.now(UTC)):
        raise authorization.step_up_required()


async def reauthenticate(authenticator: Authenticator, actor: Actor, password: SecretStr, code: str | None) -> None:
    """Check the password of the person in a session again, and the code where there is a second factor.

    Raises `Forbidden`, `TooManyRequests`.
    """
    session_id, subject_id = session_and_subject(actor.caller)
    attempt = authenticator.attempts.begin_reauthentication(session_id=session_id)
    async with authenticator.database.reading() as session:
        login = await logins.get_by_subject(session, subject_id)
    if not await authenticator.passwords.verify(login.password_hash, password):
        await _record_reauthentication(authenticator, actor, "reauthentication_failed")
        raise Forbidden("this is not your password", code="reauthentication_failed")
    attempt.succeeded()
    try:
        async with authenticator.database.transaction() as session:
            factor = await totp.lock_enrolled(session, subject_id)
            if factor is not None:
                use_code(authenticator, factor, code, datetime.now(UTC))
    except SecondFactorRequired as missing:
        raise Forbidden(missing.detail, code="step_up_code_required") from missing
    except Unauthenticated as wrong:
        await _record_reauthentication(authenticator, actor, wrong.problem_code)
        raise Forbidden(wrong.detail, code="reauthentication_failed") from wrong


def use_code(authenticator: Authenticator, factor: SecondFactorRow, code: str | None, now: datetime) -> None:
    """Use a code of a second factor, which is locked. Raises `SecondFactorRequired`, `Unauthenticated`, `TooManyRequests`."""
    if code is None:
        raise SecondFactorRequired("give a code of your second factor, too")
    attempt = authenticator.attempts.begin_code(subject_id=factor.subject_id)
    if not totp.use_code(factor, authenticator.encryptor, code, now):
        raise Unauthenticated("this code is wrong, or was used before", code="second_factor_wrong")
    attempt.succeeded()


async def _record_reauthentication(authenticator: Authenticator, actor: Actor, code: str) -> None:
    """Record a password or a code that was wrong in a session. It is committed although the answer is an error."""
    if authenticator.attempts.may_record(actor.id):
        async with authenticator.database.transaction() as session:
            audit.record(session, actor, "reauthentication.refused", actor.id, after={"code": code})
