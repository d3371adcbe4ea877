"""What an issuer in a test answers over HTTP, without HTTP: an httpx transport."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx

from identity.verifier.testing.ledger import members

if TYPE_CHECKING:
    from identity.verifier.testing.issuer import Issuer
    from identity.verifier.verifier import Verifier


class IssuerTransport(httpx.AsyncBaseTransport):
    """`requests` counts what was asked, by path. `broken` is a set of paths that answer 500."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._woken: set[Callable[[], None]] = set()
        self.requests: dict[str, int] = {}
        self.broken: set[str] = set()
        self.streams = True

    def attached(self, verifier: Verifier) -> None:
        """Called by a verifier that uses this transport."""
        self._issuer.verifiers.add(verifier)

    def wake(self) -> None:
        """Streams look for what is new. From any thread."""
        for wake in list(self._woken):
            wake()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)  # as an answer over a network never comes at once
        path = request.url.path
        self.requests[path] = self.requests.get(path, 0) + 1
        if self._issuer.is_down:
            raise httpx.ConnectError("the issuer is down", request=request)
        if path in self.broken:
            return httpx.Response(500)
        return await self.answer(path, request)

    async def answer(self, path: str, request: httpx.Request) -> httpx.Response:
        issuer = self._issuer
        base = urlsplit(issuer.url).path.rstrip("/")
        if path == f"/.well-known/oauth-authorization-server{base}":
            return _document(request, self._metadata(), max_age=300)
        path = path.removeprefix(base)
        if path == "/.well-known/jwks.json":
            return _document(request, issuer.jwks(), max_age=300)
        if path == "/status-lists/1":
            return self._status_list(request)
        if path not in ("/introspect", "/revocations"):
            return httpx.Response(404)
        if not _authenticated(request):
            return httpx.Response(401)
        if path == "/introspect":
            return self._introspect(parse_qs((await request.aread()).decode()))
        if "text/event-stream" in request.headers.get("accept", ""):
            if not self.streams:
                return httpx.Response(406)
            headers = {"content-type": "text/event-stream"}
            return httpx.Response(200, headers=headers, content=self._stream(request))
        return await self._poll(request)

    def _metadata(self) -> dict[str, Any]:
        base = self._issuer.url.rstrip("/")
        return {
            "issuer": self._issuer.url,
            "token_endpoint": f"{base}/token",
            "jwks_uri": f"{base}/.well-known/jwks.json",
            "introspection_endpoint": f"{base}/introspect",
            "revocations_endpoint": f"{base}/revocations",
        }

    def _introspect(self, form: dict[str, list[str]]) -> httpx.Response:
        from identity.verifier.testing.issuer import claims_of

        issuer = self._issuer
        token = form["token"][0]
        claims = claims_of(token)
        minted = next((m for m in issuer.ledger.minted if m["jti"] == claims["jti"]), claims)
        if issuer.ledger.dead({"kid": issuer.kid, **minted}) or claims["exp"] <= issuer.clock.now():
            return httpx.Response(200, json={"active": False})
        return httpx.Response(200, json={"active": True, **claims})

    def _status_list(self, request: httpx.Request) -> httpx.Response:
        issuer = self._issuer
        content = issuer.ledger.status_list()
        etag = f'"{hashlib.sha256(content["lst"].encode()).hexdigest()[:16]}"'
        if request.headers.get("if-none-match") == etag:
            return httpx.Response(304, headers={"etag": etag})
        now = int(issuer.clock.now())
        claims = {
            "iss": issuer.url,
            "sub": issuer.status_list_uri,
            "iat": now,
            "exp": now + 86400,
            "ttl": issuer.status_ttl,
            "status_list": content,
        }
        headers = {"content-type": "application/statuslist+jwt", "etag": etag}
        return httpx.Response(200, headers=headers, text=issuer.sign(claims, "statuslist+jwt"))

    # --- The feed ------------------------------------------------------------------------------

    async def _poll(self, request: httpx.Request) -> httpx.Response:
        issuer, query = self._issuer, request.url.params
        after = query.get("after")
        entries = None if after is None else issuer.ledger.after(int(after))
        if entries == [] and float(query.get("wait", 0)) > 0:
            await self._change_or(float(query["wait"]))
            entries = issuer.ledger.after(int(after or 0))
        if issuer.is_down:
            raise httpx.ReadError("the issuer went down", request=request)
        return httpx.Response(
            200,
            json={
                "entries": [members(e) for e in (entries if entries is not None else self._all())],
                "position": issuer.ledger.position,
                "reset": entries is None,
                "now": issuer.clock.now(),
            },
        )

    async def _stream(self, request: httpx.Request) -> AsyncIterator[bytes]:
        ledger = self._issuer.ledger
        last = request.headers.get("last-event-id")
        entries = None if last is None else ledger.after(int(last))
        position = ledger.position
        if entries is None:
            if last is not None:
                yield _event("reset", position, {})
            snapshot = self._all()
            for start in range(0, len(snapshot) or 1, 500):
                part = [members(entry) for entry in snapshot[start : start + 500]]
                yield _event("snapshot", position, {"entries": part})
        for entry in entries or []:
            yield _event("revoked", entry.id, members(entry))
        yield _event("live", position, {})
        while True:
            for entry in ledger.after(position) or []:
                yield _event("revoked", entry.id, members(entry))
            position = ledger.position
            yield _event("heartbeat", position, {"now": self._issuer.clock.now()})
            await self._change_or(1.0)
            if self._issuer.is_down:
                raise httpx.ReadError("the issuer went down", request=request)

    def _all(self) -> list[Any]:
        now = self._issuer.clock.now()
        return [entry for entry in self._issuer.ledger.entries if entry.exp > now]

    async def _change_or(self, seconds: float) -> None:
        """Until something is revoked, the issuer goes down, or that time has passed."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # its loop has been closed
                loop.call_soon_threadsafe(changed.set)

        self._woken.add(wake)
        waiting = [
            asyncio.ensure_future(changed.wait()),
            asyncio.ensure_future(self._issuer.clock.sleep(seconds)),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._woken.discard(wake)
            for task in waiting:
                task.cancel()


def _event(name: str, number: int, data: dict[str, Any]) -> bytes:
    return f"event: {name}\nid: {number}\ndata: {json.dumps(data)}\n\n".encode()


def _document(request: httpx.Request, document: dict[str, Any], max_age: int) -> httpx.Response:
    body = json.dumps(document).encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = {"etag": etag, "cache-control": f"public, max-age={max_age}"}
    if request.headers.get("if-none-match") == etag:
        return httpx.Response(304, headers=headers)
    return httpx.Response(200, headers=headers, content=body)


def _authenticated(request: httpx.Request) -> bool:
    """Any client and any token will do: a sibling has its own."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return scheme in ("Basic", "Bearer") and bool(credentials)
