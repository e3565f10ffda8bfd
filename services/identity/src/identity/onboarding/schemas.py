"""A new tenant in the API."""

from datetime import datetime

from pydantic import Field as ApiField

from identity import fields
from identity.locations import Location
from identity.tenants import JOB_REVIEW_DESCRIPTION, Tenant
from identity.users import User
from shared.api import Input


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
    job_review: bool = ApiField(False, description=JOB_REVIEW_DESCRIPTION)


class NewTenant(Tenant):
    """A tenant with what was made along with it."""

    owner: User
    default_location: Location
    invitation_token: str | None = ApiField(description="For the owner to set a password; null when one was given.")
    invitation_expires_at: datetime | None
