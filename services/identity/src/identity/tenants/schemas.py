"""Tenants in the API."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from identity import fields
from shared.fields.merge_patch import Patch
from shared.fields.numbers import Flag
from shared.fields.places import TimeZone
from shared.fields.text import Name

TenantStatus = Literal["active", "suspended", "closed"]
JOB_REVIEW_DESCRIPTION = "Whether new jobs of merchants wait in `staging` until dispatch accepts them."


class TenantRequests(BaseModel):
    """The requests of one tenant."""

    tenant_id: str = ApiField(description="The tenant.", examples=["ten_01h455vb4pex5vsknk084sn02q"])
    name: str = ApiField(description="The tenant's name.", examples=["Livraisons Laurier"])
    calls: int = ApiField(description="All requests with credentials of these hours.", examples=[4120])
    errors: int = ApiField(description="Those of them that were answered with a status of 400 or more.", examples=[37])


class BusiestTenants(BaseModel):
    """The tenants with most requests."""

    object: Literal["busiest_tenants"] = "busiest_tenants"
    data: list[TenantRequests] = ApiField(description="The tenants; the first has most.")


class TenantPatch(Patch):
    """Fields of a tenant to change."""

    name: Annotated[Name | None, fields.KEPT_IF_ABSENT] = ApiField(
        None, description="Unique, in any case.", examples=["Livraisons Laurier"]
    )
    timezone: Annotated[TimeZone | None, fields.KEPT_IF_ABSENT] = ApiField(
        None, description="For new locations; existing locations keep theirs."
    )
    job_review: Annotated[Flag | None, fields.KEPT_IF_ABSENT] = ApiField(
        None, description=f"{JOB_REVIEW_DESCRIPTION} Existing jobs stay as they are."
    )


class Tenant(BaseModel):
    """A tenant."""

    object: Literal["tenant"] = "tenant"
    id: str
    name: str
    country: str
    timezone: str
    currency: str
    status: TenantStatus
    test: bool
    livemode: bool
    job_review: bool = ApiField(description=JOB_REVIEW_DESCRIPTION)
    owner_id: str
    created_at: datetime
    updated_at: datetime
    version: int
