"""The table of users."""

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field

from identity.registry import Base
from shared.id_columns import TenantId, UserId
from shared.postgres.column_types import BigInt, Instant, Text, TextArray


class UserRow(Base, table=True):
    """An administrator. The log-in e-mail and the password are in `logins`."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("kind IN ('owner', 'staff')", name="kind"),
        CheckConstraint("language IN ('en', 'fr')", name="language"),
        CheckConstraint("status IN ('invited', 'active', 'disabled')", name="status"),
        # The permissions of an owner are computed: no stored value can reduce or outlive them.
        CheckConstraint("kind <> 'owner' OR (permissions = '{}' AND status <> 'disabled')", name="owner"),
        UniqueConstraint("user_id", "kind"),
        Index("ix_users_owner", "tenant_id", unique=True, postgresql_where=text("kind = 'owner'")),
        Index("ix_users_page", "tenant_id", "created_at", "user_id"),
        Index(
            "ix_users_search",
            text("array_to_tsvector(search_words)"),
            postgresql_using="gin",
            # Else each search would read what was written last, one by one.
            postgresql_with={"fastupdate": "off"},
        ),
        Index("ix_users_unsearchable", "tenant_id", postgresql_where=text("search_words IS NULL")),
    )

    user_id: UserId = Field(primary_key=True)
    tenant_id: TenantId = Field(foreign_key="tenants.tenant_id")
    version: BigInt
    kind: Text
    email: Text
    first_name: Text
    last_name: Text
    language: Text | None = None
    # The last answer of a mail server that refused mail to the address for good, until a mail is taken or the address changes.
    email_refused_at: Instant | None = None
    email_refusal: Text | None = None
    status: Text
    permissions: TextArray
    sessions_valid_from: Instant
    livemode: bool
    search_words: TextArray | None = None
    """Words by which it is found (`identity.search_words`); None: to be filled in."""
    created_at: Instant
    updated_at: Instant
