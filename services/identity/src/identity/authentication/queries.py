"""Finds and locks what a log-in belongs to: the user or merchant, its tenant, its session."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import logins, merchants, tenants, users
from identity.authentication.schemas import Person
from identity.mail import Recipient
from identity.merchants import MerchantRow
from identity.sessions import RefreshTokenRow, SessionRow
from identity.users import UserRow
from shared.ids import from_uuid, to_uuid
from shared.postgres.driver_connection import driver_of

PersonRow = UserRow | MerchantRow
"""Who can log in."""

# One statement, and rows in the order in which everything else locks them: the person, the log-in, the second factor.
_LOCK_LOGIN = """
    WITH person AS MATERIALIZED (
        {person} FOR NO KEY UPDATE
    ), login AS MATERIALIZED (
        SELECT password_hash, places FROM logins WHERE subject_id = $1 AND EXISTS (SELECT FROM person) FOR UPDATE
    ), factor AS MATERIALIZED (
        SELECT confirmed_at FROM second_factors WHERE subject_id = $1 AND EXISTS (SELECT FROM login) FOR UPDATE
    )
    SELECT
        person.*, login.*, (SELECT confirmed_at FROM factor) IS NOT NULL AS has_second_factor, tenants.status AS tenant_status,
        session_token_seconds, session_days, second_factor, notices_off
    FROM person CROSS JOIN login JOIN tenants USING (tenant_id)
"""
_LOCK_LOGIN_OF_USER = _LOCK_LOGIN.format(
    person="""
        SELECT
            tenant_id, kind, email, concat(first_name, ' ', last_name) AS name, language, status, sessions_valid_from, livemode
        FROM users WHERE user_id = $2"""
)
_LOCK_LOGIN_OF_MERCHANT = _LOCK_LOGIN.format(
    person="""
        SELECT
            tenant_id, 'merchant' AS kind, login_email AS email, business_name AS name, language, status,
            sessions_valid_from, livemode
        FROM merchants WHERE merchant_id = $2"""
)


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """What tokens need of a person."""

    person: Person
    sessions_valid_from: datetime
    livemode: bool


@dataclass(frozen=True, slots=True)
class LockedLogin:
    """What decides about a log-in of a person who is locked."""

    holder: TokenHolder
    status: str
    language: str | None
    password_hash: str | None
    places: list[bytes]
    has_second_factor: bool
    policy: tenants.SessionPolicy

    @property
    def recipient(self) -> Recipient:
        """The person as the recipient of a mail."""
        person = self.holder.person
        return Recipient(
            id=person.id,
            tenant_id=person.tenant_id,
            email=person.email,
            name=person.name,
            language=self.language,
            livemode=self.holder.livemode,
        )


class OfPerson(Protocol):
    """A log-in, as it was found or locked."""

    @property
    def kind(self) -> str: ...
    @property
    def subject_id(self) -> str: ...


async def lock_login(session: AsyncSession, login: OfPerson) -> LockedLogin:
    """A log-in with its person, second factor and tenant, each locked but the tenant."""
    driver = await driver_of(session)
    statement = _LOCK_LOGIN_OF_USER if login.kind == "user" else _LOCK_LOGIN_OF_MERCHANT
    row = await driver.fetchrow(statement, login.subject_id, to_uuid(login.subject_id))
    assert row is not None
    person = Person(
        id=login.subject_id,
        kind=row["kind"],
        tenant_id=from_uuid("ten", row["tenant_id"]),
        email=row["email"],
        name=row["name"],
    )
    return LockedLogin(
        holder=TokenHolder(person, row["sessions_valid_from"], row["livemode"]),
        status=row["status"],
        language=row["language"],
        password_hash=row["password_hash"],
        places=row["places"],
        has_second_factor=row["has_second_factor"],
        policy=tenants.SessionPolicy(
            status=row["tenant_status"],
            token_seconds=row["session_token_seconds"],
            session_days=row["session_days"],
            second_factor=row["second_factor"],
            notices_off=frozenset(row["notices_off"]),
        ),
    )


async def lock_person(session: AsyncSession, login: OfPerson) -> PersonRow:
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


def token_holder(row: PersonRow) -> TokenHolder:
    """A user or merchant whose tokens are signed."""
    return TokenHolder(view_person(row), row.sessions_valid_from, row.livemode)


def recipient(row: PersonRow) -> Recipient:
    """A user or merchant as the recipient of a mail."""
    return users.recipient(row) if isinstance(row, UserRow) else merchants.recipient(row)
