"""Merchants in the API."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator
from pydantic import Field as ApiField

from identity import fields
from identity.logins import WithEmailChange, WithInvitation
from identity.mail import LANGUAGE_DESCRIPTION, Language
from shared.api import Input
from shared.fields.contact import OptionalEmail, OptionalPhone
from shared.fields.merge_patch import MetadataPatch, Patch
from shared.fields.metadata import Metadata
from shared.fields.numbers import Flag, require_whole_number
from shared.fields.places import AddressIn, AddressPatch
from shared.fields.text import Name, OptionalReferenceId
from shared.ids import LocationId

LOCATIONS_OF_MERCHANT_MAX = 200
BY_WORDS = "Only where each of these words begins a word of name, e-mail addresses, API Account ID or reference."
MerchantStatus = Literal["active", "disabled"]

MerchantLevel = Annotated[Literal[1, 2], BeforeValidator(require_whole_number)]
LocationIds = Annotated[list[LocationId], ApiField(min_length=1, max_length=LOCATIONS_OF_MERCHANT_MAX)]


class MerchantIn(Input):
    """A merchant to create. Without a password the answer has an invitation token."""

    business_name: Name = ApiField(examples=["Boulangerie Ada"])
    login_email: fields.LoginEmail
    language: Language | None = ApiField(None, description=LANGUAGE_DESCRIPTION)
    contact_email: OptionalEmail = None
    phone: OptionalPhone = None
    address: AddressIn | None = None
    level: MerchantLevel
    api_access: Flag = ApiField(
        False, description="Only for level 2. It needs the permission settings.merchants.api_access too."
    )
    location_ids: LocationIds
    default_location_id: LocationId | None = ApiField(None, description="One of location_ids.")
    reference_id: OptionalReferenceId = ApiField(None, description="Your own id of it, unique in the tenant.")
    metadata: Metadata = {}
    password: fields.Password | None = None


class MerchantPatch(Patch):
    """Fields of a merchant to change. Level 1 ends its API access."""

    business_name: Annotated[Name | None, fields.KEPT_IF_ABSENT] = None
    login_email: Annotated[fields.LoginEmail | None, fields.KEPT_IF_ABSENT] = None
    language: Language | None = None
    contact_email: OptionalEmail = None
    phone: OptionalPhone = None
    address: AddressPatch | None = None
    level: Annotated[MerchantLevel | None, fields.KEPT_IF_ABSENT] = None
    api_access: Annotated[Flag | None, fields.KEPT_IF_ABSENT] = None
    location_ids: Annotated[LocationIds | None, fields.KEPT_IF_ABSENT] = None
    default_location_id: LocationId | None = None
    reference_id: OptionalReferenceId = None
    metadata: MetadataPatch = None


class Merchant(BaseModel):
    """A merchant, without its key."""

    object: Literal["merchant"] = "merchant"
    id: str
    tenant_id: str
    business_name: str
    login_email: str
    language: Language | None
    email_refused_at: datetime | None
    email_refusal: str | None
    contact_email: str | None
    phone: str | None
    address: fields.Address | None
    level: Literal[1, 2]
    status: MerchantStatus
    api_access: bool
    api_account_id: str | None = ApiField(description="API Account ID; null while API access is off.")
    location_ids: list[str]
    default_location_id: str | None
    reference_id: str | None
    metadata: dict[str, str]
    livemode: bool
    last_used_at: fields.LastUsedAt
    created_at: datetime
    updated_at: datetime
    version: int

    @property
    def variant(self) -> str | None:
        """The last use has no version."""
        return None if self.last_used_at is None else format(int(self.last_used_at.timestamp() * 1000), "x")


class CreatedMerchant(WithInvitation, Merchant):
    """A new merchant."""


class ChangedMerchant(WithEmailChange, Merchant):
    """A merchant after a change."""
