"""Uses codes: each counts once. Deletes the second factors of a tenant. The secret is stored encrypted, recovery codes as digests."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity.totp import rules
from identity.totp.tables import SecondFactorRow
from shared.crypto.encryptor import Encryptor


def use_code(row: SecondFactorRow, encryptor: Encryptor, code: str, now: datetime) -> bool:
    """Whether this is a code of the second factor, which is locked; it counts this once."""
    if use_app_code(row, encryptor, code, now):
        return True
    digest = rules.digest_recovery_code(code)
    if digest not in row.recovery_digests:
        return False
    row.recovery_digests = [one for one in row.recovery_digests if one != digest]
    return True


def use_app_code(row: SecondFactorRow, encryptor: Encryptor, code: str, now: datetime) -> bool:
    """Whether this is a code of the authenticator app; the codes of its step of time, and of those before, count no more."""
    secret = encryptor.decrypt(row.sealed_secret, associated_data=row.subject_id).decode()
    step = rules.matching_step(secret, code.replace(" ", ""), now, last_step=row.last_step)
    if step is None:
        return False
    row.last_step = step
    return True


async def delete_of_tenant(session: AsyncSession, tenant_id: str, rows_max: int) -> int:
    """Delete second factors of a tenant's people, `rows_max` at most; returns how many."""
    subject_id = col(SecondFactorRow.subject_id)
    some = select(subject_id).where(col(SecondFactorRow.tenant_id) == tenant_id).limit(rows_max)
    statement = delete(SecondFactorRow).where(subject_id.in_(some)).returning(subject_id)
    return len((await session.execute(statement)).all())
