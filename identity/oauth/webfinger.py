"""`/.well-known/webfinger`: which issuer to ask about somebody (RFC 7033; OpenID Connect Discovery
§2). Whether there is such an account is not told: each is answered alike."""

import re
from typing import Final

import orjson
from pydantic import BaseModel

from identity.errors import InvalidRequest, NotFound
from identity.http import describing
from identity.http.forms import parse_form
from identity.http.messages import Request, Response
from identity.service.wiring import Services

ADDRESS: Final = "/.well-known/webfinger"
ISSUER: Final = "http://openid.net/specs/connect/1.0/issuer"
MEDIA_TYPE: Final = "application/jrd+json"

_ACCOUNT: Final = re.compile(r"(acct|mailto):[^\s@/?#]+@[^\s@/?#]+")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


class WebFinger:
    """Somebody's domain, or a proxy before it, leads here what it is asked at this address."""

    def __init__(self, services: Services) -> None:
        self._issuer = services.settings.issuer
        age = int(services.settings.keys.jwks_max_age.total_seconds())
        self._headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"cache-control", b"public, max-age=%d" % age),
        ]

    async def __call__(self, request: Request) -> Response:
        """`rel` asks for some links alone (§4.3): without ours among them there are none."""
        asked = parse_form(request.scope["query_string"], frozenset({"rel"}))
        resource = asked.get("resource", "")
        if _URI.fullmatch(resource) is None:
            raise InvalidRequest("resource has to be a URI, such as acct:ada@example.com")
        if _ACCOUNT.fullmatch(resource) is None and not self._is_ours(resource):
            raise NotFound("nothing is known of this resource")
        wanted = asked.get("rel", ISSUER).split(" ")
        links = [{"rel": ISSUER, "href": self._issuer}] if ISSUER in wanted else []
        return Response(200, self._headers, orjson.dumps({"subject": resource, "links": links}))

    def _is_ours(self, resource: str) -> bool:
        issuer = self._issuer.rstrip("/")
        return resource == issuer or resource.startswith(f"{issuer}/")


def words() -> describing.Node:
    class ResourceDescriptor(BaseModel):
        """RFC 7033 §4.4."""

        subject: str
        links: list[dict[str, str]]

    resource = describing.query("resource", {"type": "string"}, "Of whom, as a URI.")
    rel = describing.query("rel", {"type": "string"}, f"Only links of this kind: `{ISSUER}`.")
    return {
        "tags": ["Discovery"],
        "operationId": "webfinger",
        "summary": "Which issuer to ask about an account (RFC 7033)",
        "description": "Says the same of every account, whether there is one or not.",
        "parameters": [{**resource, "required": True, "example": "acct:ada@example.com"}, rel],
        "responses": {
            "200": {
                "description": "Where to ask.",
                "content": describing.body(ResourceDescriptor, MEDIA_TYPE),
            },
            **describing.problem(400, "The resource is missing, comes twice, or is no URI."),
            **describing.problem(404, "Neither an account nor an address of this service."),
        },
    }
