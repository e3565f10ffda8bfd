"""Finds and locks what a log-in belongs to: the user or merchant, its tenant, its session."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import logins, merchants, users
from identity.authentication.schemas import Person
from identity.logins import LoginRow
from identity.mail import Recipient
from identity.merchants import MerchantRow
from identity.sessions import RefreshTokenRow, SessionRow
from identity.users import UserRow

PersonRow = UserRow | MerchantRow
"""Who can log in."""


async def lock_person(session: AsyncSession, login: LoginRow) -> PersonRow:
    """The user or merchant of a log-in, locked: tokens are issued and revoked one after the other, never at once."""
    if login.kind == "user":
        user = select(UserRow).where(col(UserRow.user_id) == login.subject_id)
        return (await session.execute(user.with_for_update(key_share=True))).scalar_one()
    merchant = select(MerchantRow).where(col(MerchantRow.merchant_id) == login.subject_id)
    return (await session.execute(merchant.with_for_update(key_share=True))).scalar_one()


async def get_subject_of_token(session: AsyncSession, digest: bytes) -> str | None:
    """The id of the user or merchant whose refresh token has this digest; None for an unknown token."""
    subject_id: str | None = await session.scalar(
        select(col(SessionRow.subject_id))
        .join(RefreshTokenRow, col(RefreshTokenRow.session_id) == col(SessionRow.session_id))
        .where(col(RefreshTokenRow.digest) == digest)
    )
    return subject_id


async def lock_subject(session: AsyncSession, subject_id: str) -> PersonRow:
    """A user or merchant, which must exist, locked."""
    return await lock_person(session, await logins.get_by_subject(session, subject_id))


def view_person(row: PersonRow) -> Person:
    """A user or merchant as the API shows who has logged in."""
    if isinstance(row, UserRow):
        name = f"{row.first_name} {row.last_name}"
        return Person(id=row.user_id, kind=row.kind, tenant_id=row.tenant_id, email=row.email, name=name)
    return Person(
        id=row.merchant_id, kind="merchant", tenant_id=row.tenant_id, email=row.login_email, name=row.business_name
    )


def recipient(row: PersonRow) -> Recipient:
    """A user or merchant as the recipient of a mail."""
    return users.recipient(row) if isinstance(row, UserRow) else merchants.recipient(row)
