"""Reading a file of users: each row is right in itself, or `Bad` with its line and the reason.

CSV has its columns named by its first line, JSONL its members in every row; what other systems
export is in exports.py. All are UTF-8.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from unicodedata import category

from identity.authentication.passwords.hashing import PasswordHasher
from identity.cli.importing import exports
from identity.directory.hashes import refusing
from identity.directory.users import names
from identity.errors import ValidationFailed

COLUMNS = frozenset(
    ("username", "email", "name", "password_hash", "roles", "status", "email_verified")
)
FORMATS = ("csv", "jsonl", "keycloak", "auth0", "firebase")
LONGEST_NAME = 200
_AUTH0 = frozenset(("_id", "user_id", "passwordHash", "identities"))
"""Members by which a line of Auth0's is known."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_PLAIN_NAME = re.compile("[!-~]+")
_TRUE, _FALSE = ("true", "1", "yes", "t", "y"), ("false", "0", "no", "f", "n")
_PLAIN = (
    "holds plain passwords, which are never imported: give password_hash, or leave passwords out "
    "and set them with `identity users set-password`"
)


_Maker = Callable[[Mapping[str, Any]], dict[str, Any] | None]

Record = tuple[int, Mapping[str, Any]]
"""Line and named values, as the file has them; empty ones are left out."""


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
    must_change: bool = False
    """Whether the password is good for choosing another one only."""
    password_expires_at: datetime | None = None
    """Of a one-time password that was made up here."""


@dataclass(frozen=True, slots=True)
class Bad:
    line: int
    reason: str


class Lines:
    """Lines of UTF-8, a broken octet as a lone surrogate, and which line comes next."""

    def __init__(self, raw: Iterable[bytes]) -> None:
        self._raw = iter(raw)
        self.line = 0

    def peek(self) -> str:
        """The next line, which still comes next."""
        first = next(self._raw, b"")
        self._raw = chain((first,), self._raw) if first else self._raw
        return first.decode("utf-8", "surrogateescape").removeprefix("\ufeff")

    def __iter__(self) -> Iterator[str]:
        for octets in self._raw:
            self.line += 1
            text = octets.decode("utf-8", "surrogateescape")
            yield text.removeprefix("\ufeff") if self.line == 1 else text


def records(
    lines: Lines, file: Path, form: str | None = None, parameters: str | None = None
) -> Iterator[Record | Bad]:
    """The file's rows, in one of `FORMATS`, or whichever its name and beginning say.
    `ValidationFailed` where that is none. `parameters`: of Firebase's hashes."""
    form = form or _form(lines, file)
    if form == "csv":
        return _csv(lines)
    if form == "jsonl":
        return _jsonl(lines)
    if form == "auth0":
        return _exported(_objects(lines), exports.auth0)
    firebase = partial(exports.firebase, parameters=parameters)
    makers: dict[str, _Maker] = {"keycloak": exports.keycloak, "firebase": firebase}

    def told_apart(user: Mapping[str, Any]) -> dict[str, Any] | None:
        return firebase(user) if "localId" in user else exports.keycloak(user)

    return _exported(exports.users_of("".join(lines)), makers.get(form, told_apart))


def _form(lines: Lines, file: Path) -> str:
    kind = Path(file.name.lower().removesuffix(".gz")).suffix
    if kind == ".csv":
        return "csv"
    if kind not in (".json", ".jsonl", ".ndjson"):
        words = f"{file}: the name must end in .csv, .jsonl or .json; or say --format"
        raise ValidationFailed([("/file", words)])
    try:
        first = json.loads(lines.peek())
    except (ValueError, RecursionError):
        first = None
    one_a_line = isinstance(first, dict) and not isinstance(first.get("users"), list)
    if one_a_line and not _AUTH0.isdisjoint(first):
        return "auth0"
    return "jsonl" if one_a_line or kind != ".json" else "json"


def _exported(
    users: Iterable[tuple[int, object] | Bad],
    maker: _Maker,
) -> Iterator[Record | Bad]:
    for item in users:
        if isinstance(item, Bad):
            yield item
            continue
        line, user = item
        if not isinstance(user, dict):
            yield Bad(line, "is no JSON object")
            continue
        try:
            record = maker(user)
        except ValidationFailed as mistake:
            yield Bad(line, _words(mistake))
        except (TypeError, AttributeError):
            yield Bad(line, "is not laid out as such a user is exported")
        else:
            if record is not None:
                yield line, {k: v for k, v in record.items() if v not in (None, "", [])}


def _csv(lines: Lines) -> Iterator[Record | Bad]:
    reader = csv.reader(iter(lines), strict=True)
    header: list[str] = []
    while True:
        line = lines.line + 1
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


def _jsonl(lines: Lines) -> Iterator[Record | Bad]:
    for item in _objects(lines):
        if isinstance(item, Bad):
            yield item
            continue
        line, members = item
        if "password" in members:
            yield Bad(line, f"the member password {_PLAIN}")
        elif unknown := sorted(members.keys() - COLUMNS):
            yield Bad(line, f"unknown member {', '.join(unknown)[:100]}")
        else:
            yield line, {name: v for name, v in members.items() if v not in (None, "")}


def _objects(lines: Lines) -> Iterator[tuple[int, dict[str, Any]] | Bad]:
    """A JSON object a line."""
    for line in lines:
        if not line.strip():
            continue
        try:
            members = json.loads(line)
        except (ValueError, RecursionError):
            yield Bad(lines.line, "is no JSON")
            continue
        if isinstance(members, dict):
            yield lines.line, members
        else:
            yield Bad(lines.line, "is no JSON object")


def read_row(line: int, members: Mapping[str, Any], hasher: PasswordHasher) -> Row | Bad:
    """What a record says, or what is wrong with it."""
    try:
        return _row(line, members, hasher)
    except ValidationFailed as mistake:
        return Bad(line, _words(mistake))


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
        raise ValidationFailed([("/password_hash", refusing.reason(password_hash))])
    status = _text(members, "status")
    if status is not None and (status := status.lower()) not in ("active", "disabled"):
        raise ValidationFailed([("/status", "must be active or disabled")])
    return Row(
        line=line,
        username=username,
        key=login_key(username),
        email=email,
        email_key=login_key(email) if email else None,
        name=name,
        password_hash=password_hash,
        roles=_roles(members.get("roles")),
        status=status,
        email_verified=_flag(members.get("email_verified")),
        must_change=members.get("must_change") is True,
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


def login_key(name: str) -> str:
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
