"""`/status-lists`: public, cacheable, and the same for everybody."""

import re

import orjson
from pydantic import BaseModel

from identity.errors import NotAcceptable, NotFound
from identity.http import describing
from identity.http.conditional import Published
from identity.http.messages import Request, Response
from identity.service.wiring import Services
from identity.tokens.status.lists import TTL

MEDIA_TYPE = b"application/statuslist+jwt"
OPEN = [(b"access-control-allow-origin", b"*"), (b"vary", b"Accept")]

_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_RANKS = {MEDIA_TYPE: 3, MEDIA_TYPE.partition(b"/")[0] + b"/*": 2, b"*/*": 1}


class StatusLists:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def one(self, request: Request) -> Response:
        """draft-ietf-oauth-status-list §8."""
        if not accepted(request.header(b"accept")):
            raise NotAcceptable(f"ask for {MEDIA_TYPE.decode()}")
        number = request.segment
        signed = None
        if _NUMBER.fullmatch(number):
            signed = await self._services.lists.get(int(number))
        if signed is None:
            raise NotFound("there is no such status list")
        return Published(signed.token, signed.etag, MEDIA_TYPE, TTL, OPEN).answer(request)

    async def aggregation(self, request: Request) -> Response:
        """The same, §9."""
        await self._services.feed.catch_up()
        body = orjson.dumps({"status_lists": await self._services.lists.aggregation()})
        caching = (b"cache-control", b"public, max-age=%d" % TTL)
        return Response(200, [(b"content-type", b"application/json"), caching, *OPEN], body)


def accepted(accept: bytes | None) -> bool:
    """Whether a status list as JWT may be sent (RFC 9110 §12.5.1): the closest range decides."""
    if accept is None or not accept.strip():
        return True
    best, quality = 0, 0.0
    for part in accept.split(b","):
        name, *parameters = (piece.strip().lower() for piece in part.split(b";"))
        rank = _RANKS.get(name, 0)
        if rank > best:
            best, quality = rank, _quality(parameters)
    return quality > 0


def _quality(parameters: list[bytes]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def aggregation_words() -> describing.Node:
    class StatusListAggregation(BaseModel):
        """draft-ietf-oauth-status-list §9."""

        status_lists: list[str]

    return {
        "tags": ["Discovery"],
        "operationId": "status_lists",
        "summary": "The addresses of all status lists",
        "description": "For verifiers that fetch the lists before they meet a token.",
        "responses": {
            "200": {
                "description": "The addresses.",
                "content": describing.body(StatusListAggregation),
            },
            **describing.unavailable(),
        },
    }


def one_words() -> describing.Node:
    media = MEDIA_TYPE.decode()
    return {
        "tags": ["Discovery"],
        "operationId": "status_list",
        "summary": "Which access tokens are revoked, one bit each",
        "description": "A Token Status List (draft-ietf-oauth-status-list). An access token's "
        "claim `status.status_list` names its list and its index there. May be kept for `ttl` "
        "seconds.",
        "parameters": [
            {"name": "list_id", "in": "path", "required": True, "schema": {"type": "integer"}}
        ],
        "responses": {
            "200": {
                "description": "The signed list.",
                "content": {media: {"schema": {"type": "string"}}},
            },
            "304": {"description": "Unchanged since the `ETag` in `If-None-Match`."},
            **describing.problem(404, "There is no such list, or all of its tokens have expired."),
            **describing.problem(406, f"It comes as `{media}`, nothing else."),
            **describing.unavailable(),
        },
    }
