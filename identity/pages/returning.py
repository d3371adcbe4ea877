"""Where a page leads back to: an address of ours, named in its own address."""

import re
from urllib.parse import urlencode

from identity.errors import InvalidRequest
from identity.pages.console.screens import SCREENS
from identity.pages.words import _

PAGES = (
    "/authorize", "/device", "/account", "/account/profile", "/account/sessions",
    "/account/applications", "/account/history", "/account/offer",
)  # fmt: skip
"""Where somebody may have been sent from to sign in."""
ACCOUNT = (
    "/account/factors", "/account/passkeys", "/account/password", "/account/email", "/account/data",
    "/account/delete", "/account/not-me", "/account/notices",
)  # fmt: skip
"""Pages for whoever has just proved who they are."""
CONSOLE = tuple(each.path for each in SCREENS)
_PLAIN = re.compile(r"[!-\[\]-~]*")  # no control, no space, no backslash


def to(query: dict[str, str], base: str) -> str | None:
    """The address to go on at; None where none is named. InvalidRequest for one that is not among
    `PAGES`, `ACCOUNT` or `CONSOLE` here: whoever signs in must not be led elsewhere."""
    wanted = query.get("to")
    if wanted is None:
        return None
    if is_account(wanted, base):
        return wanted
    path, _mark, _query = wanted.partition("?")
    pages = [f"{base}{page}" for page in (*PAGES, *CONSOLE)]
    if not _PLAIN.fullmatch(wanted) or path not in pages:
        raise InvalidRequest(_("The address to go on at is not one of this service."))
    return wanted


def is_request(address: str, base: str) -> bool:
    """Whether a client's request waits there, and not a page of ours."""
    return address.partition("?")[0] == f"{base}/authorize"


def is_account(address: str | None, base: str) -> bool:
    return address in [base + page for page in ACCOUNT]


def is_ours(address: str, base: str) -> bool:
    """Whether a browser that is sent to this path stays with this service."""
    inside = address.startswith(f"{base}/") and not address.startswith("//")
    return inside and _PLAIN.fullmatch(address) is not None


def is_console(address: str | None, base: str) -> bool:
    return (address or "").partition("?")[0] in [base + page for page in CONSOLE]


def query_of(address: str) -> str:
    return address.partition("?")[2]


def with_to(path: str, address: str | None) -> str:
    return path if address is None else f"{path}?{urlencode({'to': address})}"
