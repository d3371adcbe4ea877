#!/bin/sh
# Run once by postgres' image, when it has made the database: a standby may copy and follow it. Every commit waits for
# one, from the next start on; this one is ours alone, and there is none yet.
set -eu
psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set password="$STANDBY_PASSWORD" <<'SQL'
CREATE ROLE standby REPLICATION LOGIN PASSWORD :'password';
ALTER SYSTEM SET synchronous_standby_names = '*';
ALTER SYSTEM SET wal_keep_size = '1GB';
SQL
echo "host replication standby all scram-sha-256" >>"$PGDATA/pg_hba.conf"
