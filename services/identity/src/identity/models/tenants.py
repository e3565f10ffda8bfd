"""Tenants: the table and the API's shapes."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField
from sqlalchemy import Boolean, CheckConstraint, Column, Integer, Text, false
from sqlmodel import Field

from identity.models import fields, registry
from identity.models.locations import Location
from identity.models.users import User
from shared.api import Input

_JOB_REVIEW = "Whether new jobs of merchants wait in `staging` until dispatch accepts them."


class TenantRow(registry.Base, table=True):
    """A company that opens its platform to its merchants."""

    __tablename__ = "tenants"
    __table_args__ = (CheckConstraint("status IN ('active', 'suspended', 'closed')", name="status"),)

    tenant_id: str = Field(sa_column=registry.key("ten"))
    version: int = Field(sa_column=registry.version())
    name: str = Field(sa_column=registry.words())
    name_key: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    country: str = Field(sa_column=registry.words())
    timezone: str = Field(sa_column=registry.words())
    currency: str = Field(sa_column=registry.words())
    status: str = Field(sa_column=registry.words())
    test: bool = Field(sa_column=registry.yes_or_no())
    trial_days: int | None = Field(sa_column=Column(Integer))
    job_review: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=false()))
    # No foreign key: a user needs its tenant first, and both are made in one transaction.
    owner_id: str = Field(sa_column=registry.reference("usr"))
    created_at: datetime = Field(sa_column=registry.instant())
    updated_at: datetime = Field(sa_column=registry.instant())


class OwnerIn(Input):
    """The first person of a tenant. Without a password an invitation token is returned."""

    email: fields.Email
    first_name: fields.PersonName
    last_name: fields.PersonName
    password: fields.Password | None = None


class TenantIn(Input):
    """What makes a tenant."""

    name: fields.Name = ApiField(description="Unique, whatever the case.", examples=["Livraisons Laurier"])
    country: fields.Country
    timezone: fields.Timezone
    currency: fields.Currency
    owner: OwnerIn
    trial_days: int | None = ApiField(
        None, ge=1, le=365, description="Length of the trial; null: the installation's default."
    )
    test: bool | None = ApiField(None, description="A test tenant: nothing real happens. Default: true for a test key.")
    job_review: bool = ApiField(False, description=_JOB_REVIEW)


class TenantPatch(Input):
    """What can change about a tenant."""

    name: Annotated[fields.Name | None, fields.KEPT_IF_ABSENT] = ApiField(
        None, description="Unique, whatever the case.", examples=["Livraisons Laurier"]
    )
    timezone: Annotated[fields.Timezone | None, fields.KEPT_IF_ABSENT] = ApiField(
        None, description="For new locations; those that exist keep theirs."
    )
    job_review: Annotated[bool | None, fields.KEPT_IF_ABSENT] = ApiField(
        None, description=f"{_JOB_REVIEW} Jobs that exist stay as they are."
    )


class Tenant(BaseModel):
    """A tenant."""

    object: Literal["tenant"] = "tenant"
    id: str
    name: str
    country: str
    timezone: str
    currency: str
    status: str = ApiField(description="active, suspended or closed.")
    test: bool
    livemode: bool
    job_review: bool = ApiField(description=_JOB_REVIEW)
    owner_id: str
    created_at: datetime
    updated_at: datetime
    version: int


class NewTenant(Tenant):
    """A tenant with what was made along with it."""

    owner: User
    default_location: Location
    invitation_token: str | None = ApiField(description="For the owner to set a password; null when one was given.")
    invitation_expires_at: datetime | None
