"""What is done to the service, and what it promises: the rows of `make faults`."""

from tests.faults import (
    asking,
    clocks,
    cut_off,
    enduring,
    files,
    hostile,
    keeping,
    killing,
    migrating,
    postgresql,
    proxies,
    racing,
    reading_only,
    rolling,
    rotating,
    stages,
    workers,
)
from tests.trials.row import Row

SQLITE, POSTGRESQL = ("sqlite",), ("postgresql",)
SAID = "503 with Retry-After within 4 s, no other failure, no wrong answer, no session lost"

ROWS = (
    Row(
        "killed",
        "`kill -9` at a random instant of rotation, revocation, disabling, redemption of a code, "
        "logout delivery and mail: what was acknowledged is so, the rest happened whole or not at "
        "all; audit, feed and status lists agree; deliveries go on",
        killing.doomed, killing.killed_at_any_moment, 1_000,
    ),
    Row(
        "refreshed at once",
        "16 uses of one refresh token over two processes: one lineage is alive",
        stages.pair, racing.sixteen_uses, 2_000, each=10,
    ),
    Row(
        "redeemed at once",
        "16 uses of one code over two processes: one wins, the others end what it got",
        stages.pair, racing.sixteen_redemptions, 2_000, each=10,
    ),
    Row(
        "refresh against the end",
        "two refreshes and, at the same moment, revocation, disabling, change of password or "
        "withdrawal of consent: nothing survives, no 5xx",
        stages.pair, racing.refresh_against_any, 2_000, each=10,
    ),
    Row(
        "asked elsewhere",
        "revoked at one process, the other is asked at once: never stale; a sibling that follows "
        "the feed has heard within 5 s",
        asking.asked, asking.stale_after_a_revocation, 10_000, each=100,
    ),
    Row(
        "worker killed",
        "one worker of two is killed: its clients are cut within 1 s, the other's are not, new "
        "connections are answered all the while, two serve again within 2 s",
        workers.two_workers, workers.one_of_two_killed, 100, goal=workers.SUCCEEDED,
    ),
    Row(
        "eight rotate",
        "eight processes rotate and then revoke the signing key at once: one key, published before "
        "it signs",
        rotating.contest, rotating.eight_rotate, 500,
    ),
    Row(
        "clocks",
        "clocks are off by up to 28 s from one another and stepped back: nothing ends early; by an "
        "hour: nothing used or ended is good again",
        clocks.clocks, clocks.stepped_back, 100,
    ),
    Row(
        "PostgreSQL restarted", f"SIGQUIT and a new start: {SAID}",
        postgresql.mortal, postgresql.restarted, 100, databases=POSTGRESQL, goal=1.0,
    ),
    Row(
        "PostgreSQL frozen", f"SIGSTOP for up to 6 s: {SAID}",
        postgresql.mortal, postgresql.frozen, 100, databases=POSTGRESQL, goal=1.0,
    ),
    Row(
        "PostgreSQL cut off",
        f"every packet is dropped for up to 12 s, in a network of its own: {SAID}; a second "
        "passes until Linux tries to connect again",
        cut_off.at_the_end_of_a_wire, cut_off.cut_off, 100, databases=POSTGRESQL, goal=2.0,
        lacking=cut_off.lacking,
    ),
    Row(
        "PostgreSQL's backends terminated", f"all of them, again and again: {SAID}",
        postgresql.mortal, postgresql.terminated, 100, databases=POSTGRESQL, goal=1.0,
    ),
    Row(
        "PostgreSQL exhausted", f"others hold all connections: {SAID}",
        postgresql.mortal, postgresql.exhausted, 100, databases=POSTGRESQL, goal=1.0,
    ),
    Row(
        "PostgreSQL read-only", f"as before a switchover: {SAID}",
        postgresql.mortal, postgresql.read_only, 100, databases=POSTGRESQL, goal=1.0,
    ),
    Row(
        "SQLite full", f"its disk is full: {SAID}; introspection goes on; the file is whole",
        files.on_a_small_disk, files.full, 50, databases=SQLITE, goal=1.0,
        lacking=files.no_mounts,
    ),
    Row(
        "SQLite read-only",
        f"its file system turns so, as after an error of the disk: {SAID}; introspection goes on; "
        "once it is repaired, nothing acknowledged is lost",
        reading_only.on_ext4, reading_only.turned, 50, databases=SQLITE,
        lacking=reading_only.lacking,
    ),
    Row(
        "SQLite locked", f"another process writes for up to 7 s: {SAID}; introspection goes on; "
        "the file is whole",
        files.on_file, files.locked, 50, databases=SQLITE, goal=1.0,
    ),
    Row(
        "SQLite replaced",
        "another file in its place, or its log deleted: 503, exit 1; its successor serves what is "
        "there, and nothing acknowledged is lost with a log",
        files.on_file, files.another_file, 50, databases=SQLITE,
    ),
    Row(
        "rolling restart",
        "SIGTERM to one server after the other behind HAProxy, under load: no request fails",
        rolling.behind_haproxy, rolling.one_after_the_other, 50, lacking=proxies.no_haproxy,
    ),
    Row(
        "rolling restart behind nginx",
        "the same behind nginx, which asks nobody whether they are ready: no request fails",
        rolling.behind_nginx, rolling.one_after_the_other, 50, lacking=proxies.no_nginx,
    ),
    Row(
        "upgrade",
        "two servers of the version before, on its database: the schema is expanded, and one after "
        "the other is replaced behind HAProxy, under load: no request fails",
        rolling.version_before, rolling.upgraded, 50, databases=POSTGRESQL,
        lacking=proxies.no_haproxy,
    ),
    Row(
        "migration killed",
        "at each of its statements, before it or after it: a second one finishes",
        migrating.migrations, migrating.killed_at_a_statement, 440,
    ),
    Row(
        "hostile load",
        "1,000 invalid tokens, 300 idle connections, slow readers and writers, among valid "
        "requests: those are answered within 1 s; memory +5 % at most, no file left open",
        hostile.besieged, hostile.stays_the_same, 1_000,
    ),
    Row(
        "an hour of it",
        "the same for an hour, with 10,000 idle connections and a million invalid tokens; valid "
        "requests are answered within 1 s; memory +5 % at most, no file left open",
        enduring.siege, enduring.an_hour, 1, lacking=enduring.lacking,
    ),
    Row(
        "housekeeping",
        "a million rows of each of five kinds expire at once: until all are forgotten, the p99 of "
        "refreshes is at most 3 times what it was",
        keeping.laden, keeping.forgotten, 1,
    ),
    Row(
        "backup",
        "`identity backup` copies a hundred thousand sessions: the p99 of a refresh is at most 3 "
        "times what it was",
        keeping.copied, keeping.backed_up, 10, databases=SQLITE,
    ),
)  # fmt: skip
