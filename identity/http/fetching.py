"""The one way in which this service asks others for something: key sets, clients' documents, and
notices to them (docs/decisions/0046-one-guarded-fetcher.md).

An address that somebody else wrote down must not make us speak to what only we can reach: how each
request is kept from that, `exchanging` says. Here time, size and number are bounded, answers are
kept and shared, a redirect is an error, and who keeps failing is left alone for a while.

httpx is imported when something is first fetched: a process that never does is not larger for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from identity.clock import now
from identity.http.exchanging import Ask, Exchanges, Fetched, FetchFailed, Resolve
from identity.http.networks import Network
from identity.settings import Settings
from identity.verifier.issuer.breaker import Breaker

__all__ = ["FetchFailed", "Fetched", "Fetcher"]

LIMIT: Final = 64 * 1024
WITHIN: Final = 5.0
KEPT, KEPT_BYTES = 1000, 4 * 1024 * 1024
AT_ONCE: Final = 16
"""Requests under way, apart for trusted and for other targets; more of them wait their time."""


class _Key(NamedTuple):
    url: str
    trusted: bool
    accept: str
    limit: int


class Fetcher:
    """`networks` and `ca` (a PEM file) are for trusted targets: those that an administrator wrote
    down. `local`: this machine may be asked, and without https (development)."""

    def __init__(
        self,
        networks: Sequence[Network] = (),
        ca: Path | None = None,
        *,
        local: bool = False,
        resolve: Resolve | None = None,
    ) -> None:
        self.exchanges = Exchanges(networks, ca, resolve, local=local)
        self._kept: OrderedDict[_Key, tuple[Fetched, float]] = OrderedDict()
        self._kept_bytes = 0
        self._flights: dict[_Key, asyncio.Task[Fetched | FetchFailed]] = {}
        self._breakers: OrderedDict[tuple[str, bool], Breaker] = OrderedDict()
        self._turns = {True: asyncio.Semaphore(AT_ONCE), False: asyncio.Semaphore(AT_ONCE)}

    @classmethod
    def of(cls, settings: Settings) -> Fetcher:
        chosen = settings.fetching
        return cls(chosen.fetch_networks, chosen.fetch_ca, local=not settings.production)

    async def get(
        self,
        url: str,
        *,
        trusted: bool,
        accept: str = "application/json",
        limit: int = LIMIT,
        within: float = WITHIN,
        fresh: bool = False,
    ) -> Fetched:
        """The answer 200 of `url`, at most `limit` octets, within `within` seconds; one that is
        kept will do, unless `fresh`. All who ask at once share one request. Any other answer, or
        none, is `FetchFailed`, and is never kept."""
        key = _Key(url, trusted, accept, limit)
        answer, until = self._kept.get(key, (None, 0.0))
        if answer is not None and not fresh and now() < until:
            return answer
        flight = self._flights.get(key)
        if flight is None:
            ask = Ask("GET", url, trusted, {"accept": accept}, None, limit, within)
            flight = self._flights[key] = asyncio.create_task(self._fly(key, ask))
        # Whoever gives up waiting does not end it for the others.
        landed = await asyncio.shield(flight)
        if isinstance(landed, FetchFailed):
            raise FetchFailed(str(landed), landed.status)
        return landed

    async def post(
        self,
        url: str,
        *,
        trusted: bool,
        body: bytes,
        content_type: str = "application/x-www-form-urlencoded",
        accept: str = "*/*",
        limit: int = LIMIT,
        within: float = WITHIN,
    ) -> Fetched:
        """Whatever is answered, but for a redirect. `FetchFailed` where nothing is."""
        headers = {"accept": accept, "content-type": content_type}
        return await self._send(Ask("POST", url, trusted, headers, body, limit, within))

    async def close(self) -> None:
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _fly(self, key: _Key, ask: Ask) -> Fetched | FetchFailed:
        try:
            answer = await self._send(ask)
            if answer.status != 200:
                raise FetchFailed(f"answers {answer.status}", answer.status)
        except FetchFailed as failure:
            return failure
        finally:
            del self._flights[key]
        self._keep(key, answer)
        return answer

    def _keep(self, key: _Key, answer: Fetched) -> None:
        if before := self._kept.pop(key, None):
            self._kept_bytes -= len(before[0].body)
        self._kept[key] = answer, now() + answer.max_age()
        self._kept_bytes += len(answer.body)
        while len(self._kept) > KEPT or self._kept_bytes > KEPT_BYTES:
            _, (dropped, _) = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped.body)

    async def _send(self, ask: Ask) -> Fetched:
        import httpx

        try:
            url = httpx.URL(ask.url)
        except (httpx.InvalidURL, TypeError, ValueError):
            raise FetchFailed("is not an address") from None
        self.exchanges.check(url)
        breaker = self._breaker(f"{url.host}:{url.port}", ask.trusted)
        if not breaker.enter():
            raise FetchFailed(f"{url.host} kept failing, and is left alone for a while")
        answer, asked = None, False
        try:
            async with asyncio.timeout(ask.within), self._turns[ask.trusted]:
                asked = True
                answer = await self.exchanges.exchange(url, ask)
        except TimeoutError:
            raise FetchFailed(f"{url.host} did not answer in {ask.within:g} s") from None
        except asyncio.CancelledError:
            asked = False
            raise
        finally:
            _tell(breaker, answer, asked=asked)
        if 300 <= answer.status < 400:
            raise FetchFailed(f"{url.host} answers with a redirect", answer.status)
        return answer

    def _breaker(self, host: str, trusted: bool) -> Breaker:
        key = host, trusted
        breaker = self._breakers.pop(key, None) or Breaker(now)
        self._breakers[key] = breaker
        if len(self._breakers) > KEPT:
            self._breakers.popitem(last=False)
        return breaker


def _tell(breaker: Breaker, answer: Fetched | None, *, asked: bool) -> None:
    """A wrong path at a host is no fault of the host's, and to wait for one's turn neither."""
    if not asked:
        breaker.abandoned()
    elif answer is None or answer.status >= 500 or answer.status == 429:
        breaker.failed()
    else:
        breaker.succeeded()
