"""The table of merchants, with their API credentials."""

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from identity.registry import Base
from shared.id_columns import AccountId, LocationId, LocationIdArray, MerchantId, TenantId
from shared.postgres.column_types import BigInt, Instant, Json, SmallInt, Text, TextArray


class MerchantRow(Base, table=True):
    """A merchant with its API credentials: one aggregate, one version."""

    __tablename__ = "merchants"
    __table_args__ = (
        CheckConstraint("level IN (1, 2)", name="level"),
        CheckConstraint("language IN ('en', 'fr')", name="language"),
        CheckConstraint("status IN ('active', 'disabled')", name="status"),
        CheckConstraint("NOT api_access OR (level = 2 AND status = 'active')", name="api_access"),
        CheckConstraint("NOT api_access OR (account_id IS NOT NULL AND key_digest IS NOT NULL)", name="pair"),
        CheckConstraint("cardinality(location_ids) > 0", name="locations"),
        CheckConstraint(
            "default_location_id IS NULL OR default_location_id = ANY (location_ids)", name="default_location"
        ),
        Index("ix_merchants_reference_id", "tenant_id", "reference_id", unique=True),
        Index("ix_merchants_page", "tenant_id", "created_at", "merchant_id"),
        Index(
            "ix_merchants_search",
            text("array_to_tsvector(search_words)"),
            postgresql_using="gin",
            # Else each search would read what was written last, one by one.
            postgresql_with={"fastupdate": "off"},
        ),
        Index("ix_merchants_unsearchable", "tenant_id", postgresql_where=text("search_words IS NULL")),
        Index("ix_merchants_account_id", "account_id", unique=True),
        Index("ix_merchants_location_ids", "location_ids", postgresql_using="gin"),
    )

    merchant_id: MerchantId = Field(primary_key=True)
    tenant_id: TenantId = Field(foreign_key="tenants.tenant_id")
    version: BigInt
    business_name: Text
    login_email: Text
    language: Text | None = None
    # The last answer of a mail server that refused mail to the address for good, until a mail is taken or the address changes.
    email_refused_at: Instant | None = None
    email_refusal: Text | None = None
    contact_email: Text | None
    phone: Text | None
    address: Json | None
    level: int
    status: Text
    api_access: bool
    location_ids: LocationIdArray
    default_location_id: LocationId | None = Field(foreign_key="locations.location_id")
    reference_id: Text | None
    details: dict[str, str] = Field(sa_type=JSONB, sa_column_kwargs={"name": "metadata"})
    sessions_valid_from: Instant
    livemode: bool
    search_words: TextArray | None = None
    """Words by which it is found (`identity.search_words`); None: to be filled in."""

    # API credentials. The account id never changes. Key and digest are those of the latest grant or rotation; the encrypted key is
    # deleted when API access ends, and stored only if the tenant lets merchants reveal it.
    account_id: AccountId | None = None
    sealed_key: bytes | None = None
    key_hint: Text | None = None
    key_digest: Text | None = None
    key_pepper_version: SmallInt | None = None
    key_made_at: Instant | None = None
    previous_key_digest: Text | None = None
    previous_key_pepper_version: SmallInt | None = None
    previous_key_valid_until: Instant | None = None
    previous_key_used_at: Instant | None = None
    last_used_at: Instant | None = None

    created_at: Instant
    updated_at: Instant
