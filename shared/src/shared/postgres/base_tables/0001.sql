CREATE TABLE access_credentials (
    credential_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    kind TEXT NOT NULL,
    tenant_id UUID,
    subject_id UUID,
    active BOOLEAN NOT NULL,
    livemode BOOLEAN NOT NULL,
    scopes TEXT[] NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    digests JSONB NOT NULL,
    digest_values TEXT[] NOT NULL,
    CONSTRAINT pk_access_credentials PRIMARY KEY (credential_id)
);
CREATE INDEX ix_access_credentials_digest_values ON access_credentials USING gin (digest_values);
CREATE TABLE access_entitlements (
    tenant_id UUID NOT NULL,
    version BIGINT NOT NULL,
    status TEXT NOT NULL,
    trial_ends_at TIMESTAMP WITH TIME ZONE,
    access_until TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_access_entitlements PRIMARY KEY (tenant_id)
);
CREATE TABLE access_locations (
    location_id UUID NOT NULL,
    version BIGINT NOT NULL,
    tenant_id UUID NOT NULL,
    active BOOLEAN NOT NULL,
    is_default BOOLEAN NOT NULL,
    name TEXT NOT NULL,
    timezone TEXT NOT NULL,
    CONSTRAINT pk_access_locations PRIMARY KEY (location_id)
);
CREATE INDEX ix_access_locations_tenant_id ON access_locations (tenant_id);
CREATE TABLE access_signing_keys (
    key_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    public_key TEXT NOT NULL,
    retires_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_access_signing_keys PRIMARY KEY (key_id)
);
CREATE TABLE access_subjects (
    subject_id UUID NOT NULL,
    version BIGINT NOT NULL,
    tenant_id UUID NOT NULL,
    kind TEXT NOT NULL,
    active BOOLEAN NOT NULL,
    permissions TEXT[] NOT NULL,
    level INTEGER,
    api_access BOOLEAN NOT NULL,
    location_ids UUID[] NOT NULL,
    default_location_id UUID,
    sessions_valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_access_subjects PRIMARY KEY (subject_id)
);
CREATE TABLE access_tenants (
    tenant_id UUID NOT NULL,
    version BIGINT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    livemode BOOLEAN NOT NULL,
    CONSTRAINT pk_access_tenants PRIMARY KEY (tenant_id)
);
CREATE INDEX ix_access_tenants_name ON access_tenants (lower(name));
CREATE TABLE consumer_progress (
    consumer TEXT NOT NULL,
    topic TEXT NOT NULL,
    caught_up_at TIMESTAMP WITH TIME ZONE NOT NULL,
    lag BIGINT NOT NULL,
    CONSTRAINT pk_consumer_progress PRIMARY KEY (consumer, topic)
);
COMMENT ON COLUMN consumer_progress.caught_up_at IS 'Everything older has been handled.';
COMMENT ON COLUMN consumer_progress.lag IS 'Records not yet handled when last looked.';
CREATE TABLE idempotency_keys (
    scope BYTEA NOT NULL,
    fingerprint BYTEA NOT NULL,
    status SMALLINT NOT NULL,
    media_type TEXT,
    etag TEXT,
    sealed_body BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (scope)
);
CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);
CREATE TABLE inbox (
    consumer TEXT NOT NULL,
    event_id UUID NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_inbox PRIMARY KEY (consumer, event_id)
);
CREATE INDEX ix_inbox_received_at ON inbox (received_at);
CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    shard SMALLINT NOT NULL,
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    headers JSONB NOT NULL,
    value BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_outbox PRIMARY KEY (id)
);
COMMENT ON COLUMN outbox.headers IS '[[name, text], …]';
CREATE INDEX ix_outbox_shard_outbox_id ON outbox (shard, id);
CREATE TABLE outbox_shards (
    shard SMALLINT NOT NULL,
    CONSTRAINT pk_outbox_shards PRIMARY KEY (shard)
);
INSERT INTO outbox_shards (shard) SELECT generate_series(0, 15) ON CONFLICT DO NOTHING;
-- Rows live for milliseconds. Vacuum by count rather than by share of the table, give no space back (that would lock the table),
-- keep payloads in the row while they fit a page, and never spend time on compressing them.
ALTER TABLE outbox SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 1000,
    toast.vacuum_truncate = false, toast_tuple_target = 8000
);
ALTER TABLE outbox ALTER COLUMN value SET STORAGE EXTERNAL;
ALTER TABLE outbox_shards SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
