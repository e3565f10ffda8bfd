"""Reads and changes billing details. They stand in the row of the tenant, beside what identity tells of it."""

from sqlalchemy.ext.asyncio import AsyncSession

from billing import plans, tenants
from billing.billing_details.schemas import BillingDetails, BillingDetailsPatch
from billing.plans import Place
from billing.tenants import TenantRow
from shared import audit
from shared.api import IfMatch
from shared.audit import Actor


async def get(session: AsyncSession, tenant_id: str) -> BillingDetails:
    """The tenant's billing details. Raises `Unavailable` until its event has arrived."""
    return _view(await tenants.read(session, tenant_id))


async def update(session: AsyncSession, actor: Actor, if_match: IfMatch, patch: BillingDetailsPatch) -> BillingDetails:
    """Change what is given; invoices that there are stay as they are. Raises `PreconditionFailed` or `RegionUnknown`."""
    row = await tenants.read(session, actor.tenant_id, lock=True)
    if_match.check(row.details_version)
    before = _view(row)
    if "region" in patch.model_fields_set:
        await plans.check_region(session, Place(row.country, patch.region or ""))
        row.region = patch.region
    if _view(row) != before:
        row.details_version += 1
        audit.record(session, actor, "billing_details.updated", row.tenant_id, before=before, after=_view(row))
    return _view(row)


def _view(row: TenantRow) -> BillingDetails:
    return BillingDetails(tenant_id=row.tenant_id, country=row.country, region=row.region, version=row.details_version)
