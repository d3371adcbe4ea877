"""Users from another system, with the password hashes that it made.

A file is read in batches, each in one transaction with a handful of statements. A row whose
username exists already is that user: it stays as it is (with `update`: all but its password is
brought into line), so that an import that was cut off is simply run again. A row that names two
users at once, or is wrong in itself, is reported by its line, and the rest goes on.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from identity.authentication.passwords import kinds
from identity.authentication.passwords.hashing import PasswordHasher
from identity.cli.importing.reading import Bad, Lines, Record, Row, read_row, records
from identity.clock import utcnow
from identity.directory.access.table import Role
from identity.directory.subjects import Subject
from identity.directory.users import accounts
from identity.directory.users.table import LoginName, User, UserRole
from identity.errors import IdentityError
from identity.opaque import new_id
from identity.records import audit
from identity.records.audit import AuditEvent
from identity.store import Database
from identity.tokens.sessions import lifecycle

BATCH = 500


@dataclass(slots=True)
class Report:
    rows: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    differing: int = 0
    """Of those unchanged, how many are not as the file has them."""
    bad: int = 0

    def counts(self) -> list[tuple[str, int]]:
        return [(name, getattr(self, name)) for name in ("created", "updated", "unchanged", "bad")]


@dataclass(slots=True)
class Batch:
    """`position`: octets of the file read so far."""

    position: int
    bad: list[Bad]


class _Undo(Exception):
    """Leaves a transaction without keeping anything."""


@dataclass
class Import:
    """One import; `report` counts what `run` has done so far."""

    db: Database
    update: bool = False
    dry_run: bool = False
    report: Report = field(default_factory=Report)
    _seen: dict[str, int] = field(default_factory=dict)
    """Names that the file has used, and on which line."""
    _hasher: PasswordHasher = field(default_factory=lambda: PasswordHasher(12))

    def run(self, file: Path) -> Iterator[Batch]:
        """Import `file` batch by batch, as the caller asks for the next. `ValidationFailed` where
        it is no such file at all."""
        with file.open("rb") as raw:
            source = records(Lines(raw), file)
            while chunk := list(islice(source, BATCH)):
                bad: list[Bad] = []
                rows = [row for item in chunk if (row := self._right(item, bad))]
                self._store(rows, bad)
                self.report.rows += len(chunk)
                self.report.bad += len(bad)
                yield Batch(raw.tell(), sorted(bad, key=lambda one: one.line))

    def _right(self, item: Record | Bad, bad: list[Bad]) -> Row | None:
        row = item if isinstance(item, Bad) else read_row(*item, self._hasher)
        if isinstance(row, Bad):
            bad.append(row)
            return None
        for key in {row.key, row.email_key} - {None}:
            assert key is not None
            if key in self._seen:
                bad.append(Bad(row.line, f"line {self._seen[key]} has the name {key} already"))
                return None
        self._seen[row.key] = row.line
        if row.email_key:
            self._seen[row.email_key] = row.line
        return row

    def _store(self, rows: list[Row], bad: list[Bad]) -> None:
        """One transaction. A name that somebody takes meanwhile is seen when it is tried again."""
        for attempt in (1, 2, 3):
            outcome, found = Report(), list[Bad]()
            try:
                with suppress(_Undo), self.db.transaction() as session:
                    self._apply(session, rows, outcome, found)
                    if self.dry_run:
                        raise _Undo
                break
            except IntegrityError:
                if attempt == 3:
                    raise
        bad += found
        for name in ("created", "updated", "unchanged", "differing"):
            setattr(self.report, name, getattr(self.report, name) + getattr(outcome, name))

    def _apply(self, session: Session, rows: list[Row], outcome: Report, bad: list[Bad]) -> None:
        owners = _owners(session, rows)
        held = _roles_of(session, owners)
        roles = set(session.exec(select(Role.name)).all())
        fresh = []
        for row in rows:
            missing = [role for role in row.roles or () if role not in roles]
            owner = owners.get(row.key)
            other = owners.get(row.email_key) if row.email_key else None
            if missing:
                bad.append(Bad(row.line, f"no such role: {' '.join(missing)}"))
            elif owner is None and other is None:
                fresh.append(row)
            elif owner is None or owner.username != row.username:
                what = "e-mail address" if owner is None else "username"
                bad.append(Bad(row.line, f"the {what} belongs to another user"))
            elif other is not None and other is not owner:
                bad.append(Bad(row.line, "the e-mail address belongs to another user"))
            else:
                self._meet(session, owner, held[owner.id], row, outcome, bad)
        _insert(session, fresh)
        outcome.created += len(fresh)

    def _meet(
        self,
        session: Session,
        user: User,
        held: list[str],
        row: Row,
        outcome: Report,
        bad: list[Bad],
    ) -> None:
        """A user who exists."""
        fields = {
            name: value
            for name in ("email", "name", "email_verified")
            if (value := getattr(row, name)) is not None and value != getattr(user, name)
        }
        status = row.status if row.status not in (None, user.status) else None
        roles = row.roles if row.roles is not None and list(row.roles) != held else None
        if not fields and status is None and roles is None:
            outcome.unchanged += 1
        elif not self.update:
            outcome.unchanged += 1
            outcome.differing += 1
        else:
            try:
                with session.begin_nested():
                    _bring_into_line(session, user, fields, status, roles)
            except IdentityError as refusal:
                session.expire(user)
                bad.append(Bad(row.line, refusal.detail))
            else:
                outcome.updated += 1


def _bring_into_line(
    session: Session,
    user: User,
    fields: dict[str, Any],
    status: str | None,
    roles: tuple[str, ...] | None,
) -> None:
    if fields:
        accounts.update(session, user, fields, None)
    if roles is not None:
        accounts.set_roles(session, user, roles, None)
    if status is not None:
        accounts.set_status(session, user, status, None)
    if status == "disabled":
        lifecycle.end_all(session, "user disabled", user_id=user.id)


def _owners(session: Session, rows: list[Row]) -> dict[str, User]:
    """Login name → whose it is, of all names in `rows`."""
    keys = [key for row in rows for key in (row.key, row.email_key) if key]
    query = select(LoginName.name, User).join(User).where(col(LoginName.name).in_(keys))
    return dict(session.exec(query).all())


def _roles_of(session: Session, owners: Mapping[str, User]) -> dict[str, list[str]]:
    """User → its roles, in order."""
    ids = {user.id for user in owners.values()}
    query = select(UserRole.user_id, UserRole.role).where(col(UserRole.user_id).in_(ids))
    held: dict[str, list[str]] = defaultdict(list)
    for user_id, role in session.exec(query.order_by(UserRole.role)):
        held[user_id].append(role)
    return held


def _insert(session: Session, rows: list[Row]) -> None:
    if not rows:
        return
    now = utcnow()
    users, logins, roles, events = [], [], [], []
    for row in rows:
        user_id = new_id()
        users.append(
            {
                "id": user_id,
                "username": row.username,
                "email": row.email,
                "email_verified": bool(row.email_verified),
                "name": row.name,
                "status": row.status or "active",
                "password_hash": row.password_hash,
                "must_change_password": False,
                "password_expires_at": None,
                "version": 1,
                "created_at": now,
                "updated_at": now,
            }
        )
        logins += [
            {"name": key, "user_id": user_id}
            for key in dict.fromkeys((row.key, row.email_key))
            if key
        ]
        roles += [{"user_id": user_id, "role": role} for role in row.roles or ()]
        created: dict[str, Any] = {"username": row.username, "roles": row.roles, "imported": True}
        events.append(audit.event("user.created", subject=user_id, **created))
    kinds.note(session, *(row.password_hash for row in rows))
    subjects = [{"id": user["id"], "type": "user"} for user in users]
    tables = ((Subject, subjects), (User, users), (LoginName, logins), (UserRole, roles))
    for model, values in tables:
        if values:
            session.execute(insert(model), values)
    session.execute(insert(AuditEvent), events)
