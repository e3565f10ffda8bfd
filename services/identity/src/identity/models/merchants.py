"""Merchants with their pairs: the table and the API's shapes."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField
from sqlalchemy import CheckConstraint, Column, Index, Integer, LargeBinary, SmallInteger
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field

from identity.domain import KEY_OVERLAP_SECONDS_MAX
from identity.models import fields, registry
from shared.api import Input, Secret
from shared.ids import LocationId
from shared.postgres.tables import TypedId

LOCATIONS_OF_MERCHANT_MAX = 200

MerchantLevel = Literal[1, 2]
LocationIds = Annotated[list[LocationId], ApiField(min_length=1, max_length=LOCATIONS_OF_MERCHANT_MAX)]


class MerchantRow(registry.Base, table=True):
    """A merchant and the pair that it uses the API with: one aggregate, one version."""

    __tablename__ = "merchants"
    __table_args__ = (
        CheckConstraint("level IN (1, 2)", name="level"),
        CheckConstraint("status IN ('active', 'disabled')", name="status"),
        CheckConstraint("NOT api_access OR (level = 2 AND status = 'active')", name="api_access"),
        CheckConstraint("NOT api_access OR (account_id IS NOT NULL AND sealed_key IS NOT NULL)", name="pair"),
        CheckConstraint("cardinality(location_ids) > 0", name="locations"),
        CheckConstraint(
            "default_location_id IS NULL OR default_location_id = ANY (location_ids)", name="default_location"
        ),
        Index("ix_merchants_reference_id", "tenant_id", "reference_id", unique=True),
        Index("ix_merchants_page", "tenant_id", "created_at", "merchant_id"),
        Index("ix_merchants_account_id", "account_id", unique=True),
        Index("ix_merchants_location_ids", "location_ids", postgresql_using="gin"),
    )

    merchant_id: str = Field(sa_column=registry.key("mer"))
    tenant_id: str = Field(sa_column=registry.reference("ten", to="tenants.tenant_id"))
    version: int = Field(sa_column=registry.version())
    business_name: str = Field(sa_column=registry.words())
    login_email: str = Field(sa_column=registry.words())
    contact_email: str | None = Field(sa_column=registry.words(nullable=True))
    phone: str | None = Field(sa_column=registry.words(nullable=True))
    address: dict[str, Any] | None = Field(sa_column=registry.document(nullable=True))
    level: int = Field(sa_column=Column(Integer, nullable=False))
    status: str = Field(sa_column=registry.words())
    api_access: bool = Field(sa_column=registry.yes_or_no())
    location_ids: list[str] = Field(sa_column=Column(ARRAY(TypedId("loc")), nullable=False))
    default_location_id: str | None = Field(
        sa_column=registry.reference("loc", to="locations.location_id", nullable=True)
    )
    reference_id: str | None = Field(sa_column=registry.words(nullable=True))
    details: dict[str, str] = Field(sa_column=Column("metadata", JSONB, nullable=False))
    sessions_valid_from: datetime = Field(sa_column=registry.instant())
    livemode: bool = Field(sa_column=registry.yes_or_no())

    # The pair. The account id is given once and stays for ever; key and digest are those of the latest grant or rotation, and the
    # sealed copy is gone as soon as access is.
    account_id: str | None = Field(default=None, sa_column=registry.reference("acct", nullable=True))
    sealed_key: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    key_hint: str | None = Field(default=None, sa_column=registry.words(nullable=True))
    key_digest: str | None = Field(default=None, sa_column=registry.words(nullable=True))
    key_pepper_version: int | None = Field(default=None, sa_column=Column(SmallInteger))
    key_made_at: datetime | None = Field(default=None, sa_column=registry.instant(nullable=True))
    previous_key_digest: str | None = Field(default=None, sa_column=registry.words(nullable=True))
    previous_key_pepper_version: int | None = Field(default=None, sa_column=Column(SmallInteger))
    previous_key_valid_until: datetime | None = Field(default=None, sa_column=registry.instant(nullable=True))
    last_used_at: datetime | None = Field(default=None, sa_column=registry.instant(nullable=True))

    created_at: datetime = Field(sa_column=registry.instant())
    updated_at: datetime = Field(sa_column=registry.instant())


class MerchantIn(Input):
    """What makes a merchant. Without a password an invitation token is returned."""

    business_name: fields.Name = ApiField(examples=["Boulangerie Ada"])
    login_email: fields.Email
    contact_email: fields.Email | None = None
    phone: fields.Phone | None = None
    address: fields.Address | None = None
    level: MerchantLevel
    api_access: bool = ApiField(False, description="Only for level 2; needs settings.merchants.api_access as well.")
    location_ids: LocationIds
    default_location_id: LocationId | None = ApiField(None, description="One of location_ids.")
    reference_id: fields.ReferenceId | None = ApiField(None, description="Your own name for it, unique in the tenant.")
    metadata: fields.Metadata = {}
    password: fields.Password | None = None


class MerchantPatch(Input):
    """What can change about a merchant. Moving it to level 1 ends its API access."""

    business_name: Annotated[fields.Name | None, fields.KEPT_IF_ABSENT] = None
    login_email: Annotated[fields.Email | None, fields.KEPT_IF_ABSENT] = None
    contact_email: fields.Email | None = None
    phone: fields.Phone | None = None
    address: fields.Address | None = None
    level: Annotated[MerchantLevel | None, fields.KEPT_IF_ABSENT] = None
    api_access: Annotated[bool | None, fields.KEPT_IF_ABSENT] = None
    location_ids: Annotated[LocationIds | None, fields.KEPT_IF_ABSENT] = None
    default_location_id: LocationId | None = None
    reference_id: fields.ReferenceId | None = None
    metadata: Annotated[fields.Metadata | None, fields.KEPT_IF_ABSENT] = None


class Merchant(BaseModel):
    """A merchant; never with a key."""

    object: Literal["merchant"] = "merchant"
    id: str
    tenant_id: str
    business_name: str
    login_email: str
    contact_email: str | None
    phone: str | None
    address: fields.Address | None
    level: int
    status: str = ApiField(description="active or disabled.")
    api_access: bool
    api_account_id: str | None = ApiField(description="API Account ID; null while API access is off.")
    location_ids: list[str]
    default_location_id: str | None
    reference_id: str | None
    metadata: dict[str, str]
    livemode: bool
    created_at: datetime
    updated_at: datetime
    version: int


class NewMerchant(Merchant):
    """A new merchant."""

    invitation_token: str | None = ApiField(description="To set a password with; null when one was given.")
    invitation_expires_at: datetime | None


class ApiAccount(BaseModel):
    """An enabled merchant's API Account ID, as an administrator sees it. Never with a key."""

    object: Literal["api_account"] = "api_account"
    merchant_id: str
    business_name: str
    api_account_id: str
    status: str = ApiField(description="active or disabled.")
    livemode: bool
    last_used_at: fields.LastUsedAt


class ApiSettings(BaseModel):
    """A merchant's own view of its API access."""

    object: Literal["api_settings"] = "api_settings"
    api_access: bool
    api_account_id: str | None = ApiField(description="Null while API access is off.")
    auth_key_hint: str | None = ApiField(description="Enough of the key to recognise it.")
    rotated_at: datetime | None = ApiField(description="When the present key was made.")
    previous_key_valid_until: datetime | None = ApiField(
        description="End of the former key's overlap; null: it has ended."
    )
    last_used_at: fields.LastUsedAt
    livemode: bool


class RevealIn(Input):
    """The merchant's password, once more."""

    password: fields.PasswordTry


class RotateIn(Input):
    """The merchant's password, once more, and how long the former key stays valid."""

    password: fields.PasswordTry
    overlap_seconds: int | None = ApiField(
        None,
        ge=0,
        le=KEY_OVERLAP_SECONDS_MAX,
        description="Seconds that the former key stays valid; null: the default, 24 h.",
    )


class ApiCredentials(Secret):
    """A merchant's pair."""

    object: Literal["api_credentials"] = "api_credentials"
    api_account_id: str
    api_auth_key: str
    previous_key_valid_until: datetime | None = ApiField(description="Until when the former key works beside it.")
