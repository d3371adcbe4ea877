"""`GET|POST /userinfo`: what a client may know of who signed in (OpenID Connect Core §5.3)."""

from typing import Any

import orjson

from identity.authentication import readers
from identity.directory.users import claims
from identity.errors import InsufficientScope, InvalidToken, Unavailable
from identity.http import describing
from identity.http.messages import Request, Response, json_bytes
from identity.service.wiring import Services
from identity.tokens.live import Live
from identity.tokens.minting import userinfo_address

JWT = b"application/jwt"
LONGEST_KEPT = 1024
"""Octets of an answer that is remembered with its token, which costs about two kilobytes itself."""


class Userinfo:
    """A token for a resource opens this too, where it says `openid`; nothing else of ours accepts
    such a token (`authentication.bearer`)."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._bearer = services.bearer
        self._issuer = issuer = services.settings.issuer
        own = (issuer, services.settings.audience)
        self._audiences = frozenset({*own, userinfo_address(services.settings)})

    async def __call__(self, request: Request) -> Response:
        try:
            live = await self._bearer(request, of_any_audience=True)
        except InvalidToken:
            readers.of_nobody()
            raise
        if self._audiences.isdisjoint(live.known.audience):
            raise self._bearer.ours(InvalidToken("the token is for another audience"))
        known, client, user, _ = live
        made = known.told
        if made is not None and made[0] is user and made[1] is client:
            return json_bytes(made[2])
        said = _said(live)
        algorithm = client.settings.userinfo_signed_response_alg
        if algorithm is not None:
            return await self._signed({**said, "iss": self._issuer, "aud": client.id}, algorithm)
        # Made once a token, as long as its user and client stay what they are. Copied, for what
        # orjson returns keeps the 8 KiB it was written into.
        body = bytes(memoryview(orjson.dumps(said)))
        if user is not None and len(body) <= LONGEST_KEPT:
            known.told = (user, client, body)
        return json_bytes(body)

    async def _signed(self, said: dict[str, Any], algorithm: str) -> Response:
        """§5.3.2."""
        await self._services.ring.refresh()
        signer = self._services.ring.signer_by(algorithm)
        if signer is None:
            raise Unavailable(60, f"the {algorithm} key is not known to all yet")
        return Response(200, [(b"content-type", JWT)], signer.sign(said, "JWT").encode())


def _said(live: Live) -> dict[str, Any]:
    """Raises `InsufficientScope`."""
    scopes = live.scopes
    if "openid" not in scopes or live.user is None:
        raise InsufficientScope("the token lacks the scope openid", scope="openid")
    names = live.claims.claims.get("userinfo_claims", ())
    wanted = {"userinfo": names if isinstance(names, list) else ()}
    single = claims.asked_for(wanted, "userinfo", live.client)
    said = claims.released(live.user, scopes, live.client.settings.claims, single)
    said["sub"] = live.known.subject
    return said


def words() -> describing.Node:
    return {
        "tags": ["OpenID Connect"],
        "operationId": "userinfo",
        "summary": "Claims about who signed in (OpenID Connect Core)",
        "security": [{"OAuth2": ["openid"]}],
        "responses": {
            "200": {
                "description": "The claims that the token's scopes release.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **describing.problem(401, "The token is missing or not good."),
            **describing.problem(403, "It lacks the scope `openid`."),
            **describing.unavailable(),
        },
    }
