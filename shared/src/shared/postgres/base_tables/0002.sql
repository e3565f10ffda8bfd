-- The default stays: replicas of the release before write tenants without this column while the new ones start.
ALTER TABLE access_tenants ADD COLUMN job_review BOOLEAN DEFAULT false NOT NULL;
