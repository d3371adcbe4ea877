"""Every setting, grouped by the slice that reads it; read once, frozen, checked at the start.

A setting is a field here: its environment name is `IDENTITY_` + the field's name in capitals,
from the environment or a `.env` file. Unknown names and bad values refuse the start by name.
"""

import difflib
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from datetime import timedelta
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from identity.setting_types import (
    Algorithm,
    Algorithms,
    AudienceAlgorithms,
    DomainName,
    Duration,
    Mailbox,
    MayScrape,
    Networks,
    Origins,
    Paths,
    Pause,
    RelatedOrigins,
    smtp_server,
)

PREFIX = "IDENTITY_"


class SettingsError(Exception):
    """The start is refused; the text is one line that names the setting or file and why."""


def _setting(default: Any, meaning: str, **kwargs: Any) -> Any:
    return Field(default, description=meaning, **kwargs)


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class ServerSettings(Group):
    environment: Literal["development", "production"] = _setting(
        "development",
        "`production` refuses an http issuer that is not loopback, an unset bootstrap password "
        "while there is no user, and fewer than 12 bcrypt rounds",
    )
    host: str = _setting("127.0.0.1", "address to listen on; `--host` wins")
    port: int = _setting(8000, "port to listen on; `--port` wins", ge=0, le=65535)
    workers: int = _setting(1, "processes behind the port; `--workers` wins", ge=1, le=64)
    http: Literal["own", "plain"] = _setting(
        "own", "who reads HTTP: `own`, or `plain` for uvicorn as it comes, without our limits"
    )
    drain: Pause = _setting(
        "0s",
        "how long requests are still served after SIGTERM, while `/readyz` fails already",
        le=timedelta(hours=1),
    )
    trusted_proxies: Networks = _setting(
        (), "addresses or networks, not names, whose `Forwarded`/`X-Forwarded-For` is believed"
    )
    cors_origins: Origins = _setting(
        (), "origins whose pages may call this service, such as `https://app.example`"
    )
    metrics_allow: MayScrape = _setting(
        (), "who may read `/metrics`: addresses, networks and `token:SECRET`; unset: everybody"
    )
    max_connections: int = _setting(10_000, "open connections a process accepts", ge=1)
    max_connections_per_address: int = _setting(
        0, "of these, from one address (IPv6: one /64) that is no trusted proxy; 0: half", ge=0
    )


class DatabaseSettings(Group):
    database_url: SecretStr = _setting(
        SecretStr("sqlite:///var/identity.db"),
        "`sqlite:///…` or `postgresql://…`; the driver is chosen for you",
    )
    database_pool: int = _setting(8, "PostgreSQL connections a process keeps", ge=2, le=200)


class TokenSettings(Group):
    issuer: str | None = _setting(
        None, "`iss` and the base of every published address; follows `--host`/`--port`"
    )
    default_audience: str | None = _setting(
        None, "`aud` where the client names no resource; the issuer when unset"
    )
    access_token_ttl: Duration = _setting("15m", "lifetime of an access token", le="1d")
    dpop_nonce_required: bool = _setting(
        False, "whether every DPoP proof needs a nonce of ours: a client's first one is answered "
        "with it"
    )  # fmt: skip
    authorization_details: Path | None = _setting(
        None,
        "JSON file of the types of `authorization_details` (RFC 9396) that there are, the same on "
        "every replica; without it there are none",
    )
    token_cache: int = _setting(
        2_500, "verified tokens a process remembers, 2 KB each", ge=0, le=10_000_000
    )


class KeySettings(Group):
    keys_dir: Path = _setting(Path("keys"), "folder of the master key's file")
    master_key: SecretStr | None = _setting(
        None, "the master key itself, for secret managers; wins over the folder"
    )
    signing_algorithm: Algorithm = _setting("ES256", "`ES256`, `RS256`, `PS256` or `EdDSA`")
    audience_algorithms: AudienceAlgorithms = _setting(
        {},
        "another algorithm for tokens of an audience whose library knows no other, such as "
        "`https://orders.example.com=RS256`; several are separated by spaces",
    )
    id_token_algorithms: Algorithms = _setting(
        ("ES256", "RS256"),
        "what clients may have their ID tokens signed by; whoever names nothing expects RS256",
    )
    key_rotation: Duration = _setting("30d", "age at which a signing key is replaced")
    jwks_max_age: Duration = _setting("5m", "how long others may cache the key set")

    @property
    def served(self) -> tuple[str, ...]:
        """What keys are there for (`SigningKey.serves`): "" is whatever chose no algorithm, and
        every algorithm that an audience or a client may have chosen besides."""
        chosen = {*self.audience_algorithms.values(), *self.id_token_algorithms}
        chosen -= {self.signing_algorithm}
        return ("", *sorted(chosen))

    @property
    def offered(self) -> tuple[str, ...]:
        """What clients may have signed what they are told: there are keys for that."""
        return tuple(dict.fromkeys([*self.id_token_algorithms, self.signing_algorithm]))

    def algorithm_for(self, serves: str) -> str:
        """By which a key made for it signs."""
        return serves or self.signing_algorithm


class PasswordSettings(Group):
    bcrypt_rounds: int = _setting(12, "bcrypt cost, 10 to 16", ge=4, le=16)
    test_weak_hashing: bool = _setting(False, "allows 4 to 9 rounds; for tests only")
    hashing_threads: int = _setting(
        0, "hashing threads a process runs; 0: cores divided by workers", ge=0, le=256
    )
    hashing_queue: int = _setting(32, "logins that may wait for a hashing thread", ge=1)
    password_min_length: int = _setting(
        15,
        "characters of a new password, set on these pages, that is all that lets its user in; with "
        "a second factor 8 will do",
        ge=8,
        le=128,
    )
    one_time_password_ttl: Duration = _setting(
        "24h",
        "how long a one-time password is good, set by an administrator or at the command line",
    )


class SessionSettings(Group):
    refresh_token_ttl: Duration = _setting("14d", "how long a refresh token may lie unused")
    session_ttl: Duration = _setting("90d", "how long a login lasts at the most")
    refresh_retry_window: Duration = _setting(
        "30s",
        "how long a client whose answer got lost may send the same refresh token again",
        le=timedelta(minutes=10),
    )
    browser_session_idle: Duration = _setting(
        "12h", "how long somebody stays signed in at this service's pages without using it"
    )
    browser_session_ttl: Duration = _setting("30d", "how long somebody stays signed in at the most")
    password_grant: bool = _setting(True, "whether any client may use the password grant")
    first_party_challenge: bool = _setting(
        False,
        "whether first-party clients may sign people in by a form of their own, at "
        "`/authorize-challenge` (a draft)",
    )
    default_client: bool = _setting(
        True, "whether the built-in public client `first-party` serves requests that name none"
    )


class RegistrationSettings(Group):
    registration: Literal["off", "token", "open"] = _setting(
        "off",
        "who may register a client at `/register`: nobody; `token`: the bearer of a token that "
        "holds `clients:write`; `open`: anybody, a public one",
    )
    registration_most: int = _setting(
        10_000, "clients that may have registered themselves at a time", ge=1
    )
    registration_unused: Duration = _setting(
        "7d", "age at which such a client is deleted that nobody has ever used"
    )
    client_metadata_documents: bool = _setting(
        False,
        "whether a client may be the address of a document about itself (a draft; MCP clients do "
        "so), and need no registration",
    )


class ThrottleSettings(Group):
    login_max_failures: int = _setting(10, "failed logins per account and address", ge=1)
    login_lockout: Duration = _setting("5m", "how long further attempts answer 429")


class PasskeySettings(Group):
    rp_id: DomainName | None = _setting(
        None,
        "the domain that passkeys belong to; the issuer's host when unset. Permanent: passkeys "
        "made under another are good no longer",
    )
    related_origins: RelatedOrigins = _setting(
        (),
        "other origins whose pages or apps may use the same passkeys, such as "
        "`https://example.co.uk` or `android:apk-key-hash:…`",
    )


class AccountSettings(Group):
    account_deletion_grace: Pause = _setting(
        "14d",
        "how long after its user has deleted it an account can be had back, by signing in",
        le=timedelta(days=365),
    )
    offer_second_factor: bool = _setting(
        True,
        "whether whoever signs in on the pages by a password alone is offered, once, to set up a "
        "second factor",
    )
    sign_up: bool = _setting(
        False,
        "whether anybody may make an account for themselves, at `/sign-up`, by an e-mail address "
        "that they can read",
    )


class BootstrapSettings(Group):
    bootstrap_admin_username: str = _setting("admin", "the first user, made when there is none")
    bootstrap_admin_password: SecretStr | None = _setting(
        None, "the first user's password; random and printed once when unset"
    )
    apply: Paths = _setting(
        (), "files that every start applies, as `identity apply FILE` does, without `--prune`"
    )


class AuditSettings(Group):
    audit_retention: Duration | None = _setting(
        None, "age at which audit events leave the database for archive files; unset: never"
    )
    audit_archive: Path = _setting(
        Path("var/audit"), "folder of the archive files, one for all replicas"
    )


class FetchSettings(Group):
    fetch_networks: Networks = _setting(
        (),
        "private addresses or networks where what administrators register may lie: key sets, "
        "trusted issuers, addresses to send logouts to; metadata addresses never may",
    )
    fetch_ca: Path | None = _setting(
        None, "PEM file of authorities that these are trusted by, beside the public ones"
    )


class CertificateSettings(Group):
    certificate_proxies: Networks = _setting(
        (), "trusted proxies whose `Client-Cert` (RFC 9440) is believed: they ask clients for "
        "certificates, and never hand on what a client itself says there"
    )  # fmt: skip
    certificate_ca: Path | None = _setting(
        None, "PEM file of the authorities whose certificates clients may prove themselves by "
        "(`tls_client_auth`)"
    )  # fmt: skip
    mtls_address: str | None = _setting(
        None, "where clients are asked for their certificates, if not at the issuer's address, "
        "such as `https://mtls.id.example.com`; the metadata tell of it"
    )  # fmt: skip


class MailSettings(Group):
    smtp_url: SecretStr | None = _setting(
        None,
        "the server that takes mails, such as `smtp://USER:PASSWORD@HOST:587`, where STARTTLS is "
        "demanded unless the host is loopback or the URL ends in `?starttls=off`, or "
        "`smtps://…:465`; unset: none are sent",
    )
    mail_from: Mailbox | None = _setting(
        None,
        "who mails are from, such as `Example <no-reply@example.com>`; with `IDENTITY_SMTP_URL`",
    )
    mail_folder: Path | None = _setting(
        Path("var/mail"),
        "folder that mails go to in development while there is no `IDENTITY_SMTP_URL`; `/dev/mail` "
        "shows them. `off`: none",
    )

    @field_validator("mail_folder", mode="before")
    @classmethod
    def _no_folder(cls, value: object) -> object:
        return None if value == "off" else value


class LogSettings(Group):
    log_format: Literal["json", "console", "auto"] = _setting(
        "auto", "`json` or `console`; `auto`: console on a terminal, else json"
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting("info", "least level logged")


class TracingSettings(Group):
    otlp_endpoint: str | None = _setting(
        None,
        "the collector that traces and metrics are sent to by OTLP over HTTP, such as "
        "`http://collector:4318`; needs the extra `[otel]`; unset: none are",
    )
    otlp_headers: SecretStr | None = _setting(
        None, "headers of these requests, such as `authorization=Bearer SECRET`, by commas"
    )
    trace_ratio: float = _setting(
        1.0,
        "share of the requests without a `traceparent` that are traced; who sends one decides "
        "itself",
        ge=0,
        le=1,
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _can_send(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise ValueError("must be an http(s) address without a query")
        if parts.username or parts.password:
            raise ValueError("is no place for a password: IDENTITY_OTLP_HEADERS")
        if not all(map(find_spec, ("opentelemetry", "opentelemetry.sdk"))):
            raise ValueError("needs the extra [otel]: pip install 'identity-service[server,otel]'")
        return value

    @field_validator("otlp_headers")
    @classmethod
    def _can_be_sent(cls, value: SecretStr | None) -> SecretStr | None:
        """What cannot would be told by the exporter's own words in the log, secret and all."""
        if not all(map(_HEADER.fullmatch, _parts(value))):
            raise ValueError("must be NAME=VALUE, by commas, in ASCII and on one line")
        return value

    def headers(self) -> dict[str, str]:
        """By name."""
        pairs = (part.partition("=") for part in _parts(self.otlp_headers))
        return {name.strip().lower(): value.strip() for name, _, value in pairs}


_HEADER = re.compile(r"\s*[\w!#$%&'*+.^`|~-]+\s*=[ -~]*\s*", re.ASCII)


def _parts(headers: SecretStr | None) -> list[str]:
    texts = [] if headers is None else headers.get_secret_value().split(",")
    return [text for text in texts if text.strip()]


class _Flat(PydanticBaseSettingsSource):
    """Distributes the flat names of the environment over the groups."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise LookupError(field_name)  # pragma: no cover - pydantic-settings never asks

    def __call__(self) -> dict[str, Any]:
        try:
            found = {k.upper(): v for k, v in dotenv_values(".env").items() if v is not None}
        except (OSError, ValueError) as error:
            raise SettingsError(f".env: cannot be read: {error}") from None
        found |= {k.upper(): v for k, v in os.environ.items()}
        return nest({k: v for k, v in found.items() if k.startswith(PREFIX)})


class Settings(BaseSettings):
    """All groups. `Settings.load()` reads the environment; `Settings.of()` does not."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True)

    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    tokens: TokenSettings = TokenSettings()
    keys: KeySettings = KeySettings()
    passwords: PasswordSettings = PasswordSettings()
    sessions: SessionSettings = SessionSettings()
    registration: RegistrationSettings = RegistrationSettings()
    throttle: ThrottleSettings = ThrottleSettings()
    passkeys: PasskeySettings = PasskeySettings()
    accounts: AccountSettings = AccountSettings()
    bootstrap: BootstrapSettings = BootstrapSettings()
    audit: AuditSettings = AuditSettings()
    fetching: FetchSettings = FetchSettings()
    certificates: CertificateSettings = CertificateSettings()
    mail: MailSettings = MailSettings()
    logs: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @classmethod
    def load(cls, **overrides: Any) -> "Settings":
        """The settings in force: `overrides` (field names) win over environment over `.env`."""
        flat = _Flat(cls)()
        for group, fields in nest({PREFIX + k.upper(): v for k, v in overrides.items()}).items():
            flat.setdefault(group, {}).update(fields)
        return cls._checked(flat)

    @classmethod
    def of(cls, **fields: Any) -> "Settings":
        """Defaults and `fields`, whatever the environment says."""
        return cls._checked(nest({PREFIX + k.upper(): v for k, v in fields.items()}))

    @classmethod
    def _checked(cls, nested: Mapping[str, Any]) -> "Settings":
        try:
            settings = cls(**nested)
        except ValidationError as error:
            raise SettingsError(_first_mistake(error)) from None
        return _cross_checked(settings)

    @property
    def issuer(self) -> str:
        if self.tokens.issuer:
            return self.tokens.issuer
        host = self.server.host
        host = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server.port}"

    @property
    def audience(self) -> str:
        return self.tokens.default_audience or self.issuer

    @property
    def production(self) -> bool:
        return self.server.environment == "production"

    @property
    def sends_mail(self) -> bool:
        """By SMTP, or into the folder of who develops."""
        by_folder = not self.production and self.mail.mail_folder is not None
        return self.mail.smtp_url is not None or by_folder


def described() -> Iterator[tuple[str, str, FieldInfo]]:
    """(environment name, group, field) of every setting, for the README's table."""
    for group, holder in Settings.model_fields.items():
        assert isinstance(holder.annotation, type)
        assert issubclass(holder.annotation, Group)
        for name, field in holder.annotation.model_fields.items():
            yield PREFIX + name.upper(), group, field


def nest(flat: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    homes = {name: group for name, group, _ in described()}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in flat.items():
        if name not in homes:
            ends = [home.removeprefix(PREFIX) for home in homes]  # all begin alike
            near = difflib.get_close_matches(name.removeprefix(PREFIX), ends, 1)
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            raise SettingsError(f"{name} is not a setting{hint}")
        nested.setdefault(homes[name], {})[name.removeprefix(PREFIX).lower()] = value
    return nested


def _first_mistake(error: ValidationError) -> str:
    mistake = error.errors(include_url=False)[0]
    name = PREFIX + str(mistake["loc"][1] if len(mistake["loc"]) > 1 else mistake["loc"][0]).upper()
    secret = any(n == name and "SecretStr" in str(field.annotation) for n, _, field in described())
    words = mistake["msg"].removeprefix("Value error, ")
    value = mistake["input"]
    shown = str(value) if isinstance(value, timedelta) else repr(value)
    given = "" if secret else f" (it is {shown})"
    return f"{name}: {words[0].lower()}{words[1:]}{given}"


def loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _cross_checked(settings: Settings) -> Settings:
    """The rules that span settings."""
    parts = urlsplit(settings.issuer)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise SettingsError(
            "IDENTITY_ISSUER: must be an http(s) address without query or fragment "
            f"(it is {settings.issuer!r})"
        )
    _check_passkeys(settings.passkeys, parts.scheme, parts.netloc, parts.hostname)
    url = settings.database.database_url.get_secret_value()
    if not re.match(r"(sqlite:///.|postgres(ql)?://)", url):
        raise SettingsError("IDENTITY_DATABASE_URL: must begin with sqlite:/// or postgresql://")
    rounds = settings.passwords.bcrypt_rounds
    if rounds < 10 and not settings.passwords.test_weak_hashing:
        raise SettingsError(f"IDENTITY_BCRYPT_ROUNDS: must be 10 to 16 (it is {rounds})")
    if settings.production:
        if rounds < 12:
            raise SettingsError(
                f"IDENTITY_BCRYPT_ROUNDS: production needs at least 12 (it is {rounds})"
            )
        if parts.scheme == "http" and not loopback(settings.issuer):
            raise SettingsError(
                f"IDENTITY_ISSUER: production needs https (it is {settings.issuer!r})"
            )
    _check_authorities("FETCH_CA", settings.fetching.fetch_ca)
    _check_certificates(settings)
    if settings.mail.smtp_url is not None:
        try:
            smtp_server(settings.mail.smtp_url.get_secret_value())
        except ValueError as mistake:
            raise SettingsError(f"IDENTITY_SMTP_URL: {mistake}") from None
        if settings.mail.mail_from is None:
            raise SettingsError("IDENTITY_MAIL_FROM: is needed beside IDENTITY_SMTP_URL")
    if settings.accounts.sign_up and not settings.sends_mail:
        raise SettingsError("IDENTITY_SIGN_UP: takes mails, and so IDENTITY_SMTP_URL")
    if settings.sessions.refresh_token_ttl > settings.sessions.session_ttl:
        raise SettingsError("IDENTITY_REFRESH_TOKEN_TTL: must not exceed IDENTITY_SESSION_TTL")
    return settings


def _check_authorities(name: str, file: Path | None) -> None:
    if file is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except OSError as error:
        raise SettingsError(
            f"{PREFIX}{name}: {file} is no PEM file of certificates: {error}"
        ) from None


def _check_certificates(settings: Settings) -> None:
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
    _check_authorities("CERTIFICATE_CA", chosen.certificate_ca)
    if chosen.mtls_address is not None:
        parts = urlsplit(chosen.mtls_address)
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
            raise SettingsError(
                "IDENTITY_MTLS_ADDRESS: must be an https address without query or fragment "
                f"(it is {chosen.mtls_address!r})"
            )


def _within(network: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return network.version == other.version and network.subnet_of(other)  # type: ignore[arg-type]


def _check_passkeys(passkeys: PasskeySettings, scheme: str, netloc: str, host: str) -> None:
    """Browsers let an origin use the passkeys of its own domain, of one above, or of one that
    names it as related (WebAuthn 3 §5.11)."""
    domain = passkeys.rp_id
    if domain is None or host == domain or host.endswith(f".{domain}"):
        return
    if f"{scheme}://{netloc}" not in passkeys.related_origins:
        raise SettingsError(
            f"IDENTITY_RP_ID: must be the issuer's host, {host}, or a domain above it, unless the "
            f"issuer's origin is one of IDENTITY_RELATED_ORIGINS (it is {domain!r})"
        )
