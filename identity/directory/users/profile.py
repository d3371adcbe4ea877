"""What is known of a user beside the names that log in (OpenID Connect Core §5.1), and the
attributes that an administrator writes.

Each member is brought into one form, or refused with a JSON pointer to what is wrong.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from unicodedata import category

from identity.directory import merging, uris
from identity.errors import ValidationFailed, pointer

if TYPE_CHECKING:
    from identity.directory.users.table import User

LINE = 200
ADDRESS: Final = (
    "formatted", "street_address", "locality", "region", "postal_code", "country",
)  # fmt: skip
"""Members of an address (§5.1.1)."""
LONGEST_PART = 500
MOST_ATTRIBUTES = 50
MOST_VALUES = 100
LONGEST_NAME = 100
LONGEST_VALUE = 1000
LARGEST = 8 * 1024
"""Characters of all attributes as JSON: they are told in tokens, which go in headers."""
EXACT = 2**53
"""Beyond it, readers of JSON take one whole number for another (RFC 8259 §6)."""

_LOCALE = re.compile(
    r"(?P<language>[a-z]{2,3})(?:-(?P<script>[a-z]{4}))?(?:-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?P<rest>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(?:-[a-wy-z0-9](?:-[a-z0-9]{2,8})+)*)",
    re.IGNORECASE | re.ASCII,
)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_PHONE = re.compile(r"\+[1-9][0-9]{4,14}(?:;ext=[0-9]{1,10})?")
_BETWEEN = re.compile(r"[ ().\u00a0/-]")
"""What people write between the digits of a telephone number."""


def _line(text: str) -> str:
    if len(text) > LINE or any(category(c) in ("Cc", "Cs") for c in text):
        raise ValueError(f"may hold at most {LINE} characters, none of them control characters")
    return text.strip()


def _locale(text: str) -> str:
    """In the spelling that RFC 5646 §2.1.1 recommends."""
    found = _LOCALE.fullmatch(text.strip().replace("_", "-"))
    if found is None or len(text) > LINE:
        raise ValueError("must be a language tag such as en or pt-BR")
    parts = (
        found["language"].lower(),
        (found["script"] or "").title(),
        (found["region"] or "").upper(),
        found["rest"].lower().removeprefix("-"),
    )
    return "-".join(part for part in parts if part)


def _zone(text: str) -> str:
    if len(text) > LINE or not _ZONE.fullmatch(text.strip()):
        raise ValueError("must be the name of a time zone such as Europe/Lisbon")
    return text.strip()


def _picture(text: str) -> str:
    if problem := uris.web_problem(text.strip(), local=False):
        raise ValueError(problem)
    return text.strip()


def _phone(text: str) -> str:
    """E.164, as OpenID Connect recommends it, with an extension perhaps (RFC 3966)."""
    number, mark, extension = text.strip().partition(";")
    found = _BETWEEN.sub("", number[:100]) + mark + extension
    if not _PHONE.fullmatch(found):
        raise ValueError("must be an international telephone number such as +1 425 555 0100")
    return found


TEXTS: Final[Mapping[str, Callable[[str], str]]] = {
    "given_name": _line,
    "family_name": _line,
    "locale": _locale,
    "zoneinfo": _zone,
    "picture": _picture,
    "phone_number": _phone,
}
"""Members that are one text; how each is brought into form. `ValueError` says what is wrong."""
OWN: Final = (*TEXTS, "address")
"""What users write themselves."""
MEMBERS: Final = (*OWN, "phone_number_verified", "attributes")
UNKNOWN: Final[Mapping[str, Any]] = dict.fromkeys(MEMBERS) | {"phone_number_verified": False}
OBJECTS: Final = ("address", "attributes")
"""Members that are objects: a patch changes their members."""


def checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `fields` that are part of a profile, in form; what is empty is None. Raises
    `ValidationFailed`."""
    errors: list[tuple[str, str]] = []
    found: dict[str, Any] = {}
    for name in MEMBERS:
        if name not in fields:
            continue
        value = fields[name]
        if name in OBJECTS:
            check = _address if name == "address" else _attributes
            found[name] = check({} if value is None else value, errors) or None
        elif name == "phone_number_verified":
            found[name] = bool(value)
        else:
            found[name] = _text(name, value, errors)
    if errors:
        raise ValidationFailed(errors)
    return found


def name(text: str | None) -> str | None:
    """What people call the user, one line; what is empty is None. Raises `ValidationFailed`."""
    try:
        return _line(text) or None if text is not None else None
    except ValueError as mistake:
        raise ValidationFailed([("/name", str(mistake))]) from None


def patched(user: "User", patch: Mapping[str, Any]) -> dict[str, Any]:
    """`patch` with its objects as they are once it is applied to those of `user`."""
    return merging.patched({name: getattr(user, name) for name in OBJECTS}, patch, OBJECTS)


def _text(name: str, value: object, errors: list[tuple[str, str]]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        errors.append((f"/{name}", "must be text"))
        return None
    try:
        return TEXTS[name](value) if value.strip() else None
    except ValueError as mistake:
        errors.append((f"/{name}", str(mistake)))
        return None


def _address(address: object, errors: list[tuple[str, str]]) -> dict[str, str]:
    if not isinstance(address, dict):
        errors.append(("/address", "must be an object"))
        return {}
    for name in address.keys() - set(ADDRESS):
        words = f"is no member of an address; there are {', '.join(ADDRESS)}"
        errors.append((pointer("address", name), words))
    parts = {name: address[name] for name in ADDRESS if address.get(name) not in (None, "")}
    for name, part in parts.items():
        if not isinstance(part, str) or len(part) > LONGEST_PART or not _is_prose(part):
            words = f"must be text of {LONGEST_PART} characters at the most"
            errors.append((f"/address/{name}", words))
    return parts


def _attributes(attributes: object, errors: list[tuple[str, str]]) -> dict[str, Any]:
    if not isinstance(attributes, dict):
        errors.append(("/attributes", "must be an object"))
        return {}
    found = {name: value for name, value in attributes.items() if value is not None}
    if len(found) > MOST_ATTRIBUTES:
        errors.append(("/attributes", f"may be {MOST_ATTRIBUTES} at the most"))
        return {}
    for name, value in found.items():
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
            words = f"must be named by 1 to {LONGEST_NAME} printable characters"
            errors.append((pointer("attributes", name[:LONGEST_NAME]), words))
        elif not _is_value(value):
            words = (
                f"must be text of {LONGEST_VALUE} characters at the most, a number, true, false, "
                f"or a list of at most {MOST_VALUES} texts"
            )
            errors.append((pointer("attributes", name), words))
    if not errors and len(json.dumps(found)) > LARGEST:
        errors.append(("/attributes", f"may be {LARGEST} characters of JSON at the most"))
    return found


def _is_value(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST_VALUE and _is_prose(value)
    if isinstance(value, list):
        return len(value) <= MOST_VALUES and all(
            isinstance(each, str) and _is_value(each) for each in value
        )
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) <= EXACT  # true and false are whole numbers


def _is_prose(text: str) -> bool:
    return all(c in "\n\r\t" or category(c) not in ("Cc", "Cs") for c in text)
