"""Addresses: which a client may register, or people be sent to, and whether one that a request
brings is registered (RFC 6749 §3.1.2, RFC 8252 §7, OAuth 2.1 §2.3).

Texts are looked at as they came. No parser stands between what is compared and what a browser is
sent to: they disagree about `@`, `\\` and `;`, and whoever finds out where gets the codes.
"""

import re
from collections.abc import Collection
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple
from urllib.parse import unquote_plus

LONGEST = 2000
"""Characters of an address: what every browser and proxy passes on."""
LOOPBACK = frozenset({"127.0.0.1", "[::1]"})
"""Hosts that are the machine itself, whatever a name server says."""
LOCAL = LOOPBACK | {"localhost"}
"""Where http is good enough. A name may be resolved elsewhere, so `localhost` is allowed for the
sake of whoever develops, and its port is part of what is registered (RFC 8252 §8.3)."""
RESERVED = frozenset(
    {"code", "state", "iss", "error", "error_description", "error_uri", "response"}
)
"""Parameters of an answer: what a registered query had of that name, a client could take for ours
(CVE-2026-9689)."""

_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()+,;=-]|%[0-9A-Fa-f]{2})+")
"""RFC 3986 §2, but for `*`: nothing here is a pattern, and nobody shall think that it is."""
_WEB = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?(?P<rest>[/?#].*)?"
)
_PRIVATE_USE = re.compile(r"[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+:(?P<rest>.*)")


class Web(NamedTuple):
    """The parts of an http(s) address, exactly as they are spelled."""

    scheme: str
    host: str
    port: int | None
    rest: str


def web(uri: str) -> Web | None:
    """The parts of `uri`, None unless it is one of http(s): host and scheme in small letters, and
    nobody's name or password in it."""
    found = _WEB.fullmatch(uri)
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    if (port or 0) > 65535 or not _is_host(found["host"]):
        return None
    return Web(found["scheme"], found["host"], port, found["rest"] or "")


def redirect_problem(uri: str) -> str | None:
    """What is wrong with a redirect URI, or an address to go to after signing out; None if
    nothing is."""
    return _misspelled(uri, fragment=False) or _redirect_problem(uri)


@lru_cache(1024)
def _redirect_problem(uri: str) -> str | None:
    """Of one that is spelled well. Each request asks it of the same few; none that is remembered is
    longer than `LONGEST`, whoever sends it."""
    if private := _PRIVATE_USE.fullmatch(uri):
        return "must have more than a scheme" if not private["rest"] else _reserved(uri)
    return _not_web(
        uri,
        "must begin with https://, with http:// where the host is 127.0.0.1, [::1] or localhost, "
        "or with a scheme of your own that has a dot in it, such as com.example.app:",
    ) or _reserved(uri)


def web_problem(uri: str, *, fragment: bool = False, local: bool = True) -> str | None:
    """The same of an address that we or a browser fetch. `local`: whether http will do on the
    machine itself."""
    if problem := _misspelled(uri, fragment=fragment):
        return problem
    if local:
        words = "must begin with https://, or with http:// where the host is the machine itself"
        return _not_web(uri, words)
    words = "must begin with https:// and a host in small letters"
    return _not_web(uri, words) or (words if uri.startswith("http:") else None)


def is_loopback(uri: str) -> bool:
    """Whether it leads to whichever program listens on the user's own machine (RFC 8252 §7.3)."""
    parts = web(uri)
    return parts is not None and parts.scheme == "http" and parts.host in LOCAL


def is_private_use(uri: str) -> bool:
    """Whether it leads to whichever app has taken the scheme (RFC 8252 §7.1)."""
    return _PRIVATE_USE.fullmatch(uri) is not None


def host_of(uri: str) -> str | None:
    """Its host without port; None of an address without one."""
    parts = web(uri)
    return None if parts is None else parts.host


def origin_of(uri: str) -> str | None:
    """As browsers send it (RFC 6454 §6.2); None of an app's own scheme."""
    parts = web(uri)
    if parts is None:
        return None
    usual = {"https": 443, "http": 80}[parts.scheme]
    port = "" if parts.port in (None, usual) else f":{parts.port}"
    return f"{parts.scheme}://{parts.host}{port}"


def is_registered(asked: str, registered: Collection[str]) -> bool:
    """Whether `asked` is one of them, character by character. Only the port of a loopback address
    may be another (RFC 8252 §7.3): that of the moment, which the app was given."""
    if asked in registered:
        return True
    parts = _floating(asked)
    return parts is not None and any(parts == _floating(each) for each in registered)


def may_come_from(origin: str, registered: Collection[str]) -> bool:
    """Whether a page of this origin is where one of these addresses leads; its port may be another
    where that of the address may."""
    origins = {origin_of(uri) for uri in registered} - {None}
    return bool(origins) and is_registered(origin, origins)  # type: ignore[arg-type]


def _floating(uri: str) -> Web | None:
    """A loopback address without its port; None of any other."""
    if not uri.startswith(("http://127.0.0.1", "http://[::1]")):
        return None
    parts = web(uri)
    if parts is None or parts.host not in LOOPBACK:
        return None
    return parts._replace(port=None)


def _misspelled(uri: str, *, fragment: bool) -> str | None:
    if len(uri) > LONGEST:
        return f"may be {LONGEST} characters long at the most"
    if "*" in uri:
        return "must be a whole address: `*` stands for nothing here"
    if _CHARACTERS.fullmatch(uri) is None:
        return "must be an address in the characters of RFC 3986, the others percent-encoded"
    if "#" in uri and not fragment:
        return "must have no fragment"
    return None


def _not_web(uri: str, words: str) -> str | None:
    _, mark, behind = uri.partition("://")
    if mark and "@" in re.split("[/?#]", behind, maxsplit=1)[0]:
        return "must not hold a user's name or password"
    parts = web(uri)
    if parts is None or (parts.scheme == "http" and parts.host not in LOCAL):
        return words
    return None


def _reserved(uri: str) -> str | None:
    query = uri.partition("#")[0].partition("?")[2]
    names = {unquote_plus(part.partition("=")[0]) for part in re.split("[&;]", query)}
    if taken := sorted(names & RESERVED):
        return f"must not bring {' '.join(taken)}, which the answer brings"
    return None


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return len(host) <= 253
    try:
        IPv6Address(host[1:-1])
    except AddressValueError:
        return False
    return True
