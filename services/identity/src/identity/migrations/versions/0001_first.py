"""Creates the first tables of identity."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from shared.postgres.migrations import create_base_tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_base_tables()
    _tenants()
    _users()
    _locations()
    _logins()
    _sessions()
    _refresh_tokens()
    _merchants()
    _api_keys()
    _audit_events()
    _signing_keys()


def downgrade() -> None:
    raise NotImplementedError("there is nothing before the first tables")


def _tenants() -> None:
    op.create_table(
        "tenants",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("test", sa.Boolean(), nullable=False),
        sa.Column("trial_days", sa.Integer(), nullable=True),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('active', 'suspended', 'closed')", name=op.f("ck_tenants_status")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("name_key", name=op.f("uq_tenants_name_key")),
    )


def _users() -> None:
    op.create_table(
        "users",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("permissions", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("sessions_valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind <> 'owner' OR (permissions = '{}' AND status <> 'disabled')", name=op.f("ck_users_owner")
        ),
        sa.CheckConstraint("kind IN ('owner', 'staff')", name=op.f("ck_users_kind")),
        sa.CheckConstraint("status IN ('invited', 'active', 'disabled')", name=op.f("ck_users_status")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_users_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
    )
    op.create_index("ix_users_owner", "users", ["tenant_id"], unique=True, postgresql_where=sa.text("kind = 'owner'"))
    op.create_index("ix_users_page", "users", ["tenant_id", "created_at", "user_id"])


def _locations() -> None:
    op.create_table(
        "locations",
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("reference_id", sa.Text(), nullable=True),
        sa.Column("address", postgresql.JSONB(), nullable=True),
        sa.Column("geo", postgresql.JSONB(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("type IN ('branch', 'warehouse')", name=op.f("ck_locations_type")),
        sa.CheckConstraint("active OR NOT is_default", name=op.f("ck_locations_default_active")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_locations_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("location_id", name=op.f("pk_locations")),
    )
    op.create_index(
        "ix_locations_default", "locations", ["tenant_id"], unique=True, postgresql_where=sa.text("is_default")
    )
    op.create_index("ix_locations_page", "locations", ["tenant_id", "created_at", "location_id"])
    op.create_index("ix_locations_reference_id", "locations", ["tenant_id", "reference_id"], unique=True)


def _logins() -> None:
    op.create_table(
        "logins",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("invitation_digest", sa.LargeBinary(), nullable=True),
        sa.Column("invitation_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('user', 'merchant')", name=op.f("ck_logins_kind")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_logins_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("tenant_id", "email_key", name=op.f("pk_logins")),
        sa.UniqueConstraint("invitation_digest", name=op.f("uq_logins_invitation_digest")),
        sa.UniqueConstraint("subject_id", name=op.f("uq_logins_subject_id")),
    )


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_sessions_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"])
    op.create_index(op.f("ix_sessions_subject_id"), "sessions", ["subject_id"])


def _refresh_tokens() -> None:
    op.create_table(
        "refresh_tokens",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["sessions.session_id"],
            name=op.f("fk_refresh_tokens_session_id_sessions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_refresh_tokens")),
    )
    op.create_index(op.f("ix_refresh_tokens_session_id"), "refresh_tokens", ["session_id"])


def _merchants() -> None:
    op.create_table(
        "merchants",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("business_name", sa.Text(), nullable=False),
        sa.Column("login_email", sa.Text(), nullable=False),
        sa.Column("contact_email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("address", postgresql.JSONB(), nullable=True),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("api_access", sa.Boolean(), nullable=False),
        sa.Column("location_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("default_location_id", sa.Uuid(), nullable=True),
        sa.Column("reference_id", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(), nullable=False),
        sa.Column("sessions_valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=True),
        sa.Column("key_hint", sa.Text(), nullable=True),
        sa.Column("key_digest", sa.Text(), nullable=True),
        sa.Column("key_pepper_version", sa.SmallInteger(), nullable=True),
        sa.Column("key_made_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("previous_key_digest", sa.Text(), nullable=True),
        sa.Column("previous_key_pepper_version", sa.SmallInteger(), nullable=True),
        sa.Column("previous_key_valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("NOT api_access OR (level = 2 AND status = 'active')", name=op.f("ck_merchants_api_access")),
        sa.CheckConstraint("status IN ('active', 'disabled')", name=op.f("ck_merchants_status")),
        sa.CheckConstraint(
            "NOT api_access OR (account_id IS NOT NULL AND sealed_key IS NOT NULL)", name=op.f("ck_merchants_pair")
        ),
        sa.CheckConstraint("cardinality(location_ids) > 0", name=op.f("ck_merchants_locations")),
        sa.CheckConstraint(
            "default_location_id IS NULL OR default_location_id = ANY (location_ids)",
            name=op.f("ck_merchants_default_location"),
        ),
        sa.CheckConstraint("level IN (1, 2)", name=op.f("ck_merchants_level")),
        sa.ForeignKeyConstraint(
            ["default_location_id"], ["locations.location_id"], name=op.f("fk_merchants_default_location_id_locations")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_merchants_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_merchants")),
    )
    op.create_index("ix_merchants_account_id", "merchants", ["account_id"], unique=True)
    op.create_index("ix_merchants_location_ids", "merchants", ["location_ids"], postgresql_using="gin")
    op.create_index("ix_merchants_page", "merchants", ["tenant_id", "created_at", "merchant_id"])
    op.create_index("ix_merchants_reference_id", "merchants", ["tenant_id", "reference_id"], unique=True)


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("pepper_version", sa.SmallInteger(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(kind = 'user_key') = (tenant_id IS NOT NULL AND user_id IS NOT NULL)", name=op.f("ck_api_keys_holder")
        ),
        sa.CheckConstraint("kind IN ('user_key', 'platform_key')", name=op.f("ck_api_keys_kind")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_api_keys_tenant_id_tenants")),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name=op.f("fk_api_keys_user_id_users")),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
    )
    op.create_index("ix_api_keys_page", "api_keys", ["tenant_id", "created_at", "key_id"])


def _audit_events() -> None:
    op.create_table(
        "audit_events",
        sa.Column("audit_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.Column("after", postgresql.JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("audit_id", name=op.f("pk_audit_events")),
    )
    op.create_index("ix_audit_events_actor", "audit_events", ["tenant_id", "actor", "created_at"])
    op.create_index("ix_audit_events_page", "audit_events", ["tenant_id", "created_at", "audit_id"])
    op.create_index("ix_audit_events_target", "audit_events", ["tenant_id", "target", "created_at"])


def _signing_keys() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sealed_private_key", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("signs_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_signing_keys")),
    )
