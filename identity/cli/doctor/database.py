"""What `identity doctor` looks at in the database, and beside it."""

import os
import stat
import time
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import cast, literal, text
from sqlmodel import Session, func, select

from identity.authentication.passwords.hashing import PasswordHasher
from identity.cli.doctor.outbox import examine_blocks, examine_mails, examine_outbox
from identity.cli.doctor.passkeys import examine_passkeys
from identity.cli.frame import Operation, sqlite_path
from identity.clock import utcnow
from identity.directory import subjects
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.keys import master
from identity.keys.table import SigningKey
from identity.records.audit import AuditEvent
from identity.service import warnings
from identity.service.findings import Finding, Findings
from identity.settings import SettingsError
from identity.store import contracting, migrating, moments
from identity.store.table import XID, Change, Xid8

APART = 5.0
"""Seconds by which two clocks may differ; tokens have no more leeway than thirty."""
LONG_OPEN = 300.0
"""Seconds after which a transaction that is still open is worth a word."""

_OLDEST = """
SELECT (SELECT xip::text FROM pg_snapshot_xip(pg_current_snapshot()) xip ORDER BY xip LIMIT 1), (
    SELECT coalesce(extract(epoch FROM max(clock_timestamp() - began)), 0) FROM (
        SELECT xact_start AS began FROM pg_stat_activity
        WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
        UNION ALL SELECT prepared FROM pg_prepared_xacts) open)"""


def examine_database(operation: Operation) -> Findings:
    began = time.perf_counter()
    with operation.look() as session:
        session.execute(text("SELECT 1"))
        took = (time.perf_counter() - began) * 1000
        yield Finding("ok", "database", f"{operation.db.address} answers in {took:.0f} ms")
        yield from _storage(operation, session)
        try:
            migrating.check(session)
        except SettingsError as error:
            yield Finding("problem", "schema", str(error), "run `identity migrate`")
            return
        yield Finding("ok", "schema", f"at {migrating.current(session.connection())}")
        checks: tuple[Callable[[Operation, Session], Findings], ...] = (
            _replication, _older, _writers, _clock, _master_key, _signing_keys, _users, _subjects,
            _audit, examine_outbox, examine_mails, examine_blocks, examine_passkeys,
        )  # fmt: skip
        for check in checks:
            yield from check(operation, session)


def _signing_keys(operation: Operation, session: Session) -> Findings:
    return warnings.signing_keys(operation.settings, session)


def _audit(operation: Operation, session: Session) -> Findings:
    return warnings.sealing(operation.settings, session)


def _storage(operation: Operation, session: Session) -> Findings:
    path = sqlite_path(operation.settings)
    if path is not None:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield Finding(
                "problem", "database", f"{path} holds password hashes, and others may use it "
                f"(mode {mode:04o})", f"chmod 600 {path}",
            )  # fmt: skip
        if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
            yield Finding(
                "problem", "database", f"{path} or its folder is not writable for this user",
                f"run as its owner, or chown {path.parent} and what is in it",
            )  # fmt: skip
        return
    allowed = int(session.execute(text("SHOW max_connections")).scalar_one())
    settings = operation.settings
    wanted = settings.server.workers * (settings.database.database_pool + 1)
    if wanted > allowed - 5:
        yield Finding(
            "problem", "pool", f"this machine may open {wanted} connections, the database takes "
            f"{allowed}", "lower IDENTITY_DATABASE_POOL or raise max_connections",
        )  # fmt: skip
    else:
        yield Finding("ok", "pool", f"{wanted} of {allowed} connections at the most")


def _replication(operation: Operation, session: Session) -> Findings:
    """Which history this is, and whether a failover can lose what was committed."""
    if operation.db.dialect != "postgresql":
        return
    history = operation.db.histories.current
    names, commit = session.execute(text(
        "SELECT current_setting('synchronous_standby_names'), current_setting('synchronous_commit')"
    )).one()  # fmt: skip
    standbys, synchronous = session.execute(text(
        "SELECT count(*), count(*) FILTER (WHERE sync_state IN ('sync', 'quorum'))"
        " FROM pg_stat_replication"
    )).one()  # fmt: skip
    where = f"timeline {history.timeline}, " if history else ""
    if names and commit == "local":
        yield Finding(
            "problem", "replication", f"{where}synchronous_commit=local waits for no standby: a "
            "failover may lose what was revoked", "take the setting out",
        )  # fmt: skip
    elif names:
        yield Finding("ok", "replication", f"{where}synchronous, {synchronous} of {standbys} "
                      "standbys are waited for")  # fmt: skip
    elif standbys:
        yield Finding(
            "note", "replication", f"{where}asynchronous: a failover may lose what was revoked in "
            "the moment before", "set synchronous_standby_names where that must not be",
        )  # fmt: skip
    else:
        yield Finding("ok", "replication", f"{where}no standby is connected")


def _older(operation: Operation, session: Session) -> Findings:
    """Whether writers still take turns for a version that reads the change feed by id."""
    if operation.db.dialect == "postgresql" and contracting.expanded(session.connection()):
        yield Finding(
            "note", "change feed", "writers take turns, for versions that read it by id may run",
            "once none does: identity migrate --contract",
        )  # fmt: skip


def _writers(operation: Operation, session: Session) -> Findings:
    """Transactions that stay open beneath later ones have followers of the revocations told
    things twice."""
    if operation.db.dialect != "postgresql":
        return
    oldest, seconds = session.execute(text(_OLDEST)).one()
    if oldest is None:
        yield Finding("ok", "change feed", "no writer is open beneath the newest change")
        return
    later = select(func.count()).select_from(Change).where(cast(literal(oldest), Xid8) <= XID)
    above = session.exec(later).one()
    words = f"the oldest open writer has been at it for {seconds:.0f} s, {above} changes since"
    if seconds > LONG_OPEN:
        yield Finding("note", "change feed", words, "pg_stat_activity and pg_prepared_xacts say "
                      "whose it is")  # fmt: skip
    else:
        yield Finding("ok", "change feed", words)


def _clock(operation: Operation, session: Session) -> Findings:
    if operation.db.dialect == "postgresql":
        before = utcnow()
        theirs = moments.database_time(session)
        apart = (theirs - (before + (utcnow() - before) / 2)).total_seconds()
        if abs(apart) > APART:
            yield Finding(
                "problem", "clock", f"the database's is {apart:+.1f} s off ours",
                "let NTP set both clocks",
            )  # fmt: skip
            return
        yield Finding("ok", "clock", f"{apart * 1000:+.0f} ms off the database's")
    newest: list[datetime | None] = [
        session.exec(select(func.max(Change.at))).one(),
        session.exec(select(func.max(AuditEvent.at))).one(),
    ]
    latest = [moment for moment in newest if moment is not None]
    ahead = max((moment - utcnow()).total_seconds() for moment in latest) if latest else 0.0
    if ahead > APART:
        yield Finding(
            "problem", "clock", f"the database knows of things {ahead:.0f} s in the future",
            "let NTP set the clock of every machine that uses it",
        )  # fmt: skip
    elif operation.db.dialect == "sqlite":
        yield Finding("ok", "clock", "not behind what the database has seen")


def _master_key(operation: Operation, session: Session) -> Findings:
    keys = operation.settings.keys
    file = keys.keys_dir / master.FILE
    if keys.master_key is None and not os.path.lexists(file):
        made = session.exec(select(SigningKey.kid).limit(1)).first()
        if made is None:
            yield Finding("note", "master key", f"{file} will be made at the first start")
        else:
            yield Finding(
                "problem", "master key", f"{file} is missing", "restore it from its backup"
            )
        return
    try:
        key = operation.master(session)
    except SettingsError as error:
        yield Finding("problem", "master key", str(error), "restore it, or correct its mode")
        return
    old = len(key.derive_all("audit")) - 1
    yield Finding("ok", "master key", f"{key.source} decrypts what the database holds")
    if old:
        yield Finding(
            "note", "master key", f"{old} old besides the newest",
            "once every replica runs with the new one: identity keys rotate-master --drop-old",
        )  # fmt: skip


def _users(operation: Operation, session: Session) -> Findings:
    count = session.exec(select(func.count()).select_from(User)).one()
    if not count:
        yield Finding("note", "users", "none yet; the first start makes one")
        return
    for finding in warnings.administrators(operation.settings, session):
        counted = f"{count}, {finding.words}" if finding.level == "ok" else finding.words
        yield finding._replace(words=counted)
    yield from warnings.administrators_factor(operation.settings, session)
    yield from warnings.demonstration(operation.settings, session)
    bootstrap = operation.settings.bootstrap
    given = bootstrap.bootstrap_admin_password
    first = accounts.find_by_login(session, bootstrap.bootstrap_admin_username)
    if given is None or first is None or first.password_hash is None:
        return
    hasher = PasswordHasher(operation.settings.passwords.bcrypt_rounds)
    if hasher.verify(given.get_secret_value(), first.password_hash).ok:
        yield Finding(
            "problem", "users", f"{first.username} still has the password of "
            "IDENTITY_BOOTSTRAP_ADMIN_PASSWORD, which others may read there",
            f"identity users set-password {first.username}, and take the setting out",
        )  # fmt: skip


def _subjects(operation: Operation, session: Session) -> Findings:
    for client_id in subjects.shared(session):
        yield Finding(
            "problem", "clients", f"{client_id} is, or was, also the id of a user: a service that "
            "goes by `sub` takes one for the other",
            "register the client under another id, then `identity clients delete "
            f"{client_id}`",
        )  # fmt: skip
