"""A new tenant in the API."""

from pydantic import Field as ApiField

from identity import fields
from identity.locations import Location
from identity.logins import WithInvitation
from identity.mail import LANGUAGE_DESCRIPTION, Language
from identity.tenants import JOB_REVIEW_DESCRIPTION, Tenant
from identity.users import User
from shared.api import Input
from shared.fields.money import Currency
from shared.fields.numbers import Flag, OptionalInteger
from shared.fields.places import Country, TimeZone
from shared.fields.text import Name, PersonName


class OwnerIn(Input):
    """The owner of a new tenant. Without a password the answer has an invitation token."""

    email: fields.LoginEmail
    first_name: PersonName
    last_name: PersonName
    language: Language | None = ApiField(None, description=LANGUAGE_DESCRIPTION)
    password: fields.Password | None = None


class TenantIn(Input):
    """A tenant to create."""

    name: Name = ApiField(description="Unique, in any case.", examples=["Livraisons Laurier"])
    country: Country
    timezone: TimeZone
    currency: Currency
    owner: OwnerIn
    trial_days: OptionalInteger = ApiField(
        None, ge=1, le=365, description="Length of the trial in days; null: the default of billing."
    )
    test: Flag | None = ApiField(
        None, description="A test tenant: all its records have `livemode: false`. Default: true for a test key."
    )
    job_review: Flag = ApiField(False, description=JOB_REVIEW_DESCRIPTION)


class CreatedTenant(WithInvitation, Tenant):
    """A new tenant with its owner and default location."""

    owner: User
    default_location: Location
