"""Pages of other origins that call this service: which of them may read which answers (CORS).

Every address answers the origins of `IDENTITY_CORS_ORIGINS`. Those that `app` names here answer
more: `everybody`, or the `clients`, which are the origins where the redirect URIs of the client
behind the request lie. Who that is, a preflight does not say: it is answered to whoever asks, and
the answer itself decides. A cookie opens nothing to another origin: credentials are never allowed.
"""

from collections.abc import Collection, Mapping
from contextvars import ContextVar
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope

from identity.http.lane import Lane
from identity.http.messages import Response

Readers = Literal["everybody", "clients"]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SENT = (
    "Authorization", "Content-Type", "DPoP", "If-Match", "If-None-Match", "X-Request-ID",
    "X-Requested-With",  # Swagger UI sends it along to the token endpoint
)  # fmt: skip
READ = ("DPoP-Nonce", "ETag", "Location", "Retry-After", "WWW-Authenticate", "X-Request-ID")
_EXPOSED = (b"access-control-expose-headers", ", ".join(READ).encode())
_EVERYBODY = (b"access-control-allow-origin", b"*")
_BY_ORIGIN = (b"vary", b"Origin")
_PREFLIGHT = Response(
    200,
    [
        _EVERYBODY,
        (b"access-control-allow-methods", ", ".join(METHODS).encode()),
        # `*` stands for every header but the first (Fetch §3.2.3).
        (b"access-control-allow-headers", ", ".join((*SENT, "*")).encode()),
        (b"access-control-max-age", b"3600"),
    ],
    b"",
)


class Page:
    """A page that has sent the request under way."""

    __slots__ = ("origin", "welcome")

    def __init__(self, origin: str, *, welcome: bool) -> None:
        self.origin = origin
        self.welcome = welcome
        """Whether it may read the answer; whoever finds out who the client is may say so."""


page: ContextVar[Page | None] = ContextVar("page", default=None)
"""None where no page of another origin may be told anything."""


class Elsewhere:
    """`readers`: by path. `origins`: those that may read everything."""

    def __init__(
        self, lane: Lane, origins: Collection[str], readers: Mapping[str, Readers]
    ) -> None:
        self._lane = lane
        self._origins = frozenset(origins)
        self._readers = readers
        self.app: ASGIApp = _cors(lane, origins) if origins else lane.app
        """For what `answer` leaves."""

    async def answer(self, scope: Scope, receive: Receive, origin: bytes) -> Response | None:
        """The answer to a request that names its origin, None where it is for `app` to give.
        Raises Disconnected."""
        readers = self._readers.get(scope["path"])
        if readers is None:
            return None if self._origins else await self._lane.answer(scope, receive)
        if scope["method"] == "OPTIONS" and _asks_first(scope):
            return _PREFLIGHT
        if readers == "everybody":
            return _with(await self._lane.answer(scope, receive), _EVERYBODY, _EXPOSED)
        who = origin.decode("latin-1")
        asking = Page(who, welcome=who in self._origins)
        before = page.set(asking)
        try:
            response = await self._lane.answer(scope, receive)
        finally:
            page.reset(before)
        if not asking.welcome:
            return _with(response, _BY_ORIGIN)
        return _with(response, (_EVERYBODY[0], origin), _EXPOSED, _BY_ORIGIN)


def _asks_first(scope: Scope) -> bool:
    return b"access-control-request-method" in scope["fields"]


def _with(response: Response | None, *headers: tuple[bytes, bytes]) -> Response | None:
    if response is None:
        return None
    said = [header for header in response.headers if header[0] != b"content-length"]
    return Response(response.status, [*said, *headers], response.body)


def _cors(app: ASGIApp, origins: Collection[str]) -> ASGIApp:
    from starlette.middleware.cors import CORSMiddleware  # only who names origins needs it

    return CORSMiddleware(
        app,
        allow_origins=tuple(origins),
        allow_methods=METHODS,
        allow_headers=SENT,
        expose_headers=READ,
    )
