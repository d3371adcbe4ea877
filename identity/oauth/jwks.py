"""`GET /.well-known/jwks.json`: the keys that verify what this service has signed (RFC 7517)."""

import asyncio
from typing import Literal

from pydantic import BaseModel, ConfigDict

from identity.errors import Unavailable
from identity.http import describing
from identity.http.conditional import Published
from identity.http.messages import Request, Response
from identity.service.wiring import Services

MEDIA_TYPE = b"application/jwk-set+json"
PATIENCE = 1.0
"""Seconds that the key set waits for a database that does not answer."""


class Jwks:
    """Answers from memory even while the database cannot be asked, but then not for long: a key
    may be published meanwhile, and must be known everywhere one max-age later."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._max_age = int(services.settings.keys.jwks_max_age.total_seconds())
        self._made_from: bytes | None = None
        self._document: Published
        self._fleeting: Published

    async def __call__(self, request: Request) -> Response:
        ring = self._services.ring
        current = True
        try:
            if self._services.db.dialect == "sqlite":  # answers at once or not at all
                await self._catch_up()
            else:
                await asyncio.sleep(0)  # a timeout is a task's (`wire.eager`)
                async with asyncio.timeout(PATIENCE):
                    await self._catch_up()
        except (Unavailable, TimeoutError):
            current = False
        if self._made_from is not ring.jwks:
            self._made_from = ring.jwks
            self._document = self._published(self._max_age)
            self._fleeting = self._published(min(10, self._max_age))
        return (self._document if current else self._fleeting).answer(request)

    async def _catch_up(self) -> None:
        await self._services.feed.catch_up()
        if self._services.ring.stale:
            await self._services.ring.refresh()

    def _published(self, max_age: int) -> Published:
        ring = self._services.ring
        return Published(ring.jwks, ring.jwks_etag, MEDIA_TYPE, max_age)


def words() -> describing.Node:
    class Jwk(BaseModel):
        """RFC 7517 §4."""

        model_config = ConfigDict(extra="allow")

        kty: str
        kid: str
        alg: str
        use: Literal["sig"]

    class JwkSet(BaseModel):
        keys: list[Jwk]

    return {
        "tags": ["Discovery"],
        "operationId": "jwks",
        "summary": "The keys that verify our tokens (RFC 7517)",
        "responses": describing.published(JwkSet, MEDIA_TYPE.decode()),
    }
