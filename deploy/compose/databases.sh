#!/bin/sh
# One database and one role for each service, true on every run. PGHOST, PGUSER and PGPASSWORD name the superuser;
# each role's password comes in as <SERVICE>_DATABASE_PASSWORD.
set -eu

make_database() {
    WAYBILL_ROLE_PASSWORD=$2 psql --no-psqlrc --quiet --no-password --dbname=postgres \
        --set=name="waybill_$1" --file=/waybill/database.sql
}

make_database identity "${IDENTITY_DATABASE_PASSWORD:?}"
make_database billing "${BILLING_DATABASE_PASSWORD:?}"
make_database jobs "${JOBS_DATABASE_PASSWORD:?}"
make_database webhooks "${WEBHOOKS_DATABASE_PASSWORD:?}"
# Each role may enter its own database only, not even those that come with a new server.
psql --no-psqlrc --quiet --no-password --dbname=postgres \
    --command='REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC'
