"""Bearer tokens at this service's own endpoints (RFC 6750)."""

from identity.errors import InsufficientScope, InvalidToken, MissingToken
from identity.records import audit
from identity.records.audit import AuditQueue
from identity.tokens.live import Live, LiveTokens


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
