"""What a client or verifier needs to know of this service (RFC 8414, OpenID Connect Discovery): one
document, made from the registries and found by both names."""

from collections.abc import Collection, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from identity.authentication import certificates
from identity.authentication.clients import BY_CERTIFICATE, METHODS
from identity.authentication.levels import reachable
from identity.authentication.mail.kinds import LANGUAGES
from identity.authentication.passkeys.relying import RelyingParty
from identity.directory.access.granting import OPENID
from identity.directory.users.claims import CLAIMS
from identity.http import describing
from identity.http.conditional import Published
from identity.http.messages import Request, Response
from identity.oauth.authorize.request import CREATE, PROMPTS
from identity.oauth.authorize.response_modes import RESPONSE_MODES
from identity.oauth.registration import endpoint as registration
from identity.service.wiring import Services
from identity.settings import Settings
from identity.tokens.status.lists import AGGREGATION
from identity.verifier.gate.algorithms import ALGORITHMS

WELL_KNOWN = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
PROTOCOL = (
    "iss", "sub", "aud", "azp", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash",
)  # fmt: skip
"""Claims that ID tokens have whoever they are about."""


ALIASES: Final = {
    "token_endpoint": "/token",
    "pushed_authorization_request_endpoint": "/par",
    "device_authorization_endpoint": "/device_authorization",
    "userinfo_endpoint": "/userinfo",
    "introspection_endpoint": "/introspect",
    "revocation_endpoint": "/revoke",
}
"""Where clients come with their certificates."""


def metadata(
    settings: Settings,
    grant_types: Iterable[str],
    detail_types: Iterable[str] = (),
    algorithms: Iterable[str] = (),
) -> dict[str, Any]:
    """RFC 8414 §2, OpenID Connect Discovery §3. `algorithms`: those of what clients are told."""
    base = settings.issuer.rstrip("/")
    algorithms = list(algorithms)
    by_certificate = certificates.methods(settings)
    methods = [name for name in METHODS if name not in BY_CERTIFICATE or name in by_certificate]
    confidential = [method for method in methods if method != "none"]
    challenge = {}
    if settings.sessions.first_party_challenge:
        challenge = {"authorization_challenge_endpoint": f"{base}/authorize-challenge"}
    return {
        "issuer": settings.issuer,
        **challenge,
        "authorization_endpoint": f"{base}/authorize",
        "token_endpoint": f"{base}/token",
        "pushed_authorization_request_endpoint": f"{base}/par",
        "device_authorization_endpoint": f"{base}/device_authorization",
        "userinfo_endpoint": f"{base}/userinfo",
        "end_session_endpoint": f"{base}/logout",
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        **registration.addresses(settings),
        "client_id_metadata_document_supported": (settings.registration.client_metadata_documents),
        "jwks_uri": f"{base}/.well-known/jwks.json",
        "introspection_endpoint": f"{base}/introspect",
        "revocation_endpoint": f"{base}/revoke",
        "revocations_endpoint": f"{base}/revocations",
        "status_list_aggregation_endpoint": f"{base}{AGGREGATION}",
        "response_types_supported": ["code"],
        "response_modes_supported": list(RESPONSE_MODES),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "authorization_signing_alg_values_supported": algorithms,
        "require_pushed_authorization_requests": False,
        "prompt_values_supported": _prompts(settings),
        "acr_values_supported": list(reachable(passkeys=RelyingParty.of(settings).possible)),
        "ui_locales_supported": list(LANGUAGES),
        "scopes_supported": list(OPENID),
        "subject_types_supported": ["public", "pairwise"],
        "id_token_signing_alg_values_supported": algorithms,
        "userinfo_signing_alg_values_supported": algorithms,
        "claims_supported": [*PROTOCOL, *CLAIMS],
        "claim_types_supported": ["normal"],
        "claims_parameter_supported": True,
        **({"authorization_details_types_supported": list(detail_types)} if detail_types else {}),
        "request_parameter_supported": True,
        "request_uri_parameter_supported": True,
        "require_request_uri_registration": True,
        "require_signed_request_object": False,
        "request_object_signing_alg_values_supported": list(ALGORITHMS),
        "grant_types_supported": list(grant_types),
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": [*confidential, "Bearer", "DPoP"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "revocation_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "introspection_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "introspection_signing_alg_values_supported": [settings.keys.signing_algorithm],
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
        **_by_certificate(settings),
        "service_documentation": f"{base}/docs",
    }


def _prompts(settings: Settings) -> list[str]:
    """`create` where somebody can make an account (OpenID Connect Prompt Create §4)."""
    made = settings.accounts.sign_up
    return [name for name in PROMPTS if made or name != CREATE]


def _by_certificate(settings: Settings) -> dict[str, Any]:
    """RFC 8705 §3.3, §5."""
    chosen = settings.certificates
    told: dict[str, Any] = {
        "tls_client_certificate_bound_access_tokens": bool(chosen.certificate_proxies)
    }
    if chosen.mtls_address is not None:
        base = chosen.mtls_address.rstrip("/")
        told["mtls_endpoint_aliases"] = {name: base + path for name, path in ALIASES.items()}
    return told


def addresses(issuer: str) -> list[str]:
    """Where the metadata is found."""
    return [place for name in WELL_KNOWN for place in well_known(name, issuer)]


def well_known(name: str, issuer: str) -> list[str]:
    """An issuer's path goes behind a well-known name (RFC 8414 §3.1), and before it as OpenID
    Connect has it, where a proxy takes it off again."""
    path = urlsplit(issuer).path.rstrip("/")
    return [name, name + path] if path else [name]


class Metadata:
    def __init__(self, services: Services, grant_types: Iterable[str]) -> None:
        self._services = services
        self._grant_types = tuple(grant_types)
        self._max_age = int(services.settings.keys.jwks_max_age.total_seconds())
        self._made: tuple[frozenset[str], Published] | None = None

    async def __call__(self, request: Request) -> Response:
        # From memory: what is said here stays good while the database cannot be asked.
        signing = self._services.ring.algorithms
        if self._made is None or self._made[0] != signing:
            settings, types = self._services.settings, self._services.detail_types.names
            told = metadata(settings, self._grant_types, types, self._algorithms(signing))
            self._made = signing, Published.json(told, self._max_age)
        return self._made[1].answer(request)

    def _algorithms(self, signing: Collection[str]) -> list[str]:
        """Those of which a key signs by now; RS256 is always named (OpenID Connect Discovery
        §3)."""
        offered = self._services.settings.keys.offered
        return [each for each in offered if each == "RS256" or each in signing]


def words() -> describing.Node:
    class AuthorizationServerMetadata(BaseModel):
        """RFC 8414 §2."""

        model_config = ConfigDict(extra="allow")

        issuer: str
        authorization_endpoint: str
        token_endpoint: str
        userinfo_endpoint: str
        end_session_endpoint: str
        jwks_uri: str
        introspection_endpoint: str
        revocation_endpoint: str
        grant_types_supported: list[str]

    return {
        "tags": ["Discovery"],
        "operationId": "metadata",
        "summary": "What this server can do and where (RFC 8414)",
        "responses": describing.published(AuthorizationServerMetadata, "application/json"),
    }
