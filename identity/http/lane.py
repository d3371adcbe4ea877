"""The hot addresses as plain callables, found by exact method and path before FastAPI.

A form read by FastAPI costs ten times what the whole answer costs here (docs/decisions).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from identity.dataclass import dataclass
from identity.errors import (
    BearerError,
    IdentityError,
    MethodNotAllowed,
    NotFound,
    ServerError,
    render,
)
from identity.http.deferred import Deferred
from identity.http.describing import Node, Words
from identity.http.messages import CHALLENGED, Disconnected, Request, Response, Source, Stream

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

_log = structlog.get_logger()


Handler = Callable[[Request], Awaitable[Response]]
Lost = Callable[[Request, IdentityError], Awaitable[Response | None]]
"""The page for somebody whose browser asks for what there is not; None for a program."""


@dataclass(frozen=True, slots=True)
class Route:
    path: str
    handler: Handler
    oauth: bool
    words: Words | None


class Lane:
    """ASGI: answers what has been added, and hands everything else to `app`.

    An encoded slash is no slash (RFC 3986 §2.2): what it stands in is no address of ours, whoever
    decodes it first. Otherwise a proxy that guards `/users/` would let `/users%2Fme` by. Only
    behind the beginnings `with_slashes` is it part of a name.
    """

    def __init__(self, app: ASGIApp, *, with_slashes: tuple[bytes, ...] = ()) -> None:
        self.app = app
        self._with_slashes = with_slashes
        self._routes: dict[str, dict[str, Route]] = {}
        self._under: dict[str, dict[str, Route]] = {}
        self.lost: Lost | None = None

    def add(
        self, method: str, path: str, handler: Handler, *, oauth: bool, words: Words | None = dict
    ) -> None:
        """`oauth`: errors are RFC 6749 §5.2 JSON instead of problem details. `words` describe it;
        None: it is a page, and in no document.

        The last segment of `path` may be a name in braces; it then fits any that is not empty
        (`Request.segment`).
        """
        route = Route(path, handler, oauth, words)
        methods = self._routes.setdefault(path, {})
        if path.endswith("}"):
            self._under[path.rpartition("/")[0]] = methods
        if method in methods:
            raise ValueError(f"{method} {path} is taken")
        methods[method] = route
        if method == "GET":
            methods.setdefault("HEAD", route)

    def described(self) -> list[tuple[str, str, Node]]:
        """(method, path, in its own words) of all that was added."""
        added = [
            (method, path, route.words)
            for path, methods in self._routes.items()
            for method, route in methods.items()
            if method != "HEAD" and route.words is not None
        ]
        # Each is asked once, however many addresses it has: it makes its models anew.
        said = {words: words() for *_, words in added}
        return [(method, path, said[words]) for method, path, words in added]

    async def answer(self, scope: Scope, receive: Receive) -> Response | None:
        """The answer, None where it is for `app` to give. Raises Disconnected."""
        if scope["type"] != "http":
            return None
        raw: bytes = scope.get("raw_path") or b""
        if b"%" in raw and self._hides_a_slash(raw):
            return await self._nowhere(scope, receive, NotFound("there is no such address"))
        methods = self._routes.get(scope["path"])
        if methods is None:
            above, _, segment = scope["path"].rpartition("/")
            methods = self._under.get(above) if segment else None
        if methods is None:
            return None
        route = methods.get(scope["method"])
        if route is None:
            allow = await self._allowed(scope, methods)
            if allow is None:
                return None
            scope["route"] = next(iter(methods.values()))
            return await self._nowhere(scope, receive, MethodNotAllowed(allow))
        scope["route"] = route
        try:
            return await route.handler(Request(scope, receive))
        except IdentityError as error:
            if isinstance(error, BearerError):
                error.dpop = scope.get(CHALLENGED)
            return _refusal(error, route)
        except Disconnected:
            raise
        except Exception:
            _log.exception("unhandled exception", route=route.path)
            return Response(*render(ServerError(), oauth=route.oauth))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self.answer(scope, receive)
        except Disconnected:
            return
        if response is None:
            await self.app(scope, receive, send)
        else:
            await deliver(response, scope, receive, send)

    async def _nowhere(self, scope: Scope, receive: Receive, error: IdentityError) -> Response:
        page = await self.lost(Request(scope, receive), error) if self.lost else None
        return page or Response(*render(error, oauth=False))

    def _hides_a_slash(self, raw: bytes) -> bool:
        for beginning in self._with_slashes:
            if raw.startswith(beginning):
                return False
        return b"%2f" in raw.lower()

    async def _allowed(self, scope: Scope, here: dict[str, Route]) -> list[str] | None:
        """The methods that this path knows, or None where `app` serves the one asked for."""
        app = await self.app.built() if isinstance(self.app, Deferred) else self.app
        others = methods_served(getattr(app, "routes", ()), scope)
        return None if others is None else sorted(others.union(here))


def methods_served(routes: "Iterable[BaseRoute]", scope: Scope) -> set[str] | None:
    """The methods for which `routes` serve this path, None where they serve the one asked for. Of
    several templates that it fits, such as `/users/me` and `/users/{user_id}`, the first is meant.
    """
    from starlette.routing import Match  # whoever has such routes has it

    methods: set[str] = set()
    template: str | None = None
    for route in routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return None
        if match is Match.PARTIAL:
            # FastAPI keeps an included router as one route among the app's.
            router = getattr(route, "original_router", None)
            for inner in router.routes if router else (route,):
                if inner.matches(scope)[0] is not Match.PARTIAL:
                    continue
                template = template or getattr(inner, "path", "")
                if getattr(inner, "path", "") == template:
                    methods |= getattr(inner, "methods", None) or set()
    return methods


async def deliver(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send `response` as any ASGI server takes it."""
    start = {
        "type": "http.response.start",
        "status": response.status,
        "headers": response.headers,
    }
    if isinstance(response, Stream):
        await _send_stream(scope, receive, send, start, response.source)
        return
    await send(start)
    body = response.body if scope["method"] != "HEAD" else b""
    await send({"type": "http.response.body", "body": body})


async def _send_stream(
    scope: Scope, receive: Receive, send: Send, start: Any, source: Source
) -> None:
    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        source.close()

    watching = asyncio.create_task(watch())
    try:
        await send(start)
        scope["answered"] = perf_counter()
        while scope["method"] != "HEAD" and (piece := await source.next()) is not None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        source.close()
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def _refusal(error: IdentityError, route: Route) -> Response:
    if error.status >= 500:
        _log.warning("unavailable", route=route.path, error=error.code, reason=error.audit)
    elif error.audit:
        _log.info("refused", route=route.path, error=error.code, reason=error.audit)
    return Response(*render(error, oauth=route.oauth))
