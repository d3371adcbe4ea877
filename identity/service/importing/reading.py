"""Reading a file of users: its rows as they are written, or `Bad` with the line and the reason.

CSV has its columns named by its first line, JSONL its members in every row; what other systems
export is in exports.py. All are UTF-8.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from identity.directory.users import profile
from identity.directory.users.exporting import neutral
from identity.errors import ValidationFailed
from identity.service.importing import exports
from identity.service.importing.rows import Bad, explained, shown

COLUMNS = frozenset(
    ("username", "email", "name", "password_hash", "roles", "status", "email_verified")
).union(profile.MEMBERS)
SHOWN = frozenset(("id", "must_change_password", "created_at", "updated_at", "last_login_at"))
"""What an export of ours has besides, and nobody imports: it is passed over."""
FORMATS = ("csv", "jsonl", "keycloak", "auth0", "firebase")
_AUTH0 = frozenset(("_id", "user_id", "passwordHash", "identities"))
"""Members by which a line of Auth0's is known."""
_PLAIN = (
    "holds plain passwords, which are never imported: give password_hash, or leave passwords out "
    "and set them with `identity users set-password`"
)


_Maker = Callable[[Mapping[str, Any]], dict[str, Any] | None]

Record = tuple[int, Mapping[str, Any]]
"""Line and named values, as the file has them; empty ones are left out."""


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
            yield Bad(line, explained(mistake))
        except (TypeError, AttributeError):
            yield Bad(line, "is not laid out as such a user is exported")
        else:
            if record is not None:
                yield line, {k: v for k, v in record.items() if v not in (None, "", [])}


_ENDLESS = "begins a text in quotation marks that ends nowhere: nothing below this line was read"


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
            words = _ENDLESS if str(error) == "unexpected end of data" else f"is no CSV: {error}"
            yield Bad(line, words)
            continue
        if not header:
            header = _checked_header([cell.strip().lower() for cell in cells])
        elif len(cells) > len(header):
            yield Bad(line, f"has {len(cells)} fields, the first line names {len(header)}")
        elif any(cells):
            named = zip(header, cells)  # noqa: B905
            yield line, {name: _meant(cell) for name, cell in named if cell and name in COLUMNS}
    if not header:
        raise ValidationFailed([("/file", "the file is empty")])


def _meant(cell: str) -> str:
    """Without the apostrophe that an export of ours puts before what looks like a formula."""
    return cell[1:] if cell.startswith("'") and neutral(cell[1:]) == cell else cell


def _checked_header(header: list[str]) -> list[str]:
    wrong = None
    if "password" in header:
        wrong = f"the column password {_PLAIN}"
    elif "username" not in header:
        wrong = "the first line must name the columns, separated by commas, username among them"
    elif len(set(header)) != len(header):
        wrong = "the first line names a column twice"
    elif unknown := sorted(set(header) - COLUMNS - SHOWN):
        named = ", ".join(unknown)[:100]
        wrong = f"unknown column {named}; known are {', '.join(sorted(COLUMNS))}"
    if wrong:
        raise ValidationFailed([("/file", shown(wrong))])
    return header


def _jsonl(lines: Lines) -> Iterator[Record | Bad]:
    for item in _objects(lines):
        if isinstance(item, Bad):
            yield item
            continue
        line, members = item
        if "password" in members:
            yield Bad(line, f"the member password {_PLAIN}")
        elif unknown := sorted(members.keys() - COLUMNS - SHOWN):
            yield Bad(line, f"unknown member {', '.join(unknown)[:100]}")
        else:
            yield (
                line,
                {name: v for name, v in members.items() if v not in (None, "") and name in COLUMNS},
            )


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
