-- One service's database and the one role that may enter it. Run by psql as a superuser, any number of times:
--   WAYBILL_ROLE_PASSWORD=… psql --set=name=waybill_jobs --file=database.sql URL
-- The role owns the database, so that it can migrate it, and may do nothing outside it.
\set ON_ERROR_STOP on
\getenv password WAYBILL_ROLE_PASSWORD
SET client_min_messages = warning;

SELECT format('CREATE ROLE %I', :'name')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" LOGIN PASSWORD :'password';

SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
-- PUBLIC holds CONNECT on every new database: without this line each role could enter all of them.
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;

\connect :"name"
SET client_min_messages = warning;
-- Made here by the superuser, so that no migration needs more than its own database.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gin;
CREATE EXTENSION IF NOT EXISTS citext;
