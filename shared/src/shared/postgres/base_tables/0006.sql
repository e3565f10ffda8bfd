-- What a service needs to know of a tenant's plan, and by which clock the tenant lives.
ALTER TABLE access_entitlements
    ADD COLUMN plan TEXT,
    ADD COLUMN features JSONB DEFAULT '{}' NOT NULL,
    ADD COLUMN clock_offset INTERVAL DEFAULT '0' NOT NULL;
-- No access decision needs it: the jobs service keeps it for itself.
ALTER TABLE access_tenants DROP COLUMN job_review;
