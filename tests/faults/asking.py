"""A token is revoked at one process; the other is asked at once, and so is a sibling that follows
the feed, until it has heard."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

import httpx

from identity.verifier import Revoked, SyncVerifier
from tests.faults.replicas import ISSUER, Line
from tests.oauth.revocation_feed.conftest import Watched
from tests.trials.row import Outcome, Place

HEARD = 5.0
"""Seconds after which a sibling no longer relies on what it knows: `max_staleness`."""


class There(httpx.AsyncHTTPTransport):
    """Whatever is asked of the issuer is asked of this machine's `port`."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host="127.0.0.1", port=self._port)
        return await super().handle_async_request(request)


@dataclass
class Asked:
    lines: list[Line]
    sibling: SyncVerifier


@contextmanager
def asked(database: str, place: Place) -> Iterator[Asked]:
    """Two servers, and a sibling that follows the second."""
    url = place.templates.fresh(database, place.folder)
    replicas = Watched(url, place.folder, 2)
    there = There(replicas.servers[1].port)
    secret = replicas.siblings_secret
    try:
        with (
            replicas.lines() as lines,
            SyncVerifier(
                ISSUER, ISSUER, client_id="sibling", client_secret=secret, transport=there
            ) as sibling,
        ):
            yield Asked(lines, sibling)
    finally:
        replicas.close()
        place.templates.discard(url)


def stale_after_a_revocation(stage: Asked, dice: random.Random) -> Outcome:
    seen = Outcome()
    revoking, asking = dice.sample(stage.lines, 2)
    token = revoking.issue()
    seen.see(asking.active(token), "a good token was refused")  # now that process remembers it
    stage.sibling.verify(token)
    revoking.revoke(token)
    revoked_at = time.monotonic()
    seen.see(not asking.active(token), "the other process called it active")
    while time.monotonic() - revoked_at < HEARD:
        try:
            stage.sibling.verify(token)
        except Revoked:
            seen.measured["a sibling heard after, s"] = time.monotonic() - revoked_at
            return seen
        Event().wait(0.001)
    seen.see(False, f"a sibling took it for {HEARD:g} s")
    return seen
