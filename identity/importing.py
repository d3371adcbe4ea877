"""Users from another system, with the password hashes that it made.

A file is read in batches, each in one transaction with a handful of statements. A row whose
username exists already is that user: it stays as it is (with `update`: all but its password is
brought into line), so that an import that was cut off is simply run again. A row that names two
users at once, or is wrong in itself, is reported by its line, and the rest goes on.
"""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from unicodedata import category

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from identity import audit
from identity.access.table import Role
from identity.audit import AuditEvent
from identity.clock import utcnow
from identity.db import Database
from identity.errors import IdentityError, ValidationFailed
from identity.opaque import new_id
from identity.passwords.hashing import PasswordHasher
from identity.sessions import lifecycle
from identity.users import accounts, names
from identity.users.table import LoginName, User, UserRole

BATCH = 500
COLUMNS = frozenset(
    ("username", "email", "name", "password_hash", "roles", "status", "email_verified")
)
LONGEST_NAME = 200
_SURROGATES = re.compile("[\ud800-\udfff]")
_PLAIN_NAME = re.compile("[!-~]+")
_TRUE, _FALSE = ("true", "1", "yes", "t", "y"), ("false", "0", "no", "f", "n")
_PLAIN = (
    "holds plain passwords, which are never imported: give password_hash, or leave passwords out "
    "and set them with `identity users set-password`"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A row that is right in itself. None, or no roles: the file does not say."""

    line: int
    username: str
    key: str
    email: str | None
    email_key: str | None
    name: str | None
    password_hash: str | None
    roles: tuple[str, ...] | None
    status: str | None
    email_verified: bool | None


@dataclass(frozen=True, slots=True)
class Bad:
    line: int
    reason: str


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
            text = _Text(raw)
            source = _csv(text) if file.suffix.lower() == ".csv" else _jsonl(text, file)
            while chunk := list(islice(source, BATCH)):
                bad: list[Bad] = []
                rows = [row for item in chunk if (row := self._right(item, bad))]
                self._store(rows, bad)
                self.report.rows += len(chunk)
                self.report.bad += len(bad)
                yield Batch(raw.tell(), sorted(bad, key=lambda one: one.line))

    def _right(self, item: "tuple[int, Mapping[str, Any]] | Bad", bad: list[Bad]) -> Row | None:
        if isinstance(item, Bad):
            bad.append(item)
            return None
        line, members = item
        try:
            row = _row(line, members, self._hasher)
        except ValidationFailed as mistake:
            bad.append(Bad(line, _words(mistake)))
            return None
        for key in {row.key, row.email_key} - {None}:
            assert key is not None
            if key in self._seen:
                bad.append(Bad(line, f"line {self._seen[key]} has the name {key} already"))
                return None
        self._seen[row.key] = line
        if row.email_key:
            self._seen[row.email_key] = line
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
    for model, values in ((User, users), (LoginName, logins), (UserRole, roles)):
        if values:
            session.execute(insert(model), values)
    session.execute(insert(AuditEvent), events)


# --- Reading --------------------------------------------------------------------------------


class _Text:
    """Lines of UTF-8, a broken octet as a lone surrogate, and which line comes next."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.line = 0

    def __iter__(self) -> Iterator[str]:
        for octets in self._raw:
            self.line += 1
            text = octets.decode("utf-8", "surrogateescape")
            yield text.removeprefix("\ufeff") if self.line == 1 else text


def _csv(text: _Text) -> Iterator[tuple[int, Mapping[str, Any]] | Bad]:
    reader = csv.reader(iter(text), strict=True)
    header: list[str] = []
    while True:
        line = text.line + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if not header:
                raise ValidationFailed([("/file", f"the first line is no CSV: {error}")]) from None
            yield Bad(line, f"is no CSV: {error}")
            continue
        if not header:
            header = _checked_header([cell.strip().lower() for cell in cells])
        elif len(cells) > len(header):
            yield Bad(line, f"has {len(cells)} fields, the first line names {len(header)}")
        elif any(cells):
            yield line, {name: cell for name, cell in zip(header, cells) if cell}  # noqa: B905
    if not header:
        raise ValidationFailed([("/file", "the file is empty")])


def _checked_header(header: list[str]) -> list[str]:
    wrong = None
    if "password" in header:
        wrong = f"the column password {_PLAIN}"
    elif "username" not in header:
        wrong = "the first line must name the columns, separated by commas, username among them"
    elif len(set(header)) != len(header):
        wrong = "the first line names a column twice"
    elif unknown := sorted(set(header) - COLUMNS):
        wrong = f"unknown column {', '.join(unknown)}; known are {', '.join(sorted(COLUMNS))}"
    if wrong:
        raise ValidationFailed([("/file", wrong)])
    return header


def _jsonl(text: _Text, file: Path) -> Iterator[tuple[int, Mapping[str, Any]] | Bad]:
    if file.suffix.lower() not in (".jsonl", ".ndjson"):
        raise ValidationFailed([("/file", f"{file}: the name must end in .csv or .jsonl")])
    for line in text:
        if not line.strip():
            continue
        try:
            members = json.loads(line)
        except (ValueError, RecursionError):
            yield Bad(text.line, "is no JSON")
            continue
        if not isinstance(members, dict):
            yield Bad(text.line, "is no JSON object")
        elif "password" in members:
            yield Bad(text.line, f"the member password {_PLAIN}")
        elif unknown := sorted(members.keys() - COLUMNS):
            yield Bad(text.line, f"unknown member {', '.join(unknown)[:100]}")
        else:
            yield text.line, {name: v for name, v in members.items() if v not in (None, "")}


def _row(line: int, members: Mapping[str, Any], hasher: PasswordHasher) -> Row:
    username = names.username(_text(members, "username") or "")
    given = _text(members, "email")
    email = names.email(given) if given else None
    name = _text(members, "name")
    if name and (len(name) > LONGEST_NAME or any(category(c) == "Cc" for c in name)):
        words = f"may hold at most {LONGEST_NAME} characters, none of them control characters"
        raise ValidationFailed([("/name", words)])
    password_hash = _text(members, "password_hash")
    if password_hash is not None and hasher.identify(password_hash) is None:
        words = "is not a hash that can be checked here, or one that is too costly or too weak"
        raise ValidationFailed([("/password_hash", words)])
    status = _text(members, "status")
    if status is not None and (status := status.lower()) not in ("active", "disabled"):
        raise ValidationFailed([("/status", "must be active or disabled")])
    return Row(
        line=line,
        username=username,
        key=_login_key(username),
        email=email,
        email_key=_login_key(email) if email else None,
        name=name,
        password_hash=password_hash,
        roles=_roles(members.get("roles")),
        status=status,
        email_verified=_flag(members.get("email_verified")),
    )


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValidationFailed([(f"/{name}", "must be text")])
    if _SURROGATES.search(value):
        raise ValidationFailed([(f"/{name}", "is not UTF-8")])
    return value.strip()


def _login_key(name: str) -> str:
    """`names.login_key`; what is nothing but ASCII needs no tables (a third of an import)."""
    return name.lower() if _PLAIN_NAME.fullmatch(name) else names.login_key(name)


def _roles(value: object) -> tuple[str, ...] | None:
    """A JSON list, or text with spaces, commas or semicolons between."""
    if value is None:
        return None
    parts = value
    if isinstance(value, str):
        parts = value.replace(",", " ").replace(";", " ").split()
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValidationFailed([("/roles", "must be names of roles")])
    return tuple(sorted(set(parts)))


def _flag(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValidationFailed([("/email_verified", "must be true or false")])


def _words(mistake: ValidationFailed) -> str:
    """What is wrong, and where; some texts are sentences that say so themselves."""
    said = []
    for pointer, text in mistake.errors:
        predicate = text.startswith(("may ", "must ", "is "))
        said.append(f"{pointer[1:]} {text}" if predicate else text)
    return "; ".join(said)
