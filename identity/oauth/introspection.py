"""`POST /introspect` (RFC 7662): is this token good, whose is it, what may it do?

A client sees the access tokens for its audiences and all tokens issued to it, one that is allowed
the scope `introspect` sees every token. What it may not see is inactive to it, like any nonsense.
"""

from collections.abc import Collection
from typing import Any, Literal, NamedTuple

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field

from identity.authentication.bearer import is_token
from identity.clock import now
from identity.directory.clients.registry import ClientSnapshot
from identity.errors import InvalidClient, InvalidRequest
from identity.http import describing
from identity.http.accepting import asks_for
from identity.http.messages import Request, Response, json_bytes, json_response
from identity.opaque import digest
from identity.service.wiring import Services
from identity.tokens.live import Live
from identity.tokens.sessions import beginning, rotation
from identity.tokens.subjects import is_pairwise

INACTIVE: dict[str, Any] = {"active": False}
SCOPE = "introspect"
JWT = b"application/token-introspection+jwt"
_COPIED = ("exp", "iat", "nbf", "sub", "aud", "iss", "jti", "sid", "auth_time", "acr", "amr", "act",
           "cnf", "authorization_details")  # fmt: skip


_log = structlog.get_logger()


class _Caller(NamedTuple):
    """Who asks."""

    client: ClientSnapshot
    sees_all: bool

    def sees(self, issued_to: str, audiences: Collection[str] = ()) -> bool:
        if self.sees_all or issued_to == self.client.id:
            return True
        if not self.client.audiences.isdisjoint(audiences):
            return True
        _log.info(
            "introspection says inactive: the token is not for this client",
            client_id=self.client.id, issued_to=issued_to, audience=[*audiences],
        )  # fmt: skip
        return False


class Introspection:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._inactive = json_response(INACTIVE)

    async def __call__(self, request: Request) -> Response:
        form = await request.form()
        caller = await self._caller(request, form)
        token = form.get("token")
        if token is None:
            raise InvalidRequest("token is missing")
        accept = request.header(b"accept")
        if accept is not None and JWT in accept and asks_for(JWT.decode(), accept):
            return await self._signed(caller.client.id, await self._describe(token, caller))
        if not token.startswith(beginning.PREFIX + "_"):
            live = await self._services.live.look(token)
            return self._inactive if live is None else self._answer(live, caller)
        return json_response(await self._describe(token, caller))

    async def _caller(self, request: Request, form: dict[str, str]) -> _Caller:
        """The client that asks: by its secret, or by a token with scope `introspect`.

        Either way the change feed has been asked, once, when this returns.
        """
        authorization = request.header(b"authorization")
        if authorization is not None and is_token(authorization):
            if "client_secret" in form or "client_assertion" in form:
                raise InvalidRequest("the client authenticates in two ways at once")
            live = await self._services.bearer(request, SCOPE)
            return _Caller(live.client, sees_all=True)
        await self._services.feed.catch_up()
        if authorization is None and form.keys().isdisjoint(("client_id", "client_assertion")):
            raise InvalidClient("introspection needs client authentication")
        client = await self._services.client_authentication(request, form)
        if not client.confidential:
            raise InvalidClient("a public client cannot introspect")
        return _Caller(client, sees_all=SCOPE in client.scopes)

    def _answer(self, live: Live, caller: _Caller) -> Response:
        """Made once a token, as long as its user and client stay what they are."""
        known, client, user, _ = live
        made = known.answer
        if made is None or made[0] is not user or made[1] is not client:
            # Copied, for what orjson returns keeps the 8 KiB it was written into.
            body = bytes(memoryview(orjson.dumps(_access_token(live))))
            made = known.answer = (user, client, body, live.claims.audience)
        if not caller.sees(client.id, made[3]):
            return self._inactive
        return json_bytes(made[2])

    async def _describe(self, token: str, caller: _Caller) -> dict[str, Any]:
        if token.startswith(beginning.PREFIX + "_"):
            return await self._refresh_token(token, caller)
        live = await self._services.live.look(token)
        if live is None or not caller.sees(live.client.id, live.claims.audience):
            return INACTIVE
        return _access_token(live)

    async def _refresh_token(self, token: str, caller: _Caller) -> dict[str, Any]:
        login = await rotation.look(self._services.db, token)
        if login is None or not login.unused or not caller.sees(login.client_id):
            return INACTIVE
        user = await self._services.users.get(login.user_id)
        client = await self._services.clients.get(login.client_id)
        if user is None or not user.active or client is None or not client.active:
            return INACTIVE
        user = user.at(login.acr)
        answer: dict[str, Any] = {
            "active": True,
            "scope": " ".join(
                s for s in login.scope.split() if s in user.scopes and client.may_hold(s)
            ),
            "client_id": login.client_id,
            "token_type": "refresh_token",
            "exp": int(login.token_expires_at.timestamp()),
            "iat": int(login.token_issued_at.timestamp()),
            "nbf": int(login.token_issued_at.timestamp()),
            "sub": self._services.subjects.of(client, user.id),
            "subject_type": "user",
            "aud": login.audience,
            "iss": self._services.settings.issuer,
            "jti": digest(token),
            "sid": login.id,
        }
        details = self._services.detail_types.still(login.authorization_details, client)
        if details:
            answer["authorization_details"] = details
        if not is_pairwise(client):
            answer |= {"username": user.username, "roles": list(user.roles)}
        return answer

    async def _signed(self, caller: str, answer: dict[str, Any]) -> Response:
        """RFC 9701 §5."""
        await self._services.ring.refresh()
        signed = self._services.ring.signer.sign(
            {
                "iss": self._services.settings.issuer,
                "aud": caller,
                "iat": int(now()),
                "token_introspection": answer,
            },
            typ="token-introspection+jwt",
        )
        return Response(200, [(b"content-type", JWT)], signed.encode())


def _access_token(live: Live) -> dict[str, Any]:
    claims = live.claims.claims
    answer: dict[str, Any] = {
        "active": True,
        "scope": " ".join(live.scopes),
        "client_id": claims["client_id"],
        "token_type": "DPoP" if "jkt" in claims.get("cnf", ()) else "Bearer",
        "subject_type": "client" if live.user is None else "user",
    }
    answer |= {name: claims[name] for name in _COPIED if name in claims}
    if live.user is not None and not is_pairwise(live.client):
        answer["username"] = live.user.username
        answer["roles"] = list(live.user.roles)
    return answer


def words() -> describing.Node:
    class IntrospectionResponse(BaseModel):
        """RFC 7662 §2.2. Of a token that is not alive only `active`, which is false."""

        model_config = ConfigDict(extra="allow")

        active: bool
        scope: str | None = None
        client_id: str | None = None
        username: str | None = None
        token_type: str | None = None
        exp: int | None = None
        iat: int | None = None
        nbf: int | None = None
        sub: str | None = None
        subject_type: Literal["user", "client"] | None = Field(
            default=None, description="Whose `sub` is: `client` where one acts for itself."
        )
        aud: str | list[str] | None = None
        iss: str | None = None
        jti: str | None = None
        sid: str | None = None
        roles: list[str] | None = None
        authorization_details: list[dict[str, Any]] | None = None
        act: dict[str, Any] | None = Field(
            default=None, description="Who acts for `sub`, and whom they have it from (RFC 8693)."
        )
        cnf: dict[str, str] | None = Field(
            default=None, description="What the token is bound to (RFC 9449 §6.2)."
        )

    return {
        "tags": ["OAuth"],
        "operationId": "introspect",
        "summary": "Is this token good, whose is it, what may it do? (RFC 7662)",
        "description": "By a confidential client, or with a bearer token of scope `introspect`. A "
        "client sees access tokens for its `audiences` and all tokens issued to it; one that is "
        "allowed the scope `introspect`, and a bearer of it, sees all. Of any other token it hears "
        "that it is not active. "
        "`Accept: application/token-introspection+jwt` answers a signed JWT (RFC 9701).",
        "security": [{"client": []}, {"OAuth2": [SCOPE]}],
        "requestBody": describing.form(describing.TOKEN, ["token"], {"token": "eyJhbGciOi…"}),
        "responses": {
            "200": {
                "description": "What is known of the token.",
                "content": {
                    "application/json": {
                        "schema": IntrospectionResponse,
                        "examples": {"inactive": {"value": INACTIVE}},
                    },
                    JWT.decode(): {"schema": {"type": "string"}},
                },
            },
            **describing.oauth_errors(400, 401, 403, 408, 413, 503),
        },
    }
