"""What a client needs to know of this service's own API: where tokens for it come from, and which
scopes there are (RFC 9728). Siblings say the same of themselves by `identity.verifier`."""

from pydantic import BaseModel, ConfigDict

from identity.directory.access.granting import BUILT_IN, OPENID
from identity.http import describing
from identity.http.conditional import Published
from identity.http.messages import Request, Response
from identity.oauth.discovery import well_known
from identity.service.wiring import Services
from identity.settings import Settings
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.resource import WELL_KNOWN, ProtectedResource


def resource(settings: Settings) -> ProtectedResource:
    return ProtectedResource(
        settings.issuer,
        (settings.issuer,),
        scopes=tuple(name for name in BUILT_IN if name not in OPENID),
        name="Identity",
        dpop=tuple(ALGORITHMS),
        documentation=f"{settings.issuer.rstrip('/')}/docs",
    )


def addresses(issuer: str) -> list[str]:
    return well_known(WELL_KNOWN, issuer)


class Metadata:
    def __init__(self, services: Services) -> None:
        max_age = int(services.settings.keys.jwks_max_age.total_seconds())
        told = resource(services.settings).metadata()
        self._document = Published.json(told, max_age)

    async def __call__(self, request: Request) -> Response:
        return self._document.answer(request)


def words() -> describing.Node:
    class ProtectedResourceMetadata(BaseModel):
        """RFC 9728 §2."""

        model_config = ConfigDict(extra="allow")

        resource: str
        authorization_servers: list[str]
        scopes_supported: list[str]
        bearer_methods_supported: list[str]

    return {
        "tags": ["Discovery"],
        "operationId": "protected_resource",
        "summary": "Where tokens for this API come from (RFC 9728)",
        "responses": describing.published(ProtectedResourceMetadata, "application/json"),
    }
