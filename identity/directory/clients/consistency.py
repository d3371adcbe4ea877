"""What the settings of a client demand of each other, and of its type."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from identity.directory import uris
from identity.directory.clients import subject_names
from identity.directory.clients.settings import ClientSettings
from identity.directory.clients.table import ClientType
from identity.directory.clients.values import WITH_SECRET

FAPI2_ALGORITHMS: Final = frozenset({"PS256", "ES256", "EdDSA"})
"""FAPI 2.0 Security Profile §5.4.1."""
FAPI2_METHODS: Final = ("private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth")
_FAPI2_SETS: Final[Mapping[str, Any]] = {
    "require_pushed_authorization_requests": True,
    "id_token_signed_response_alg": "ES256",
    "authorization_signed_response_alg": "ES256",
}
_BOUND: Final = ("dpop_bound_access_tokens", "tls_client_certificate_bound_access_tokens")

Problem = tuple[str, str]


def implied(document: Mapping[str, Any]) -> dict[str, Any]:
    """`document` with what its profile sets, where it says nothing itself."""
    if document.get("profile") != "fapi2":
        return dict(document)
    bound = {} if any(document.get(name) for name in _BOUND) else {_BOUND[0]: True}
    return {**_FAPI2_SETS, **bound, **document}


def problems(settings: ClientSettings, type_: ClientType) -> list[Problem]:
    """(JSON pointer, what is wrong there)."""
    return [problem for rule in RULES for problem in rule(settings, type_)]


def _method(settings: ClientSettings, type_: ClientType) -> Iterator[Problem]:
    method = settings.token_endpoint_auth_method
    if type_ == "public" and method not in (None, "none"):
        yield "/token_endpoint_auth_method", "must be none: a public client has nothing to prove"
    if type_ == "confidential" and method == "none":
        yield "/token_endpoint_auth_method", "cannot be none where the client is confidential"
    keys = settings.jwks is not None or settings.jwks_uri is not None
    if method in ("private_key_jwt", "self_signed_tls_client_auth") and not keys:
        yield "/token_endpoint_auth_method", f"{method} takes the client's keys: jwks or jwks_uri"
    if method == "workload_identity" and not settings.workloads:
        yield "/workloads", "must name an issuer and its subject: nothing else proves the client"
    if method != "workload_identity" and settings.workloads:
        yield "/workloads", "goes with workload_identity only"
    named = [name for name in subject_names.SETTINGS if getattr(settings, name) is not None]
    if method == "tls_client_auth" and len(named) != 1:
        words = "tls_client_auth takes exactly one of"
        yield "/token_endpoint_auth_method", f"{words} {', '.join(subject_names.SETTINGS)}"
    if method != "tls_client_auth":
        yield from ((f"/{name}", "goes with tls_client_auth only") for name in named)


def _keys(settings: ClientSettings, type_: ClientType) -> Iterator[Problem]:
    if settings.jwks is not None and settings.jwks_uri is not None:
        yield "/jwks_uri", "cannot be given beside jwks"


def _signed(settings: ClientSettings, type_: ClientType) -> Iterator[Problem]:
    keys = settings.jwks is not None or settings.jwks_uri is not None
    for name in ("request_object_signing_alg", "request_uris", "require_signed_request_object"):
        if getattr(settings, name) and not keys:
            yield f"/{name}", "takes the client's keys: jwks or jwks_uri"


def _pkce(settings: ClientSettings, type_: ClientType) -> Iterator[Problem]:
    if settings.pkce == "optional" and type_ == "public":
        yield "/pkce", "must be required: nothing else tells a public client from others"


def _sector(settings: ClientSettings, type_: ClientType) -> Iterator[Problem]:
    """OpenID Connect Core §8.1."""
    if settings.subject_type == "pairwise" and settings.sector_identifier_uri is None:
        if len({uris.host_of(uri) for uri in settings.redirect_uris}) > 1:
            words = "must be given: the redirect URIs of a pairwise client have several hosts"
            yield "/sector_identifier_uri", words
        elif settings.redirect_uris and uris.host_of(settings.redirect_uris[0]) is None:
            words = "must be given: the redirect URI of a pairwise client has no host"
            yield "/sector_identifier_uri", words


def _exchange(settings: ClientSettings, type_: ClientType) -> Iterator[Problem]:
    if settings.token_exchange and type_ == "public":
        yield "/token_exchange", "is for confidential clients"
    for n, audience in enumerate(settings.token_exchange_impersonation):
        if audience not in settings.token_exchange:
            yield f"/token_exchange_impersonation/{n}", "is not named by token_exchange"


def _fapi2(settings: ClientSettings, type_: ClientType) -> Iterator[Problem]:
    if settings.profile != "fapi2":
        return
    if type_ != "confidential":
        yield "/profile", "fapi2 is for confidential clients"
    if settings.token_endpoint_auth_method not in FAPI2_METHODS:
        yield "/token_endpoint_auth_method", f"fapi2 takes one of {', '.join(FAPI2_METHODS)}"
    if not settings.require_pushed_authorization_requests:
        yield "/require_pushed_authorization_requests", "fapi2 takes pushed requests"
    if settings.pkce != "required":
        yield "/pkce", "fapi2 takes PKCE"
    if settings.assertion_audience != "issuer":
        yield "/assertion_audience", "fapi2 takes the issuer"
    if not any(getattr(settings, name) for name in _BOUND):
        yield f"/{_BOUND[0]}", f"fapi2 takes {' or '.join(_BOUND)}"
    for name in ClientSettings.model_fields:
        if name.endswith("_alg") and (algorithm := getattr(settings, name)) is not None:
            yield from _weak(name, algorithm)
    for n, uri in enumerate(settings.redirect_uris):
        if uri.startswith("http:"):
            yield f"/redirect_uris/{n}", "fapi2 takes https"


def _weak(
    name: str, algorithm: str, allowed: Collection[str] = FAPI2_ALGORITHMS
) -> Iterator[Problem]:
    if algorithm not in allowed:
        yield f"/{name}", f"fapi2 takes one of {', '.join(sorted(allowed))}"


Rule = Callable[[ClientSettings, ClientType], Iterator[Problem]]
RULES: Final[tuple[Rule, ...]] = (_method, _keys, _signed, _pkce, _sector, _exchange, _fapi2)


def takes_secret(settings: ClientSettings, type_: ClientType) -> bool:
    """Whether the client proves itself with a secret of ours."""
    return type_ == "confidential" and settings.token_endpoint_auth_method in WITH_SECRET
