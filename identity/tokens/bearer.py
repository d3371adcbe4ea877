"""Bearer tokens at this service's own endpoints (RFC 6750)."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import OAuth2PasswordBearer, SecurityScopes

from identity import audit
from identity.access.granting import BUILT_IN
from identity.audit import AuditQueue
from identity.errors import InsufficientScope, InvalidToken, MissingToken
from identity.tokens.verifying import Live, LiveTokens


class BearerAuthentication:
    def __init__(self, live: LiveTokens, queue: AuditQueue) -> None:
        self._live = live
        self._queue = queue

    async def __call__(self, authorization: bytes | None, *scopes: str) -> Live:
        """The live token of an Authorization header, holding every one of `scopes`.

        Raises `MissingToken`, `InvalidToken`, `InsufficientScope`.
        """
        scheme, _, token = (authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer":
            raise MissingToken(scope=" ".join(scopes) or None)
        live = await self._live.find(token.strip().decode("latin-1"))
        if live is None:
            raise InvalidToken(
                "the token is expired, revoked or malformed", scope=" ".join(scopes) or None
            )
        if live.user is not None:
            audit.act_as("user", live.user.id)
        else:
            audit.act_as("client", live.client.id)
        if scopes:
            held = live.scopes
            missing = [scope for scope in scopes if scope not in held]
            if missing:
                self._queue.put("access", outcome="refused", missing=" ".join(missing))
                raise InsufficientScope(
                    f"the token lacks the scope {' '.join(missing)}", scope=" ".join(scopes)
                )
        return live


# Tells the OpenAPI page where its Authorize button logs in.
_scheme = OAuth2PasswordBearer(
    tokenUrl="token", refreshUrl="token", scopes=BUILT_IN, auto_error=False,
    description="Username and password of a user; no client id is needed.",
)  # fmt: skip


async def bearer(
    needed: SecurityScopes, request: Request, _: Annotated[str | None, Depends(_scheme)]
) -> Live:
    """FastAPI dependency: `Annotated[Live, Security(bearer, scopes=["users:read"])]`."""
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        raise InvalidToken("the Authorization header is repeated")
    authorization = headers[0].encode("latin-1") if headers else None
    authenticate: BearerAuthentication = request.app.state.services.bearer
    return await authenticate(authorization, *needed.scopes)
