"""A middleware that lets nothing through to an ASGI app without a good token."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import quote

from identity.verifier.dpop import DPoP
from identity.verifier.errors import (
    Expired,
    InsufficientScope,
    InvalidProof,
    NonceNeeded,
    TokenMissing,
    TokenRefused,
)
from identity.verifier.issuer.traceparent import came_with
from identity.verifier.resource import ProtectedResource, credentials
from identity.verifier.verifier import VerifiedToken, Verifier

logger = logging.getLogger("identity.verifier")
"""Says why a token was refused, which its sender is not told. Never the token."""
_USUAL = (TokenMissing, Expired, InsufficientScope, NonceNeeded)
"""What well-meaning clients run into every day."""
_SHOWN = 300  # characters

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class IdentityMiddleware:
    """`app` finds the `VerifiedToken` as `scope["token"]`, in Starlette `request.scope["token"]`.

    Every token needs the verifier's scopes; `exempt` are paths that need no token. The metadata
    of `resource` are answered here. The verifier runs as long as the app's lifespan, or from the
    first request on where the server has no lifespan.
    """

    def __init__(
        self,
        app: App,
        verifier: Verifier,
        *,
        exempt: Collection[str] = (),
        resource: ProtectedResource | None = None,
    ) -> None:
        self.app = app
        self.verifier = verifier
        self.exempt = frozenset(exempt)
        self.resource = resource or ProtectedResource.of(
            verifier.audience,
            verifier.issuer,
            scopes=tuple(sorted(verifier.scopes)),
            dpop=verifier.dpop_algorithms,
            certificates=verifier.certificates is not None,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "http":
            if scope["path"] in self.exempt or scope["method"] == "OPTIONS":
                await self.app(scope, receive, send)
                return
            if scope["path"] == self.resource.metadata_path and scope["method"] in ("GET", "HEAD"):
                body = json.dumps(self.resource.metadata()).encode()
                await _answer(scope, send, 200, {"Cache-Control": "public, max-age=3600"}, body)
                return
        try:
            token = await authenticate(self.verifier, scope)
        except TokenRefused as refused:
            await self._refuse(scope, receive, send, refused)
            return
        await self.app({**scope, "token": token}, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Started before the app is, closed after it; an app without lifespan does not mind."""

        async def starting() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.verifier.start()
            return message

        try:
            await self.app(scope, starting, send)
        finally:
            await self.verifier.close()

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, refused: TokenRefused
    ) -> None:
        headers = self.resource.headers(refused, sorted(self.verifier.scopes))
        document = {"error": refused.code, "error_description": refused.description}
        body = json.dumps({k: v for k, v in document.items() if v is not None}).encode()
        if scope["type"] == "websocket":
            await receive()  # websocket.connect
            if "websocket.http.response" not in scope.get("extensions", {}):
                await send({"type": "websocket.close", "code": 1008})
                return
        await _answer(scope, send, refused.status, headers, body)


async def authenticate(verifier: Verifier, scope: Scope, *scopes: str) -> VerifiedToken:
    """The token of this connection, verified; `TokenRefused` otherwise, and the log says why."""
    dpop = False
    try:
        came_with.set(scope["headers"])
        dpop, text = credentials(_sent(scope, b"authorization"))
        presented = _presented(verifier, scope) if dpop else None
        certificate = verifier.certificates(scope) if verifier.certificates else None
        return await verifier.verify(text, *scopes, dpop=presented, certificate=certificate)
    except TokenRefused as refused:
        refused.dpop |= dpop
        log_refusal(refused, scope)
        raise


def _presented(verifier: Verifier, scope: Scope) -> DPoP:
    """The proof of a request, which a handshake of a WebSocket is, too (RFC 6455 §4.1)."""
    if verifier.address is None:
        raise InvalidProof("this service has no address that a proof could name: see `address`")
    proofs = _sent(scope, b"dpop")
    if len(proofs) != 1:
        raise InvalidProof(f"{len(proofs)} headers DPoP, where there has to be one")
    path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    url = verifier.address + path.partition(b"?")[0].decode("latin-1")
    return DPoP(proofs[0], scope.get("method", "GET"), url)


def _sent(scope: Scope, header: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == header]


def log_refusal(refused: TokenRefused, scope: Scope) -> None:
    """`WARNING`, as what shows where nobody has set up logging; `INFO` for what is usual. Written
    by strangers: ASCII, one line, cut off."""
    level = logging.INFO if isinstance(refused, _USUAL) else logging.WARNING
    if logger.isEnabledFor(level):
        asked = ascii(f"{scope.get('method', 'WebSocket')} {scope['path']}")[1:-1]
        why = ascii(refused.reason)[1:-1]
        logger.log(
            level, "%s answered %d: %s: %s",
            asked[:_SHOWN], refused.status, type(refused).__name__, why[:_SHOWN],
        )  # fmt: skip


async def _answer(
    scope: Scope, send: Send, status: int, headers: dict[str, str], body: bytes
) -> None:
    prefix = "websocket.http" if scope["type"] == "websocket" else "http"
    all_headers = {
        **headers,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    await send(
        {
            "type": f"{prefix}.response.start",
            "status": status,
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in all_headers.items()],
        }
    )
    if scope.get("method") == "HEAD":
        body = b""
    await send({"type": f"{prefix}.response.body", "body": body})
