"""The table of tenants."""

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, false, text
from sqlalchemy import Text as TextType
from sqlmodel import Field

from identity.registry import Base
from identity.tenants.rules import RevealMode
from shared.id_columns import TenantId, UserId
from shared.postgres.column_types import BigInt, Instant, Text, TextArray


class TenantRow(Base, table=True):
    """A company that opens its platform to merchants."""

    __tablename__ = "tenants"
    __table_args__ = (
        CheckConstraint("status IN ('active', 'suspended', 'closed')", name="status"),
        CheckConstraint("owner_kind = 'owner'", name="owner_kind"),
        # With the unique index of owners: each tenant has exactly one owner, whatever writes. Checked at the commit, because the user
        # refers to the tenant, and both are created in one transaction.
        ForeignKeyConstraint(
            ["owner_id", "owner_kind"],
            ["users.user_id", "users.kind"],
            name="fk_tenants_owner_id_owner_kind_users",
            deferrable=True,
            initially="DEFERRED",
            use_alter=True,
        ),
        CheckConstraint("reveal IN ('step_up', 'once', 'off')", name="reveal"),
        CheckConstraint("second_factor IN ('optional', 'required')", name="second_factor"),
    )

    tenant_id: TenantId = Field(primary_key=True)
    version: BigInt
    name: Text
    name_key: Text = Field(unique=True)
    country: Text
    timezone: Text
    currency: Text
    status: Text
    test: bool
    trial_days: int | None
    job_review: bool = Field(sa_column_kwargs={"server_default": false()})
    reveal: RevealMode = Field(sa_type=TextType, sa_column_kwargs={"server_default": text("'step_up'")})
    second_factor: Text = Field(sa_column_kwargs={"server_default": text("'optional'")})
    # Null: what the operator's settings say.
    session_token_seconds: int | None = None
    session_days: int | None = None
    # The others are on, also those that come later.
    notices_off: TextArray = Field(sa_column_kwargs={"server_default": text("'{}'")})
    owner_id: UserId
    owner_kind: Text = Field(default="owner", sa_column_kwargs={"server_default": text("'owner'")})
    purged_at: Instant | None = None
    created_at: Instant
    updated_at: Instant
