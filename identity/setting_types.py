"""How the values of settings are spelled: durations, networks, origins, algorithms, who may
scrape, and where mails go."""

import re
from datetime import timedelta
from email.utils import parseaddr
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr


def _duration(value: object) -> object:
    """`900`, `90s`, `15m`, `12h`, `30d` as a timedelta. Longer ones would end behind the last day
    that there is: they are added to the time it is."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", value.strip())
    if not found:
        raise ValueError("is not a duration such as 900, 15m, 12h or 30d")
    unit = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
    seconds = int(found[1]) * unit
    if seconds > LONGEST_DAYS * 86400:
        raise ValueError(f"must be {LONGEST_DAYS}d at the most")
    return timedelta(seconds=seconds)


LONGEST_DAYS = 36_500
"""A hundred years."""


def _listed(value: object) -> object:
    """Comma or space separated text as a list."""
    return [p for p in re.split(r"[,\s]+", value) if p] if isinstance(value, str) else value


def _networks(value: object) -> object:
    """Addresses and networks. A name is refused: who may claim to be somebody else must not hang
    on who answers for a name."""
    words = _listed(value)
    for word in words if isinstance(words, list) else ():
        try:
            ip_network(word)
        except ValueError as error:
            why = str(error) if re.match(r"[0-9.]+(/|$)|.*:", word) else _NO_NAMES
            raise ValueError(f"{word!r}: {why}") from None
    return words


_NO_NAMES = (
    "names are not looked up; give the address, or the network that the proxies are in, such as "
    "172.18.0.0/16"
)


def _origins(value: object) -> object:
    """Origins as browsers send them (RFC 6454 §6.2); any other spelling would never match."""
    words = _listed(value)
    for word in words if isinstance(words, list) else ():
        if word != "*" and not _ORIGIN.fullmatch(word):
            raise ValueError(
                f"{word!r} is not an origin such as https://app.example or "
                "http://localhost:3000: scheme, host, a port that is not the usual one, in small "
                "letters and nothing else"
            )
    return words


_ORIGIN = re.compile(
    r"(?!https://[^/]*:443$|http://[^/]*:80$)[a-z][a-z0-9+.-]*://"
    r"([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?"
)


def _related(value: object) -> object:
    """As the browser or app says them of itself (WebAuthn 3 §5.8.1, §5.11)."""
    words = _listed(value)
    for word in words if isinstance(words, list) else ():
        if not _RELATED.fullmatch(word):
            raise ValueError(
                f"{word!r} is neither an origin such as https://example.co.uk nor an app such as "
                "android:apk-key-hash: and 43 characters"
            )
    return words


_RELATED = re.compile(
    r"(?!https://[^/]*:443$)https://[a-z0-9_-]+(\.[a-z0-9_-]+)*(:[1-9][0-9]{0,4})?"
    r"|android:apk-key-hash:[A-Za-z0-9_-]{43}"
)


def _domain(value: object) -> object:
    if isinstance(value, str) and (not _DOMAIN.fullmatch(value) or value[-1].isdigit()):
        raise ValueError("is not a domain such as example.com: small letters, no scheme, no port")
    return value


_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


def _scrapers(value: object) -> object:
    """Networks, and the secrets that follow `token:`. No word of a mistake is shown: it may be
    one."""
    words = _listed(value)
    if not isinstance(words, list):
        return words
    found: list[IPv4Network | IPv6Network | SecretStr] = []
    for number, word in enumerate(words, 1):
        kind, mark, token = word.partition("token:")
        if mark and not kind:
            if not re.fullmatch(r"[A-Za-z0-9._~+/-]{16,}=*", token):
                raise ValueError(
                    f"entry {number}: a token has 16 characters or more, of letters, digits and "
                    "- . _ ~ + /"
                )
            found.append(SecretStr(token))
            continue
        try:
            found.append(ip_network(word))
        except ValueError:
            raise ValueError(
                f"entry {number} is neither an address or network nor a secret after token:"
            ) from None
    return found


def _pairs(value: object) -> object:
    """`AUDIENCE=ALGORITHM`, several of them comma or space separated."""
    words = _listed(value) if isinstance(value, str) else value
    if not isinstance(words, list):
        return words
    pairs: dict[str, str] = {}
    for pair in words:
        audience, equals, algorithm = pair.rpartition("=")
        if not equals or not audience:
            raise ValueError("is not AUDIENCE=ALGORITHM, such as https://orders.example.com=RS256")
        if audience in pairs:
            raise ValueError(f"names the audience {audience} twice")
        pairs[audience] = algorithm
    return pairs


class SmtpServer(NamedTuple):
    host: str
    port: int
    username: str
    """Empty: it asks nobody who they are."""
    password: str
    tls: Literal["at once", "starttls", "off"]


_LOOPBACK = r"localhost|127\.[0-9.]+|::1"


def smtp_server(url: str) -> SmtpServer:
    """`ValueError` says what is wrong, and nothing of the URL: it may hold a password."""
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme not in ("smtp", "smtps") or not host or parts.path.strip("/"):
        raise ValueError("must be smtp://HOST or smtps://HOST")
    if parts.query not in ("", "starttls=off") or parts.fragment:
        raise ValueError("knows no option but starttls=off")
    try:
        port = parts.port or (465 if parts.scheme == "smtps" else 587)
    except ValueError:
        raise ValueError("its port is no port") from None
    here = re.fullmatch(_LOOPBACK, host) is not None
    clear = here or parts.query == "starttls=off"
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if username and clear and not here:
        raise ValueError("a password must not go without TLS, and starttls=off says so")
    if parts.scheme == "smtps":
        return SmtpServer(host, port, username, password, "at once")
    return SmtpServer(host, port, username, password, "off" if clear else "starttls")


def _mailbox(value: object) -> object:
    """Whom mails are from: an address, with a name before it perhaps."""
    if not isinstance(value, str):
        return value
    _, address = parseaddr(value)
    if not re.fullmatch(r"[^\s@<>]+@[A-Za-z0-9.-]+", address) or not value.isprintable():
        raise ValueError("is not an address such as Example <no-reply@example.com>")
    return value


Algorithm = Literal["ES256", "RS256", "PS256", "EdDSA"]
Algorithms = Annotated[tuple[Algorithm, ...], BeforeValidator(_listed)]
AudienceAlgorithms = Annotated[dict[str, Algorithm], BeforeValidator(_pairs)]
Duration = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0))]
Pause = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(0))]
Mailbox = Annotated[str, BeforeValidator(_mailbox)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_networks)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_listed)]
Origins = Annotated[tuple[str, ...], BeforeValidator(_origins)]
RelatedOrigins = Annotated[tuple[str, ...], BeforeValidator(_related)]
DomainName = Annotated[str, BeforeValidator(_domain)]
MayScrape = Annotated[tuple[IPv4Network | IPv6Network | SecretStr, ...], BeforeValidator(_scrapers)]
