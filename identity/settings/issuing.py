"""What is issued, to which clients, by which keys, and for how long."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from identity.setting_types import (
    Algorithm,
    Algorithms,
    AudienceAlgorithms,
    Duration,
    Networks,
)
from identity.settings.group import Group, setting


class TokenSettings(Group):
    issuer: str | None = setting(
        None, "`iss` and the base of every published address; follows `--host`/`--port`"
    )
    default_audience: str | None = setting(
        None, "`aud` where the client names no resource; the issuer when unset"
    )
    access_token_ttl: Duration = setting("15m", "lifetime of an access token", le="1d")
    dpop_nonce_required: bool = setting(
        False, "whether every DPoP proof needs a nonce of ours: a client's first one is answered "
        "with it"
    )  # fmt: skip
    authorization_details: Path | None = setting(
        None,
        "JSON file of the types of `authorization_details` (RFC 9396) that there are, the same on "
        "every replica; without it there are none",
    )
    token_cache: int = setting(
        2_500, "verified tokens a process remembers, 2 KB each", ge=0, le=10_000_000
    )


class KeySettings(Group):
    keys_dir: Path = setting(Path("keys"), "folder of the master key's file")
    master_key: SecretStr | None = setting(
        None, "the master key itself, for secret managers; wins over the folder"
    )
    signing_algorithm: Algorithm = setting("ES256", "`ES256`, `RS256`, `PS256` or `EdDSA`")
    audience_algorithms: AudienceAlgorithms = setting(
        {},
        "another algorithm for tokens of an audience whose library knows no other, such as "
        "`https://orders.example.com=RS256`; several are separated by spaces",
    )
    id_token_algorithms: Algorithms = setting(
        ("ES256", "RS256"),
        "what clients may have their ID tokens signed by; whoever names nothing expects RS256",
    )
    key_rotation: Duration = setting("30d", "age at which a signing key is replaced")
    jwks_max_age: Duration = setting("5m", "how long others may cache the key set")

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


class SessionSettings(Group):
    refresh_token_ttl: Duration = setting("14d", "how long a refresh token may lie unused")
    session_ttl: Duration = setting("90d", "how long a login lasts at the most")
    refresh_retry_window: Duration = setting(
        "30s",
        "how long a client whose answer got lost may send the same refresh token again",
        le=timedelta(minutes=10),
    )
    browser_session_idle: Duration = setting(
        "12h", "how long somebody stays signed in at this service's pages without using it"
    )
    browser_session_ttl: Duration = setting("30d", "how long somebody stays signed in at the most")
    password_grant: bool = setting(True, "whether any client may use the password grant")
    first_party_challenge: bool = setting(
        False,
        "whether first-party clients may sign people in by a form of their own, at "
        "`/authorize-challenge` (a draft)",
    )
    default_client: bool = setting(
        True, "whether the built-in public client `first-party` serves requests that name none"
    )


class RegistrationSettings(Group):
    registration: Literal["off", "token", "open"] = setting(
        "off",
        "who may register a client at `/register`: nobody; `token`: the bearer of a token that "
        "holds `clients:write`; `open`: anybody, a public one",
    )
    registration_most: int = setting(
        10_000, "clients that may have registered themselves at a time", ge=1, le=1_000_000_000
    )
    registration_unused: Duration = setting(
        "7d", "age at which such a client is deleted that nobody has ever used"
    )
    client_metadata_documents: bool = setting(
        False,
        "whether a client may be the address of a document about itself (a draft; MCP clients do "
        "so), and need no registration",
    )


class CertificateSettings(Group):
    certificate_proxies: Networks = setting(
        (), "trusted proxies whose `Client-Cert` (RFC 9440) is believed: they ask clients for "
        "certificates, and never hand on what a client itself says there"
    )  # fmt: skip
    certificate_ca: Path | None = setting(
        None, "PEM file of the authorities whose certificates clients may prove themselves by "
        "(`tls_client_auth`)"
    )  # fmt: skip
    mtls_address: str | None = setting(
        None, "where clients are asked for their certificates, if not at the issuer's address, "
        "such as `https://mtls.id.example.com`; the metadata tell of it"
    )  # fmt: skip
