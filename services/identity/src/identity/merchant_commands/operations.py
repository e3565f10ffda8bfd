"""Bulk commands on merchants: `shared.bulk` carries them out with the list of merchants and the operations on one merchant."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from identity import merchants
from identity.merchant_commands.schemas import MerchantCommand, MerchantCommandIn, MerchantsToChange
from identity.merchant_commands.tables import MerchantCommandRow
from identity.merchants import CredentialIssuer
from shared import bulk
from shared.api import Paging
from shared.audit import Actor
from shared.bulk import Bulk, BulkRow, Matching

READ, API_ACCESS = "settings.merchants.read", "settings.merchants.api_access"


def bulk_of(issuer: CredentialIssuer) -> Bulk:
    """Bulk commands on merchants; `issuer` makes the keys of those who get access."""

    async def apply(session: AsyncSession, actor: Actor, row: BulkRow, merchant_id: str) -> None:
        if row.command == "grant_api_access":
            await merchants.grant_api_access(session, actor, issuer, merchant_id)
        else:
            await merchants.revoke_api_access(session, actor, merchant_id)

    needed = frozenset({READ, API_ACCESS})
    return Bulk(
        name="merchant_command",
        table=MerchantCommandRow,
        permissions={"grant_api_access": needed, "revoke_api_access": needed},
        list_matching=_list_matching,
        apply=apply,
    )


async def _list_matching(session: AsyncSession, actor: Actor, row: BulkRow, paging: Paging) -> Matching:
    asked = MerchantsToChange.model_validate(row.filters)
    found = await merchants.list_merchants(session, actor, paging, **asked.model_dump())
    return Matching([merchant.id for merchant in found.data], found.next_cursor)


async def create(session: AsyncSession, of: Bulk, actor: Actor, wanted: MerchantCommandIn) -> MerchantCommand:
    """A command for all merchants that match. Raises `Forbidden`, or `Conflict` (too many are running)."""
    row = await bulk.create(
        session,
        of,
        actor,
        wanted.command,
        filters=wanted.filters.model_dump(mode="json", exclude_unset=True),
        arguments={},
        dry_run=wanted.dry_run,
    )
    return view(row)


def view(row: BulkRow) -> MerchantCommand:
    """A bulk command as the API shows it."""
    command: Any = row.command
    return MerchantCommand(**bulk.shown(row), command=command, filters=row.filters)
