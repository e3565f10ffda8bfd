#!/bin/sh
# One database and one role for each service, true on every run. PGHOST and PGUSER name the superuser; its password and those of the
# roles are files in /run/waybill.
set -eu
PGPASSWORD=$(cat /run/waybill/PGPASSWORD)
export PGPASSWORD

make_database() {
    WAYBILL_ROLE_PASSWORD=$2 psql --no-psqlrc --quiet --no-password --dbname=postgres \
        --set=name="waybill_$1" --file=/waybill/database.sql
}

make_database identity "$(cat /run/waybill/IDENTITY_DATABASE_PASSWORD)"
make_database billing "$(cat /run/waybill/BILLING_DATABASE_PASSWORD)"
make_database jobs "$(cat /run/waybill/JOBS_DATABASE_PASSWORD)"
make_database webhooks "$(cat /run/waybill/WEBHOOKS_DATABASE_PASSWORD)"
make_database console "$(cat /run/waybill/CONSOLE_DATABASE_PASSWORD)"
# Each role may enter its own database only, not even those that come with a new server.
psql --no-psqlrc --quiet --no-password --dbname=postgres \
    --command='REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC'
