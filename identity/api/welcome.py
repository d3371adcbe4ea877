"""`GET /`: where somebody who has only the address finds everything else."""

from pydantic import BaseModel

from identity.http import describing
from identity.http.messages import Request, Response, json_response
from identity.service.wiring import Services


class Welcome:
    def __init__(self, services: Services) -> None:
        base = services.settings.issuer.rstrip("/")
        varies = (b"vary", b"Accept")
        # Relative: whoever came here by another address than the issuer's stays there.
        self._page = Response(302, [(b"location", b"account"), varies], b"")
        self._document = json_response(
            {
                "issuer": services.settings.issuer,
                "documentation": f"{base}/docs",
                "openapi": f"{base}/openapi.json",
                "metadata": f"{base}/.well-known/oauth-authorization-server",
                "jwks_uri": f"{base}/.well-known/jwks.json",
            },
            headers=[varies],
        )

    async def answer(self, request: Request) -> Response:
        """A person is sent to their account, by way of signing in; a program is told where things
        are."""
        wants_page = b"text/html" in (request.header(b"accept") or b"").lower()
        return self._page if wants_page else self._document


def words() -> describing.Node:
    class Whereabouts(BaseModel):
        issuer: str
        documentation: str
        openapi: str
        metadata: str
        jwks_uri: str

    return {
        "tags": ["Operations"],
        "operationId": "welcome",
        "summary": "Where to find everything else",
        "responses": {
            "200": {"description": "For a program.", "content": describing.body(Whereabouts)},
            "302": {
                "description": "For a browser: the account of whoever is signed in.",
                "headers": {"Location": {"schema": {"type": "string"}}},
            },
        },
    }
