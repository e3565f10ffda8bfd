"""Logins: which person an e-mail address is in a tenant, their password, and the invitation with which they first set it.

One e-mail address is one person in a tenant, be it an administrator or a merchant. No secret is kept, only hashes and digests.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import SecretStr
from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import audit, domain, users
from identity.models.merchants import MerchantRow
from identity.models.sessions import AcceptedInvitation, InvitationIn, LoginRow, Principal, SessionRow
from identity.models.tenants import TenantRow
from identity.models.users import UserRow
from identity.passwords import Attempts, Passwords
from shared.errors import NotFound
from shared.events import identity as facts
from shared.ids import from_uuid, to_uuid
from shared.postgres.database import Database

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a new person needs to set a password; `token` is None when one was given at once."""

    token: str | None
    expires_at: datetime | None


def new_token(prefix: str) -> tuple[str, bytes]:
    """An opaque token of 256 random bits, and the digest to keep of it."""
    token = f"{prefix}_{secrets.token_urlsafe(_TOKEN_BYTES)}"
    return token, digest_of(token)


def digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def create(
    session: AsyncSession,
    *,
    tenant_id: str,
    email: str,
    subject_id: str,
    kind: str,
    password_hash: str | None,
    now: datetime,
) -> Invitation:
    """A login for a new person. Raises `NameTaken` with the id of whoever has that e-mail address."""
    await _require_free(session, tenant_id, email, subject_id)
    token, digest = new_token("wbi")
    invited = password_hash is None
    expires_at = now + domain.INVITATION_LIFE if invited else None
    session.add(
        LoginRow(
            tenant_id=tenant_id,
            email_key=domain.unique_key(email),
            subject_id=subject_id,
            kind=kind,
            password_hash=password_hash,
            invitation_digest=digest if invited else None,
            invitation_expires_at=expires_at,
        )
    )
    return Invitation(token if invited else None, expires_at)


async def rename(session: AsyncSession, *, tenant_id: str, email: str, subject_id: str) -> None:
    """Give a person another e-mail address. Raises `NameTaken`."""
    await _require_free(session, tenant_id, email, subject_id)
    login = await of_subject(session, subject_id)
    login.email_key = domain.unique_key(email)


async def accept_invitation(
    database: Database, passwords: Passwords, attempts: Attempts, origin: audit.Origin, body: InvitationIn
) -> AcceptedInvitation:
    """Set the first password with an invitation, once. Raises `NotFound`, `TooManyRequests`."""
    attempt = attempts.begin(account=None, address=origin.address)
    invited = select(LoginRow).where(col(LoginRow.invitation_digest) == digest_of(body.token))
    async with database.reading() as session:
        login = (await session.execute(invited)).scalar_one_or_none()
    if login is None:
        raise _no_invitation()
    attempt.succeeded()
    # Only for somebody who has an invitation: a hash is dear, and no transaction waits for one.
    password_hash = await passwords.hash(body.password)
    async with database.transaction() as session:
        person = await locked_person(session, login)
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


async def find(session: AsyncSession, tenant: str, email: str) -> LoginRow | None:
    """The login of an e-mail address in a tenant, which is given by id or by name; None when either is unknown."""
    same_tenant = (
        col(TenantRow.tenant_id) == tenant
        if _is_tenant_id(tenant)
        else col(TenantRow.name_key) == domain.unique_key(tenant)
    )
    statement = (
        select(LoginRow)
        .join(TenantRow, col(TenantRow.tenant_id) == col(LoginRow.tenant_id))
        .where(same_tenant, col(LoginRow.email_key) == domain.unique_key(email))
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def of_subject(session: AsyncSession, subject_id: str, *, lock: bool = False) -> LoginRow:
    """A known person's login."""
    statement = select(LoginRow).where(col(LoginRow.subject_id) == subject_id)
    return (await session.execute(_again(statement) if lock else statement)).scalar_one()


async def locked_person(session: AsyncSession, login: LoginRow) -> UserRow | MerchantRow:
    """Whose login it is, locked: a token is made and a person is cut off one after the other, never at once."""
    if login.kind == "user":
        user = select(UserRow).where(col(UserRow.user_id) == login.subject_id)
        return (await session.execute(user.with_for_update(key_share=True))).scalar_one()
    merchant = select(MerchantRow).where(col(MerchantRow.merchant_id) == login.subject_id)
    return (await session.execute(merchant.with_for_update(key_share=True))).scalar_one()


async def end_sessions(
    session: AsyncSession, subject_id: str, now: datetime, *, except_session_id: str | None = None
) -> None:
    """End a person's sessions: none of them gives another token."""
    statement = select(SessionRow).where(col(SessionRow.subject_id) == subject_id, col(SessionRow.ended_at).is_(None))
    for row in (await session.execute(statement.with_for_update())).scalars():
        if row.session_id != except_session_id:
            row.ended_at = now


async def forget_ended_sessions(session: AsyncSession, now: datetime, rows_max: int) -> None:
    """Drop sessions whose time is over, with their refresh tokens; a bounded number at a time."""
    over = select(col(SessionRow.session_id)).where(col(SessionRow.expires_at) < now).limit(rows_max)
    await session.execute(delete(SessionRow).where(col(SessionRow.session_id).in_(over)))


def principal_of(person: UserRow | MerchantRow) -> Principal:
    """Who that is, as an answer says it."""
    if isinstance(person, UserRow):
        name = f"{person.first_name} {person.last_name}"
        return Principal(id=person.user_id, kind=person.kind, tenant_id=person.tenant_id, email=person.email, name=name)
    return Principal(
        id=person.merchant_id,
        kind="merchant",
        tenant_id=person.tenant_id,
        email=person.login_email,
        name=person.business_name,
    )


async def hash_or_none(passwords: Passwords, password: SecretStr | None) -> str | None:
    """The hash of a password that may have been left out."""
    return None if password is None else await passwords.hash(password)


def _no_invitation() -> NotFound:
    return NotFound("this invitation is unknown, used, or has expired", code="invitation_not_found")


def _is_over(expires_at: datetime | None, now: datetime) -> bool:
    return expires_at is None or expires_at <= now


def _again(statement: Select[LoginRow]) -> Select[LoginRow]:
    return statement.with_for_update().execution_options(populate_existing=True)


async def _require_free(session: AsyncSession, tenant_id: str, email: str, subject_id: str) -> None:
    statement = select(col(LoginRow.subject_id)).where(
        col(LoginRow.tenant_id) == tenant_id, col(LoginRow.email_key) == domain.unique_key(email)
    )
    holder = await session.scalar(statement)
    if holder is not None and holder != subject_id:
        raise domain.NameTaken("this e-mail address is in use in this tenant", code="email_taken", existing_id=holder)


def _is_tenant_id(value: str) -> bool:
    try:
        return value.startswith("ten_") and from_uuid("ten", to_uuid(value)) == value
    except ValueError:
        return False
