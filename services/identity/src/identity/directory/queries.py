"""Reads ids and names."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import rows
from identity.directory.schemas import DirectoryLocation, DirectoryMerchant
from identity.locations import LocationRow
from identity.merchants import MerchantRow
from identity.search_words import search
from shared.api import Page, Paging, page
from shared.audit import Actor


async def list_merchants(
    session: AsyncSession, actor: Actor, paging: Paging, *, ids: Sequence[str] | None, q: str | None
) -> Page[DirectoryMerchant]:
    """The tenant's merchants, newest first; with `ids` these alone, with `q` those whose words begin with its words."""
    statement = rows.visible_to(select(MerchantRow), actor, MerchantRow.tenant_id, MerchantRow.livemode)
    if ids is not None:
        statement = statement.where(col(MerchantRow.merchant_id).in_(ids))
    asked = await search(session, statement, col(MerchantRow.search_words), actor.tenant_id, q)
    order = (col(MerchantRow.created_at), col(MerchantRow.merchant_id))
    return await page(
        session,
        asked.statement,
        paging,
        by=order,
        view=_merchant,
        filters=[q, ids],
        few=asked.few,
        expensive_filter=asked.on_the_way,
    )


async def list_locations(
    session: AsyncSession, actor: Actor, paging: Paging, *, ids: Sequence[str] | None, q: str | None
) -> Page[DirectoryLocation]:
    """The tenant's locations, newest first; with `ids` these alone, with `q` those whose words begin with its words."""
    statement = rows.visible_to(select(LocationRow), actor, LocationRow.tenant_id, LocationRow.livemode)
    if ids is not None:
        statement = statement.where(col(LocationRow.location_id).in_(ids))
    asked = await search(session, statement, col(LocationRow.search_words), actor.tenant_id, q)
    order = (col(LocationRow.created_at), col(LocationRow.location_id))
    return await page(
        session,
        asked.statement,
        paging,
        by=order,
        view=_location,
        filters=[q, ids],
        few=asked.few,
        expensive_filter=asked.on_the_way,
    )


def _merchant(row: MerchantRow) -> DirectoryMerchant:
    return DirectoryMerchant(id=row.merchant_id, name=row.business_name)


def _location(row: LocationRow) -> DirectoryLocation:
    return DirectoryLocation(id=row.location_id, name=row.name)
