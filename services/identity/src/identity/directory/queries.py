"""Reads ids and names."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import locations, merchants
from identity.directory.schemas import DirectoryLocation, DirectoryMerchant
from identity.locations import LocationRow
from identity.merchants import MerchantRow
from identity.search_words import search_page
from shared.api import Page, Paging
from shared.audit import Actor


async def list_merchants(
    session: AsyncSession, actor: Actor, paging: Paging, *, ids: Sequence[str] | None, q: str | None
) -> Page[DirectoryMerchant]:
    """The tenant's merchants, newest first; with `ids` these alone, with `q` those whose words begin with its words."""
    statement = merchants.visible_rows(actor)
    if ids is not None:
        statement = statement.where(col(MerchantRow.merchant_id).in_(ids))
    return await search_page(
        session, MerchantRow, actor.tenant_id, statement, paging, q=q, view=_merchant, filters=[ids]
    )


async def list_locations(
    session: AsyncSession, actor: Actor, paging: Paging, *, ids: Sequence[str] | None, q: str | None
) -> Page[DirectoryLocation]:
    """The tenant's locations, newest first; with `ids` these alone, with `q` those whose words begin with its words."""
    statement = locations.visible_rows(actor)
    if ids is not None:
        statement = statement.where(col(LocationRow.location_id).in_(ids))
    return await search_page(
        session, LocationRow, actor.tenant_id, statement, paging, q=q, view=_location, filters=[ids]
    )


def _merchant(row: MerchantRow) -> DirectoryMerchant:
    return DirectoryMerchant(id=row.merchant_id, name=row.business_name)


def _location(row: LocationRow) -> DirectoryLocation:
    return DirectoryLocation(id=row.location_id, name=row.name)
