"""One user of a file: right in itself, or `Bad` with its line and the reason."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from unicodedata import category

from identity.authentication.passwords.hashing import PasswordHasher
from identity.dataclass import dataclass
from identity.directory.hashes import refusing
from identity.directory.users import names, profile
from identity.errors import ValidationFailed

LONGEST_NAME = 200
LONGEST_REASON = 500
"""Characters of what is said of a row: what it quotes of the file may be of any length."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_PLAIN_NAME = re.compile("[!-~]+")
_TRUE, _FALSE = ("true", "1", "yes", "t", "y"), ("false", "0", "no", "f", "n")


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
    known: Mapping[str, Any]
    """What the file says of the user's profile, in form."""
    must_change: bool = False
    """Whether the password is good for choosing another one only."""
    password_expires_at: datetime | None = None
    """Of a one-time password that was made up here."""


@dataclass(frozen=True, slots=True)
class Bad:
    """`reason`: may quote the file, broken octets and all; it is kept as it can be shown."""

    line: int
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", shown(self.reason))


def shown(words: str) -> str:
    """`words` about a file, as an answer can hold them."""
    short = words if len(words) <= LONGEST_REASON else f"{words[:LONGEST_REASON]}…"
    return _SURROGATES.sub("\ufffd", short)


def read_row(line: int, members: Mapping[str, Any], hasher: PasswordHasher) -> Row | Bad:
    """What a record says, or what is wrong with it."""
    try:
        return _row(line, members, hasher)
    except ValidationFailed as mistake:
        return Bad(line, explained(mistake))


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
        email_verified=_flag(members, "email_verified"),
        known=_profile(members),
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


def _profile(members: Mapping[str, Any]) -> dict[str, Any]:
    """In CSV an object is JSON, or an address its one text."""
    given = {name: members[name] for name in profile.MEMBERS if name in members}
    for name in profile.OBJECTS:
        text = given.get(name)
        if not isinstance(text, str):
            continue
        if name == "address" and not text.lstrip().startswith("{"):
            given[name] = {"formatted": text}
            continue
        try:
            given[name] = json.loads(text)
        except (ValueError, RecursionError):
            raise ValidationFailed([(f"/{name}", "must be a JSON object")]) from None
    if (verified := _flag(members, "phone_number_verified")) is not None:
        given["phone_number_verified"] = verified
    return profile.checked(given) if given else {}


def _flag(members: Mapping[str, Any], name: str) -> bool | None:
    value = members.get(name)
    if value is None or isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValidationFailed([(f"/{name}", "must be true or false")])


def explained(mistake: ValidationFailed) -> str:
    """What is wrong, and where; some texts are sentences that say so themselves."""
    said = []
    for pointer, text in mistake.errors:
        predicate = text.startswith(("may ", "must ", "is "))
        said.append(f"{pointer[1:]} {text}" if predicate else text)
    return "; ".join(said)
