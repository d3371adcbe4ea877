"""Many users at once: from another system, with the password hashes that it made, or new ones.

A file is read in batches, each in one transaction with a handful of statements. A row whose
username exists already is that user: it stays as it is (with `update`: all but its password is
brought into line), so that an import that was cut off is simply run again. A row that names two
users at once, or is wrong in itself, is reported by its line, and the rest goes on.
"""

import gzip
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import field, replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from identity.authentication.passwords.hashing import PasswordHasher
from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.directory.access.authority import Held, beyond_roles
from identity.directory.access.table import Role
from identity.directory.users import accounts
from identity.directory.users.table import LoginName, User, UserRole
from identity.errors import IdentityError
from identity.service.importing.inserting import insert_all
from identity.service.importing.reading import Lines, Record, records
from identity.service.importing.rows import Bad, Row, read_row
from identity.store import Database
from identity.tokens.sessions import lifecycle

BATCH = 500
BATCH_HASHED = 20
"""Where each row takes the time of a hash: what was printed is lost with no more than these."""


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
    passwords: list[tuple[str, str]]
    """Username and one-time password of those who were made with one."""


class _Undo(Exception):
    """Leaves a transaction without keeping anything."""


@dataclass()
class Import:
    """One import; `report` counts what `run` has done so far.

    `make_password`: new users whose row has no hash get a one-time password of its making.
    """

    db: Database
    update: bool = False
    dry_run: bool = False
    without_roles: bool = False
    rounds: int = 12
    make_password: Callable[[], str] | None = None
    one_time: timedelta = timedelta(hours=24)
    """For how long such a password is good."""
    held: Held = None
    """What whoever imports may hand out; rows that take more are bad ones."""
    report: Report = field(default_factory=Report)
    _seen: dict[str, int] = field(default_factory=dict)
    """Names that the file has used, and on which line."""
    _created: set[str] = field(default_factory=set)
    """Keys of whom the latest batch has created."""

    def __post_init__(self) -> None:
        self._hasher = PasswordHasher(self.rounds)

    def run(
        self, file: Path, form: str | None = None, parameters: str | None = None
    ) -> Iterator[Batch]:
        """Import `file` batch by batch, as the caller asks for the next; `form` and `parameters`
        as in `records`. `ValidationFailed` where it is no such file at all."""
        size = BATCH_HASHED if self.make_password else BATCH
        with file.open("rb") as raw, _unpacked(raw, file) as plain:
            source = records(Lines(plain), file, form, parameters)
            while chunk := list(islice(source, size)):
                bad: list[Bad] = []
                rows = [row for item in chunk if (row := self._right(item, bad))]
                rows, passwords = self._with_passwords(rows)
                self._store(rows, bad)
                self.report.rows += len(chunk)
                self.report.bad += len(bad)
                handed = [(r.username, passwords[r.key]) for r in rows
                          if r.key in passwords and r.key in self._created]  # fmt: skip
                yield Batch(raw.tell(), sorted(bad, key=lambda one: one.line), handed)

    def _with_passwords(self, rows: list[Row]) -> tuple[list[Row], dict[str, str]]:
        """Hashed before the transaction, in which everybody else would wait."""
        if self.make_password is None:
            return rows, {}
        with self.db.transaction() as session:
            owners = _owners(session, rows)
        ready, passwords = [], {}
        for row in rows:
            if row.password_hash is None and owners.keys().isdisjoint((row.key, row.email_key)):
                passwords[row.key] = password = self.make_password()
                hashed = self._hasher.hash(password)
                row = replace(
                    row, password_hash=hashed, must_change=True,
                    password_expires_at=utcnow() + self.one_time,
                )  # fmt: skip
            ready.append(row)
        return ready, passwords

    def _right(self, item: Record | Bad, bad: list[Bad]) -> Row | None:
        row = item if isinstance(item, Bad) else read_row(*item, self._hasher)
        if isinstance(row, Bad):
            bad.append(row)
            return None
        if self.without_roles:
            row = replace(row, roles=None)
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
        beyond = set(beyond_roles(session, self.held))
        fresh = []
        for row in sorted(rows, key=lambda row: row.key):  # two imports at once take turns
            missing = [role for role in row.roles or () if role not in roles]
            owner = owners.get(row.key)
            other = owners.get(row.email_key) if row.email_key else None
            if missing:
                bad.append(Bad(row.line, f"no such role: {' '.join(missing)}"))
            elif owner is None and (over := beyond.intersection(row.roles or ())):
                words = f"you cannot give what you do not hold: {' '.join(sorted(over))}"
                bad.append(Bad(row.line, words))
            elif owner is None and other is None:
                fresh.append(row)
            elif owner is None or owner.username != row.username:
                what = "e-mail address" if owner is None else "username"
                bad.append(Bad(row.line, f"the {what} belongs to another user"))
            elif other is not None and other is not owner:
                bad.append(Bad(row.line, "the e-mail address belongs to another user"))
            else:
                self._meet(session, owner, held[owner.id], row, outcome, bad)
        insert_all(session, sorted(fresh, key=lambda row: row.line))
        outcome.created += len(fresh)
        self._created = {row.key for row in fresh}

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
        said = {name: getattr(row, name) for name in ("email", "name", "email_verified")}
        said |= row.known
        fields = {n: v for n, v in said.items() if v is not None and v != getattr(user, n)}
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
                    _bring_into_line(session, user, fields, status, roles, self.held)
            except IdentityError as refusal:
                session.expire(user)
                bad.append(Bad(row.line, refusal.detail))
            else:
                outcome.updated += 1


def _unpacked(raw: BinaryIO, file: Path) -> AbstractContextManager[Iterable[bytes]]:
    return gzip.GzipFile(fileobj=raw) if file.suffix.lower() == ".gz" else nullcontext(raw)


def _bring_into_line(
    session: Session,
    user: User,
    fields: dict[str, Any],
    status: str | None,
    roles: tuple[str, ...] | None,
    held: Held,
) -> None:
    if fields:
        accounts.update(session, user, fields, held)
    if roles is not None:
        accounts.set_roles(session, user, roles, held)
    if status is not None:
        accounts.set_status(session, user, status, held)
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
