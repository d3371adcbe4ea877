"""What a client or verifier needs to know of this service (RFC 8414), and the key set."""

import hashlib
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, ConfigDict

from identity.authentication.clients import METHODS
from identity.http import describing
from identity.http.conditional import Published
from identity.http.messages import Request, Response
from identity.service.wiring import Services
from identity.settings import Settings
from identity.tokens.status.lists import AGGREGATION
from identity.verifier.gate.algorithms import ALGORITHMS

WELL_KNOWN = "/.well-known/oauth-authorization-server"


def metadata(settings: Settings, grant_types: Iterable[str]) -> dict[str, Any]:
    """RFC 8414 §2; what is supported comes from the registries."""
    base = settings.issuer.rstrip("/")
    confidential = [method for method in METHODS if method != "none"]
    return {
        "issuer": settings.issuer,
        "token_endpoint": f"{base}/token",
        "jwks_uri": f"{base}/.well-known/jwks.json",
        "introspection_endpoint": f"{base}/introspect",
        "revocation_endpoint": f"{base}/revoke",
        "revocations_endpoint": f"{base}/revocations",
        "status_list_aggregation_endpoint": f"{base}{AGGREGATION}",
        "response_types_supported": [],
        "grant_types_supported": list(grant_types),
        "token_endpoint_auth_methods_supported": list(METHODS),
        "revocation_endpoint_auth_methods_supported": list(METHODS),
        "introspection_endpoint_auth_methods_supported": [*confidential, "bearer"],
        "introspection_signing_alg_values_supported": list(ALGORITHMS),
        "service_documentation": f"{base}/docs",
    }


def addresses(issuer: str) -> list[str]:
    """Where the metadata is found: an issuer's path goes behind the well-known name (§3.1)."""
    behind = WELL_KNOWN + urlsplit(issuer).path.rstrip("/")
    return [WELL_KNOWN] if behind == WELL_KNOWN else [WELL_KNOWN, behind]


class Metadata:
    def __init__(self, services: Services, grant_types: Iterable[str]) -> None:
        body = orjson.dumps(metadata(services.settings, grant_types))
        etag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
        max_age = int(services.settings.keys.jwks_max_age.total_seconds())
        self._document = Published(body, etag, b"application/json", max_age)

    async def __call__(self, request: Request) -> Response:
        return self._document.answer(request)


def words() -> describing.Node:
    class AuthorizationServerMetadata(BaseModel):
        """RFC 8414 §2."""

        model_config = ConfigDict(extra="allow")

        issuer: str
        token_endpoint: str
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
