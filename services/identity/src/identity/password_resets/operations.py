"""Asks for password resets, mails their tokens, and sets new passwords with them."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from identity import authentication, logins, mail, rows, tenants
from identity.authentication import Authenticator
from identity.logins import RESET_LIFE
from identity.password_resets.schemas import (
    PasswordReset,
    PasswordResetConfirmation,
    PasswordResetIn,
    PasswordResetRequest,
)
from shared import audit, tasks
from shared.audit import Origin
from shared.crypto.encryptor import Encryptor
from shared.errors import NotFound
from shared.postgres.driver_connection import driver_of
from shared.tasks import NewTask, Task

RESET_REQUEST = "password_reset_request"


async def request(authenticator: Authenticator, origin: Origin, body: PasswordResetIn) -> PasswordResetRequest:
    """Have a reset mailed to an account, if there is one. Raises `TooManyRequests`, by the address of the request alone."""
    authenticator.attempts.begin_reset(address=origin.address)
    account = [rows.unique_key(body.tenant), rows.unique_key(body.email)]
    # Whoever asks twice has one task: the mail tells of the second.
    key = hashlib.sha256(json.dumps(account).encode()).hexdigest()
    asked = {"tenant": body.tenant, "email": body.email, "address": origin.address, "request_id": origin.request_id}
    sealed = authenticator.encryptor.encrypt(json.dumps(asked).encode(), associated_data=key)
    async with authenticator.database.transaction() as session:
        payload = {"sealed": base64.b64encode(sealed).decode()}
        await tasks.schedule(session, [NewTask(RESET_REQUEST, key, payload=payload)])
    return PasswordResetRequest(valid_seconds=int(RESET_LIFE.total_seconds()))


async def mail_reset(session: AsyncSession, encryptor: Encryptor, task: Task) -> None:
    """Mail a token to the account of a request; to none that does not exist, is not active, or has no password yet.

    Nor to one that was mailed a token just now: that one stays valid, so that no stranger's requests take it away.
    """
    asked: dict[str, Any] = json.loads(
        encryptor.decrypt(base64.b64decode(task.payload["sealed"]), associated_data=task.key)
    )
    _, found = await logins.find(await driver_of(session), asked["tenant"], asked["email"])
    if found is None or found.password_hash is None:
        return
    person = await authentication.lock_person(session, found)
    login = await logins.get_by_subject(session, found.subject_id, lock=True)
    policy = await tenants.get_session_policy(session, login.tenant_id)
    if person.status != "active" or policy.status != "active" or login.email_key != found.email_key:
        return
    begun = logins.begin_reset(login, datetime.now(UTC))
    if begun is None:
        return
    token, expires_at = begun
    mailed = mail.PasswordReset(token=token, expires_at=expires_at)
    if not await mail.send(session, authentication.recipient(person), mailed):
        await logins.end_reset(session, login)
        return
    audit.record_person(
        session,
        Origin(asked["address"], asked["request_id"]),
        tenant_id=login.tenant_id,
        # Nobody has shown who they are.
        actor=("unknown", "unknown", "unknown"),
        action="password_reset.requested",
        target=login.subject_id,
    )


async def confirm(authenticator: Authenticator, origin: Origin, body: PasswordResetConfirmation) -> PasswordReset:
    """Set a new password with the token of a reset, once. All sessions of the person end; API keys stay.

    Raises `NotFound` (for every token that is not valid), `Forbidden` (tenant), `TooManyRequests`.
    """
    attempt = authenticator.attempts.begin_token(address=origin.address)
    digest = logins.digest_token(body.token)
    async with authenticator.database.reading() as session:
        found = await logins.get_by_reset(session, digest)
    if found is None:
        raise _no_reset()
    attempt.succeeded()
    # Only for a known token, because a hash is expensive; and no transaction waits for it.
    password_hash = await authenticator.passwords.hash(body.password)
    async with authenticator.database.transaction() as session:
        person = await authentication.lock_person(session, found)
        login = await logins.get_by_reset(session, digest, lock=True)
        now = datetime.now(UTC)
        if login is None or person.status != "active" or not logins.is_token_open(login.reset_expires_at, now):
            raise _no_reset()
        authentication.check_tenant_active((await tenants.get_session_policy(session, login.tenant_id)).status)
        login.password_hash = password_hash
        await logins.end_reset(session, login)
        await authentication.end_sessions(session, person, now)
        principal = authentication.view_person(person)
        audit.record_person(
            session,
            origin,
            tenant_id=login.tenant_id,
            actor=(login.subject_id, principal.kind, "password_reset"),
            action="password.reset",
            target=login.subject_id,
        )
        changed = mail.PasswordChanged(changed_at=now, address=origin.address)
        await mail.send(session, authentication.recipient(person), changed)
        return PasswordReset(principal=principal)


def _no_reset() -> NotFound:
    return NotFound("this token is unknown, used, or has expired", code="password_reset_not_found")
