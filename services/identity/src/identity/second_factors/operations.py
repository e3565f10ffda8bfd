"""Enrols second factors, renews recovery codes, and removes them."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from identity import authentication, mail, merchants, tenants, totp, users
from identity.authentication import Authenticator
from identity.second_factors.schemas import Enrolment, RecoveryCodes
from identity.totp import SecondFactorRow
from shared import audit
from shared.api import Transactions
from shared.audit import Actor
from shared.errors import Conflict, Forbidden


class SecondFactorEnrolled(Conflict):
    """The person has a second factor already."""

    code = "second_factor_enrolled"


class SecondFactorMissing(Conflict):
    """The person has no second factor, or has not begun to enrol one."""

    code = "second_factor_missing"


async def enrol(session: AsyncSession, authenticator: Authenticator, actor: Actor) -> Enrolment:
    """A new secret for the actor's authenticator app; a code has to confirm it. Raises `SecondFactorEnrolled`."""
    person = await authentication.lock_subject(session, actor.id)
    row = await totp.lock(session, actor.id)
    if row is not None and row.confirmed_at is not None:
        raise SecondFactorEnrolled("you have a second factor: remove it first")
    secret = totp.new_secret()
    sealed = authenticator.encryptor.encrypt(secret.encode(), associated_data=actor.id)
    if row is None:
        row = SecondFactorRow(
            subject_id=actor.id,
            tenant_id=actor.tenant_id,
            sealed_secret=sealed,
            confirmed_at=None,
            last_step=None,
            recovery_digests=[],
        )
        session.add(row)
    row.sealed_secret = sealed
    tenant = await tenants.get_own(session, actor)
    email = authentication.view_person(person).email
    return Enrolment(secret=secret, uri=totp.app_address(secret, email=email, tenant_name=tenant.name))


async def confirm(authenticator: Authenticator, transactions: Transactions, actor: Actor, code: str) -> RecoveryCodes:
    """Let the actor's second factor count from now on; returns the recovery codes.

    Raises `SecondFactorMissing` before `enrol`, `SecondFactorEnrolled`, `Forbidden` for a wrong code, `TooManyRequests`.
    """
    attempt = authenticator.attempts.begin_code(subject_id=actor.id)
    async with transactions.begin() as session:
        await authentication.lock_subject(session, actor.id)
        row = await totp.lock(session, actor.id)
        if row is None:
            raise SecondFactorMissing("begin to enrol a second factor first")
        if row.confirmed_at is not None:
            raise SecondFactorEnrolled("you have a second factor already")
        now = datetime.now(UTC)
        if not totp.use_app_code(row, authenticator.encryptor, code, now):
            raise Forbidden("this is not the code of the authenticator app", code="reauthentication_failed")
        row.confirmed_at = now
        audit.record(session, actor, "second_factor.enrolled", actor.id)
        codes = _renew_recovery_codes(row)
    attempt.succeeded()
    return codes


async def new_recovery_codes(session: AsyncSession, actor: Actor) -> RecoveryCodes:
    """New recovery codes in place of all others. Raises `SecondFactorMissing`."""
    row = await totp.lock_enrolled(session, actor.id)
    if row is None:
        raise SecondFactorMissing("you have no second factor")
    audit.record(session, actor, "second_factor.recovery_codes_renewed", actor.id)
    return _renew_recovery_codes(row)


async def remove(session: AsyncSession, actor: Actor) -> None:
    """Remove the actor's own second factor. Repeating it changes nothing."""
    if await _remove(session, actor.id):
        audit.record(session, actor, "second_factor.removed", actor.id)


async def reset_staff(session: AsyncSession, actor: Actor, user_id: str) -> None:
    """Remove the second factor of somebody who has lost it, and end the sessions of that person; the owner's only as the platform.

    Raises `NotFound`, `OwnerProtected`, and `Forbidden` (oneself, or somebody with more permissions than the actor holds).
    """
    await users.lock_for_reset(session, actor, user_id)
    await _reset(session, actor, user_id)


async def reset_merchant(session: AsyncSession, actor: Actor, merchant_id: str) -> None:
    """Remove the second factor of a merchant that has lost it, and end its sessions. Raises `NotFound`, `Forbidden`."""
    await merchants.lock_for_reset(session, actor, merchant_id)
    await _reset(session, actor, merchant_id)


async def _reset(session: AsyncSession, actor: Actor, subject_id: str) -> None:
    person = await authentication.lock_subject(session, subject_id)
    if await _remove(session, subject_id):
        now = datetime.now(UTC)
        await authentication.end_sessions(session, person, now, actor)
        audit.record(session, actor, "second_factor.reset", subject_id)
        await mail.send(session, authentication.recipient(person), mail.SecondFactorReset(reset_at=now))


async def _remove(session: AsyncSession, subject_id: str) -> bool:
    """Remove a second factor; returns whether it was enrolled."""
    row = await totp.lock(session, subject_id)
    if row is None:
        return False
    await session.delete(row)
    return row.confirmed_at is not None


def _renew_recovery_codes(row: SecondFactorRow) -> RecoveryCodes:
    codes = totp.new_recovery_codes()
    row.recovery_digests = [totp.digest_recovery_code(code) for code in codes]
    return RecoveryCodes(recovery_codes=codes)
