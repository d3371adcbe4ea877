"""The rules that span settings. `SettingsError` names the one that is to be changed."""

import re
import ssl
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from identity.setting_types import smtp_server
from identity.settings.reading import PREFIX, SettingsError

if TYPE_CHECKING:
    from identity.settings import Settings


def check(settings: "Settings") -> None:
    for rule in (
        _issuer, _passkeys, _database, _hashing, _production, _fetching, _certificates, _mail,
        _sessions,
    ):  # fmt: skip
        rule(settings)


def _issuer(settings: "Settings") -> None:
    if _is_address(settings.issuer, "http", "https"):
        return
    if not settings.tokens.issuer:
        raise SettingsError(
            "IDENTITY_HOST: must be a host or an address without brackets "
            f"(it is {settings.server.host!r})"
        )
    raise SettingsError(
        "IDENTITY_ISSUER: must be an http(s) address in ASCII without user, query or fragment"
        + _unless_secret(settings.issuer)
    )


def _is_address(url: str, *schemes: str) -> bool:
    """With a host, and nothing that would not stand in front of a path and in a header."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # brackets around what is no IPv6 address, or a port that is none
        return False
    return parts.scheme in schemes and bool(parts.hostname) and not _NOT_IN_BASE.search(url)


_NOT_IN_BASE = re.compile(r"""[^!-~]|[?#@"<>\\^`{|}]""")
"""What RFC 3986 has in no address, and what a base of addresses must not have."""


def _unless_secret(url: str) -> str:
    """A password is not told, wherever it was put."""
    return "" if "@" in url else f" (it is {url!r})"


def _passkeys(settings: "Settings") -> None:
    """Browsers let an origin use the passkeys of its own domain, of one above, or of one that
    names it as related (WebAuthn 3 §5.11)."""
    domain, issuer = settings.passkeys.rp_id, urlsplit(settings.issuer)
    host = issuer.hostname or ""
    if domain is None or host == domain or host.endswith(f".{domain}"):
        return
    if f"{issuer.scheme}://{issuer.netloc}" not in settings.passkeys.related_origins:
        raise SettingsError(
            f"IDENTITY_RP_ID: must be the issuer's host, {host}, or a domain above it, unless the "
            f"issuer's origin is one of IDENTITY_RELATED_ORIGINS (it is {domain!r})"
        )


def _database(settings: "Settings") -> None:
    url = settings.database.database_url.get_secret_value()
    if not re.match(r"(sqlite:///.|postgres(ql)?://)", url):
        raise SettingsError("IDENTITY_DATABASE_URL: must begin with sqlite:/// or postgresql://")


def _hashing(settings: "Settings") -> None:
    rounds = settings.passwords.bcrypt_rounds
    if rounds < 10 and not settings.passwords.test_weak_hashing:
        raise SettingsError(f"IDENTITY_BCRYPT_ROUNDS: must be 10 to 16 (it is {rounds})")
    if rounds < 12 and settings.production:
        raise SettingsError(
            f"IDENTITY_BCRYPT_ROUNDS: production needs at least 12 (it is {rounds})"
        )


def _production(settings: "Settings") -> None:
    plain = urlsplit(settings.issuer).scheme == "http"
    if settings.production and plain and not loopback(settings.issuer):
        raise SettingsError(f"IDENTITY_ISSUER: production needs https (it is {settings.issuer!r})")


def loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _fetching(settings: "Settings") -> None:
    _authorities("FETCH_CA", settings.fetching.fetch_ca)


def _authorities(name: str, file: Path | None) -> None:
    if file is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except OSError as error:
        raise SettingsError(
            f"{PREFIX}{name}: {file} is no PEM file of certificates: {error}"
        ) from None


def _certificates(settings: "Settings") -> None:
    chosen = settings.certificates
    for network in chosen.certificate_proxies:
        if not any(_within(network, trusted) for trusted in settings.server.trusted_proxies):
            raise SettingsError(
                f"IDENTITY_CERTIFICATE_PROXIES: {network} is not among IDENTITY_TRUSTED_PROXIES"
            )
    for name in ("certificate_ca", "mtls_address"):
        if getattr(chosen, name) is not None and not chosen.certificate_proxies:
            raise SettingsError(
                f"{PREFIX}{name.upper()}: no certificate can come without "
                "IDENTITY_CERTIFICATE_PROXIES"
            )
    _authorities("CERTIFICATE_CA", chosen.certificate_ca)
    if chosen.mtls_address is not None and not _is_address(chosen.mtls_address, "https"):
        raise SettingsError(
            "IDENTITY_MTLS_ADDRESS: must be an https address in ASCII without user, query or "
            "fragment" + _unless_secret(chosen.mtls_address)
        )


def _within(network: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return network.version == other.version and network.subnet_of(other)  # type: ignore[arg-type]


def _mail(settings: "Settings") -> None:
    if settings.mail.smtp_url is not None:
        try:
            smtp_server(settings.mail.smtp_url.get_secret_value())
        except ValueError as mistake:
            raise SettingsError(f"IDENTITY_SMTP_URL: {mistake}") from None
        if settings.mail.mail_from is None:
            raise SettingsError("IDENTITY_MAIL_FROM: is needed beside IDENTITY_SMTP_URL")
    if settings.accounts.sign_up and not settings.sends_mail:
        raise SettingsError("IDENTITY_SIGN_UP: takes mails, and so IDENTITY_SMTP_URL")


def _sessions(settings: "Settings") -> None:
    if settings.sessions.refresh_token_ttl > settings.sessions.session_ttl:
        raise SettingsError("IDENTITY_REFRESH_TOKEN_TTL: must not exceed IDENTITY_SESSION_TTL")
