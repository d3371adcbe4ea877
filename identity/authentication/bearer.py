"""Bearer tokens at this service's own endpoints (RFC 6750)."""

from collections.abc import Iterable

from identity.authentication import readers
from identity.errors import InsufficientScope, InvalidToken, MissingToken
from identity.records import audit
from identity.records.audit import AuditQueue
from identity.tokens.live import Live, LiveTokens


class BearerAuthentication:
    """`audiences`: this service's own. A token for another resource does nothing here (RFC 8725
    §3.9): whoever it was sent to could else act as its user."""

    def __init__(self, live: LiveTokens, queue: AuditQueue, audiences: Iterable[str]) -> None:
        self._live = live
        self._queue = queue
        self._audiences = frozenset(audiences)

    async def __call__(
        self, authorization: bytes | None, *scopes: str, of_any_audience: bool = False
    ) -> Live:
        """The live token of an Authorization header, holding every one of `scopes`.

        `of_any_audience`: the caller looks at that. Raises `MissingToken`, `InvalidToken`,
        `InsufficientScope`.
        """
        scheme, _, token = (authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer":
            raise MissingToken(scope=" ".join(scopes) or None)
        live = await self._live.find(token.strip().decode("latin-1"))
        if live is None:
            raise InvalidToken(
                "the token is expired, revoked or malformed", scope=" ".join(scopes) or None
            )
        readers.belongs_to(live.client)
        if not of_any_audience and self._audiences.isdisjoint(live.known.audience):
            raise InvalidToken("the token is for another audience", scope=" ".join(scopes) or None)
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
