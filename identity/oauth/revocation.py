"""`POST /revoke` (RFC 7009): once it has answered, nobody says that the token is active."""

from sqlmodel import Session

from identity.directory.clients.registry import ClientSnapshot
from identity.errors import InvalidGrant, InvalidRequest
from identity.http import describing
from identity.http.messages import Request, Response, json_response
from identity.records import audit
from identity.service.wiring import Services
from identity.tokens.live import revoke
from identity.tokens.sessions import beginning, lifecycle, rotation


class Revocation:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._done = json_response({})  # RFC 7009 wants no body; some clients read one as JSON

    async def __call__(self, request: Request) -> Response:
        """200 for every token, known or not, except one that is another client's (§2.1)."""
        form = await request.form()
        await self._services.feed.catch_up()
        client = await self._services.client_authentication(request, form)
        token = form.get("token")
        if token is None:
            raise InvalidRequest("token is missing")
        if token.startswith(beginning.PREFIX + "_"):
            await self._services.db.write(lambda s: _refresh_token(s, client, token))
        else:
            await self._access_token(client, token)
        return self._done

    async def _access_token(self, client: ClientSnapshot, token: str) -> None:
        live = await self._services.live.look(token)
        if live is None:
            return
        claims = live.claims
        _check_owner(client, claims.client_id)

        def unit(session: Session) -> None:
            revoke(session, claims)
            audit.record(
                session, "token.revoked",
                subject=claims.subject, client_id=client.id, jti=claims.token_id,
            )  # fmt: skip

        await self._services.db.write(unit)


def _refresh_token(session: Session, client: ClientSnapshot, token: str) -> None:
    """Ends the session, and with it the access tokens (§2.1)."""
    found = rotation.find(session, token)
    if found is None:
        return
    _check_owner(client, found[1].client_id)
    lifecycle.end(session, found[1].id, "revoked")


def _check_owner(client: ClientSnapshot, owner: str) -> None:
    if owner != client.id:
        raise InvalidGrant("the token was issued to another client")


def words() -> describing.Node:
    return {
        "tags": ["OAuth"],
        "operationId": "revoke",
        "summary": "Revoke an access or refresh token (RFC 7009)",
        "description": "A refresh token ends its session. 200 also for tokens unknown.",
        "security": describing.BY_CLIENT,
        "requestBody": describing.form(describing.TOKEN, ["token"], {"token": "rt_…"}),
        "responses": {
            "200": {
                "description": "The token is not good, or not any more.",
                "content": {"application/json": {"schema": {"type": "object", "maxProperties": 0}}},
            },
            **describing.oauth_errors(400, 401, 408, 413, 503),
        },
    }
