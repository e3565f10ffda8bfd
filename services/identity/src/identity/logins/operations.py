"""Creates log-ins and changes their e-mail address. Secrets are kept as hashes and digests only."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import tenants
from identity.logins import rules
from identity.logins.passwords import Passwords
from identity.logins.queries import get_by_subject
from identity.logins.tables import LoginRow

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a new person needs to set a password; `token` is None when one was given at once."""

    token: str | None
    expires_at: datetime | None


def new_token(prefix: str) -> tuple[str, bytes]:
    """An opaque token of 256 random bits, and the digest to keep of it."""
    token = f"{prefix}_{secrets.token_urlsafe(_TOKEN_BYTES)}"
    return token, digest_token(token)


def digest_token(token: str) -> bytes:
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
    expires_at = now + rules.INVITATION_LIFE if invited else None
    session.add(
        LoginRow(
            tenant_id=tenant_id,
            email_key=tenants.unique_key(email),
            subject_id=subject_id,
            kind=kind,
            password_hash=password_hash,
            invitation_digest=digest if invited else None,
            invitation_expires_at=expires_at,
        )
    )
    return Invitation(token if invited else None, expires_at)


async def change_email(session: AsyncSession, *, tenant_id: str, email: str, subject_id: str) -> None:
    """Give a person another e-mail address. Raises `NameTaken`."""
    await _require_free(session, tenant_id, email, subject_id)
    login = await get_by_subject(session, subject_id)
    login.email_key = tenants.unique_key(email)


async def hash_if_given(passwords: Passwords, password: SecretStr | None) -> str | None:
    """The hash of a password that may have been left out."""
    return None if password is None else await passwords.hash(password)


async def _require_free(session: AsyncSession, tenant_id: str, email: str, subject_id: str) -> None:
    statement = select(col(LoginRow.subject_id)).where(
        col(LoginRow.tenant_id) == tenant_id, col(LoginRow.email_key) == tenants.unique_key(email)
    )
    holder = await session.scalar(statement)
    if holder is not None and holder != subject_id:
        raise tenants.AlreadyExists(
            "this e-mail address is in use in this tenant", code="email_taken", existing_id=holder
        )
