#!/bin/sh
# A PostgreSQL that copies the one at $PRIMARY once, and follows it from then on. A copy that was cut short is begun anew.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	until rm -rf "$PGDATA.copy" && pg_basebackup --dbname "$PRIMARY" --pgdata "$PGDATA.copy" \
		--write-recovery-conf --wal-method=stream --checkpoint=fast; do
		sleep 1
	done
	rm -rf "$PGDATA"
	mv "$PGDATA.copy" "$PGDATA"
fi
# Promoted, it goes on alone.
exec postgres -D "$PGDATA" -c listen_addresses='*' -c synchronous_standby_names= "$@"
