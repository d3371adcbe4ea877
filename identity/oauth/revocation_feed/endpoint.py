"""`GET /revocations`: a stream of Server-Sent Events that can be resumed anywhere, or long polls
for those who cannot stream.

    curl -N -u client:secret -H "Accept: text/event-stream" https://…/revocations
    curl -u client:secret "https://…/revocations?after=17&wait=25"
"""

import asyncio
import random
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from pydantic import BaseModel, Field

from identity.authentication.bearer import is_token
from identity.clock import now
from identity.errors import Forbidden, InvalidClient, InvalidRequest
from identity.http import describing
from identity.http.messages import Request, Response, Stream
from identity.keys.followers import Follower
from identity.oauth.revocation_feed.broadcast import Broadcaster
from identity.oauth.revocation_feed.listening import Listener
from identity.service.wiring import Services

SCOPE = "introspect"
LONGEST_WAIT = 60.0  # seconds
LONGEST_STREAM = 3600.0  # seconds; then its client must show again that it may
EVENT_STREAM = b"text/event-stream"

LONGEST_POSITION = 100  # digits; there are none longer

_NUMBER = re.compile(r"[0-9]+")
_SECONDS = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6})?")


class Revocations:
    def __init__(self, services: Services) -> None:
        self._services = services
        self.broadcaster = Broadcaster(services.db, services.feed, services.settings)
        watch = services.metrics.watch
        watch("revocation_streams", "Streams of revocations that are followed.",
              lambda: self.broadcaster.listeners)  # fmt: skip
        watch("revocations_remembered", "Revocations that a live token may run into.",
              lambda: self.broadcaster.remembered, across_workers="max")  # fmt: skip

    async def __call__(self, request: Request) -> Response:
        await asyncio.sleep(0)  # streams and polls are followed by a task (`wire.eager`)
        client, until = await self._caller(request)
        follower = await self._follower(request, client)
        query = request.query
        self.broadcaster.stop_with(request.scope.get("state", {}).get("stopping"))
        if EVENT_STREAM in (request.header(b"accept") or b""):
            return await self._stream(request, query, follower, until)
        return await self._poll(query)

    async def _caller(self, request: Request) -> tuple[str, float]:
        """The client that asks and the Unix time until when it may: by its secret, or by a bearer
        token, either way allowed the scope `introspect`."""
        authorization = request.header(b"authorization")
        if authorization is None:
            raise InvalidClient("the revocations need client authentication")
        until = now() + LONGEST_STREAM * random.uniform(0.8, 1)  # noqa: S311 - not all at once
        if is_token(authorization):
            live = await self._services.bearer(request, SCOPE)
            return live.claims.client_id, min(until, live.claims.expires_at)
        await self._services.feed.catch_up()
        client = await self._services.client_authentication(request, {})
        if not client.confidential:
            raise InvalidClient("a public client cannot follow the revocations")
        if SCOPE not in client.scopes:
            raise Forbidden(f"the client is not allowed the scope {SCOPE}")
        return client.id, until

    async def _follower(self, request: Request, client: str) -> Follower:
        """Who it says that it is, and which keys it says that it has: a new one waits for it."""
        if self._services.ring.stale:
            await self._services.ring.refresh()
        name, kids = request.header(b"identity-follower"), request.header(b"identity-keys")
        return self._services.followers.heard(client, name, kids)

    async def _stream(
        self, request: Request, query: Mapping[str, str], follower: Follower, until: float
    ) -> Response:
        last = request.header(b"last-event-id")
        asked = last.decode("latin-1").strip() if last is not None else query.get("after")
        after = _position(asked) if asked and _NUMBER.fullmatch(asked) else None
        await self.broadcaster.look()
        if after is not None and not await self.broadcaster.known(after):
            after = None
        listener = self.broadcaster.follow(
            follower.client, after, reset=bool(asked) and after is None
        )
        headers = [(b"content-type", EVENT_STREAM), (b"x-accel-buffering", b"no")]
        follower.streams += 1
        left = partial(self._services.followers.left, follower)
        return Stream(headers, _Followed(self.broadcaster, listener, until, left))

    async def _poll(self, query: Mapping[str, str]) -> Response:
        asked, wait = query.get("after"), query.get("wait", "0")
        if asked is not None and not _NUMBER.fullmatch(asked):
            raise InvalidRequest("after must be a position that an answer named")
        if not _SECONDS.fullmatch(wait) or float(wait) > LONGEST_WAIT:
            raise InvalidRequest(f"wait must be 0 to {LONGEST_WAIT:.0f} seconds")
        broadcaster = self.broadcaster
        number = None if asked is None else _position(asked)
        await broadcaster.look()
        lost = broadcaster.lost
        after = None if number is None else await broadcaster.known(number)
        if after is not None and not broadcaster.after(after) and float(wait):
            await broadcaster.wait(float(wait))
            if broadcaster.failing is not None:
                raise broadcaster.failing
        if broadcaster.lost != lost:
            after = None
        moment = now()
        entries = broadcaster.after(after)
        body = b'{"entries":[%b],"position":%d,"reset":%b,"now":%.3f}' % (
            b",".join(entry.body for entry in entries if entry.exp >= moment),
            broadcaster.wire,
            b"true" if after is None else b"false",
            broadcaster.asked,
        )
        return Response(200, [(b"content-type", b"application/json")], body)


def _position(digits: str) -> int | None:
    return int(digits) if len(digits) <= LONGEST_POSITION else None


class _Followed:
    """A listener's stream, which ends when its client must authenticate again."""

    def __init__(
        self,
        broadcaster: Broadcaster,
        listener: Listener,
        until: float,
        left: Callable[[], None],
    ) -> None:
        self._broadcaster = broadcaster
        self._left: Callable[[], None] | None = left
        self._listener = listener
        self._timer = asyncio.get_running_loop().call_later(max(0, until - now()), listener.close)

    async def next(self) -> bytes | None:
        return await self._listener.next()

    def close(self) -> None:
        self._timer.cancel()
        if self._left is not None:
            self._left()
            self._left = None
        self._broadcaster.leave(self._listener)
        self._listener.close()


def words() -> describing.Node:
    class RevocationEntry(BaseModel):
        """A revocation that a live token may run into."""

        id: int = Field(description="Its position; later ones have greater numbers.")
        kind: Literal["token", "session", "subject", "client", "key"]
        ref: str = Field(description="The `jti`, `sid`, `sub`, `client_id` or `kid`.")
        at: float = Field(
            description="Unix time. Of `subject` and `client` only tokens with an earlier `iat` "
            "are dead; with `iat` up to 60 seconds later ask by introspection."
        )
        exp: float = Field(description="Unix time when it can be forgotten.")

    class RevocationPage(BaseModel):
        entries: list[RevocationEntry]
        position: int = Field(description="The next request's `after`.")
        reset: bool = Field(
            description="Forget all that came before: these entries are everything."
        )
        now: float = Field(description="Unix time at which there was nothing newer.")

    position = {"type": "integer", "minimum": 0}
    name = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}
    wait = {"type": "number", "minimum": 0, "maximum": int(LONGEST_WAIT), "default": 0}
    return {
        "tags": ["OAuth"],
        "operationId": "revocations",
        "summary": "What has been revoked, as it happens",
        "description": "For siblings that verify tokens themselves: by a confidential client that "
        "is allowed the scope `introspect`, or with a bearer token of that scope. With `Accept: "
        "text/event-stream` Server-Sent Events `snapshot`, `live`, `revoked`, `heartbeat` (every "
        "second) and `reset`, to be resumed by `Last-Event-ID` at any replica. Else one page: "
        "without `after` all that matters still, with it what came since.",
        "security": [{"client": []}, {"OAuth2": [SCOPE]}],
        "parameters": [
            describing.query("after", position, "A position that was named before."),
            describing.query("wait", wait, "Seconds to wait where there is nothing new."),
            describing.header(
                "Identity-Follower", name, "What this process calls itself, the same each time."
            ),
            describing.header(
                "Identity-Keys",
                {"type": "string"},
                "The `kid`s of the key set that it has, all, "
                "separated by spaces: a new key does not sign before all who say so have it.",
            ),
        ],
        "responses": {
            "200": {
                "description": "Revocations, in order.",
                "content": {**describing.body(RevocationPage), EVENT_STREAM.decode(): {}},
            },
            **describing.oauth_errors(400, 401, 403, 503),
        },
    }
