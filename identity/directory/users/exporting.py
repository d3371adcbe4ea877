"""All users, or those that a filter finds, as a file: CSV or a JSON object a line.

Read and written a few at a time, so that a million take no more memory than a thousand. What
somebody wrote of themselves is not to run in a spreadsheet: in CSV a text that begins like a
formula has an apostrophe before it, as OWASP advises, and each such one is quoted.
"""

import csv
import io
from collections.abc import Sequence
from typing import Any, Literal

import orjson
from sqlmodel import Session

from identity.directory.users import listing
from identity.directory.users.listing import Wanted
from identity.directory.users.profile import MEMBERS
from identity.directory.users.shown import UserOut

Format = Literal["csv", "ndjson"]
MEDIA: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}
TOGETHER = 500
"""Users read at once, and in memory at once."""
COLUMNS = (
    "id", "username", "email", "email_verified", "name", "status", "roles", *MEMBERS,
    "must_change_password", "created_at", "updated_at", "last_login_at",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How what a spreadsheet computes begins; the last four are the first ones' full-width forms."""


def page(session: Session, wanted: Wanted, after: str | None) -> tuple[list[UserOut], str | None]:
    """The next `TOGETHER`, from behind `after` on, and where they end; None: there are no more."""
    users, following = listing.page(session, wanted, after=after, most=TOGETHER)
    return listing.shown(session, users), following


def heading(form: Format) -> bytes:
    return _line(COLUMNS) if form == "csv" else b""


def lines(users: Sequence[UserOut], form: Format) -> bytes:
    if form == "ndjson":
        return b"".join(orjson.dumps(_members(user)) + b"\n" for user in users)
    return b"".join(_line([_cell(value) for value in _members(user).values()]) for user in users)


def _members(user: UserOut) -> dict[str, Any]:
    shown = user.model_dump(mode="json")
    return {name: shown[name] for name in COLUMNS}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        value = " ".join(map(str, value))
    elif isinstance(value, dict):
        value = orjson.dumps(value).decode() if value else ""
    return neutral(str(value))


def neutral(text: str) -> str:
    """A text that no spreadsheet takes for a formula. One that looks as if that had been done to it
    gets one apostrophe more, so that an import can take away what stands before."""
    return f"'{text}" if text.lstrip("'").startswith(FORMULA) else text


def _line(cells: Sequence[str]) -> bytes:
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow(cells)
    return written.getvalue().encode("utf-8", "replace")
