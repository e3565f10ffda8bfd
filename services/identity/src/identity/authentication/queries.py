"""Locks the user or merchant whose log-in it is."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity.authentication.schemas import Principal
from identity.logins import LoginRow
from identity.merchants import MerchantRow
from identity.users import UserRow


async def lock_person(session: AsyncSession, login: LoginRow) -> UserRow | MerchantRow:
    """Whose login it is, locked: a token is made and a person is cut off one after the other, never at once."""
    if login.kind == "user":
        user = select(UserRow).where(col(UserRow.user_id) == login.subject_id)
        return (await session.execute(user.with_for_update(key_share=True))).scalar_one()
    merchant = select(MerchantRow).where(col(MerchantRow.merchant_id) == login.subject_id)
    return (await session.execute(merchant.with_for_update(key_share=True))).scalar_one()


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


Person = UserRow | MerchantRow
