-- Signing keys count only with the proof of a root key: those of before wait until identity has published them again.
ALTER TABLE access_signing_keys ADD COLUMN proof TEXT;
