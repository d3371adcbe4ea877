"""The one way in which this service asks others for something: key sets, clients' documents, and
notices to them (docs/decisions/0046-one-guarded-fetcher.md).

An address that somebody else wrote down must not make us speak to what only we can reach. So it is
https, a redirect is an error, the name is resolved once, every address that it has is looked at
(`networks`), and the connection goes to one of those, whatever the name says by then. Time, size
and number are bounded; who keeps failing is left alone for a while.

httpx is imported when something is first fetched: a process that never does is not larger for it.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from identity.clock import now
from identity.http.networks import Network, may_ask
from identity.settings import Settings
from identity.verifier.issuer.breaker import Breaker

if TYPE_CHECKING:
    import httpx

LIMIT: Final = 64 * 1024
WITHIN: Final = 5.0
LEAST_AGE, USUAL_AGE, MOST_AGE = 10.0, 300.0, 86400.0
"""Seconds for which an answer is kept: at the least, however often somebody makes us ask, without
a word of its own, and at the most."""
KEPT, KEPT_BYTES = 1000, 4 * 1024 * 1024
AT_ONCE: Final = 16
"""Requests under way, apart for trusted and for other targets; more of them wait their time."""
ADDRESSES_TRIED: Final = 3
_LOCAL: Final = frozenset({"127.0.0.1", "::1", "localhost"})

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, as texts; OSError where it has none."""


class FetchFailed(Exception):
    """No answer of use. The text says why, and holds no part of an address but its host: for logs
    and the audit. `status`: the HTTP status, where there was one."""

    def __init__(self, words: str, status: int | None = None) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True, slots=True)
class Fetched:
    status: int
    headers: Mapping[str, str]
    """Names in small letters."""
    body: bytes

    def max_age(self) -> float:
        """Seconds for which it may be kept (RFC 9111 §5.2.2), within our own bounds."""
        control = self.headers.get("cache-control", "").lower()
        if re.search(r"\bno-(?:store|cache)\b", control):
            return LEAST_AGE
        found = re.search(r"(?:^|[\s,])max-age=\"?(\d{1,9})", control)
        return min(max(float(found[1]), LEAST_AGE), MOST_AGE) if found else USUAL_AGE


class _Key(NamedTuple):
    url: str
    trusted: bool
    accept: str
    limit: int


class _Ask(NamedTuple):
    method: str
    url: str
    trusted: bool
    headers: dict[str, str]
    body: bytes | None
    limit: int
    within: float


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
        self._networks = tuple(networks)
        self._ca = ca
        self._local = local
        self._resolve = resolve or _resolve
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
            ask = _Ask("GET", url, trusted, {"accept": accept}, None, limit, within)
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
        return await self._send(_Ask("POST", url, trusted, headers, body, limit, within))

    async def close(self) -> None:
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _fly(self, key: _Key, ask: _Ask) -> Fetched | FetchFailed:
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

    async def _send(self, ask: _Ask) -> Fetched:
        import httpx

        try:
            url = httpx.URL(ask.url)
        except (httpx.InvalidURL, TypeError, ValueError):
            raise FetchFailed("is not an address") from None
        self._check(url)
        breaker = self._breaker(f"{url.host}:{url.port}", ask.trusted)
        if not breaker.enter():
            raise FetchFailed(f"{url.host} kept failing, and is left alone for a while")
        answer, asked = None, False
        try:
            async with asyncio.timeout(ask.within), self._turns[ask.trusted]:
                asked = True
                answer = await self._exchange(url, ask)
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

    def _check(self, url: httpx.URL) -> None:
        if url.userinfo:
            raise FetchFailed("has a user's name or password in it")
        if url.scheme == "https" and url.host:
            return
        if url.scheme == "http" and self._local and url.host in _LOCAL:
            return
        raise FetchFailed("is not https")

    async def _exchange(self, url: httpx.URL, ask: _Ask) -> Fetched:
        """One request to one of the addresses that the name has now."""
        import httpx

        failure = f"{url.host} cannot be reached"
        for address in (await self._addresses(url, ask.trusted))[:ADDRESSES_TRIED]:
            try:
                return await self._ask_address(url, address, ask)
            except (httpx.ConnectError, httpx.ConnectTimeout) as problem:
                failure = f"{url.host} cannot be reached: {_words(problem)}"
            except (httpx.HTTPError, httpx.StreamError) as problem:
                raise FetchFailed(f"{url.host}: {_words(problem)}") from None
        raise FetchFailed(failure)

    async def _addresses(self, url: httpx.URL, trusted: bool) -> Sequence[str]:
        """All of them, or `FetchFailed` where one may not be asked: whoever mixes them means us
        to meet the wrong one."""
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            addresses = await self._resolve(url.raw_host.decode("ascii"), port)
        except (OSError, UnicodeError):
            raise FetchFailed(f"{url.host} has no address") from None
        listed = self._networks if trusted else ()
        for address in addresses:
            if not may_ask(address, listed, loopback=self._local):
                hint = "; IDENTITY_FETCH_NETWORKS lists what may be" if trusted else ""
                raise FetchFailed(f"{url.host} has an address that may not be asked{hint}")
        if url.scheme == "http" and not all(_is_loopback(each) for each in addresses):
            raise FetchFailed("is not https")
        return addresses

    async def _ask_address(self, url: httpx.URL, address: str, ask: _Ask) -> Fetched:
        import httpx

        headers = {
            "host": url.netloc.decode("ascii"),
            "user-agent": "identity",
            "accept-encoding": "identity",
            "connection": "close",
            **ask.headers,
        }
        request = httpx.Request(
            ask.method,
            url.copy_with(host=address, fragment=None),
            headers=headers,
            content=ask.body,
            # The certificate has to be the name's, whichever address it is shown by.
            extensions={"sni_hostname": url.raw_host.decode("ascii"), "timeout": _BY_THE_WHOLE},
        )
        # A connection of its own: one kept open to this address may have been another name's.
        async with httpx.AsyncHTTPTransport(verify=self._tls(ask.trusted)) as transport:
            response = await transport.handle_async_request(request)
            try:
                return await _read(response, ask.limit, url.host)
            finally:
                await response.aclose()

    def _tls(self, trusted: bool) -> ssl.SSLContext:
        return self._tls_of_trusted if trusted and self._ca is not None else self._tls_of_others

    @cached_property
    def _tls_of_others(self) -> ssl.SSLContext:
        import httpx

        return httpx.create_ssl_context()

    @cached_property
    def _tls_of_trusted(self) -> ssl.SSLContext:
        import httpx

        context = httpx.create_ssl_context()
        context.load_verify_locations(cafile=self._ca)
        return context

    def _breaker(self, host: str, trusted: bool) -> Breaker:
        key = host, trusted
        breaker = self._breakers.pop(key, None) or Breaker(now)
        self._breakers[key] = breaker
        if len(self._breakers) > KEPT:
            self._breakers.popitem(last=False)
        return breaker


_BY_THE_WHOLE: Final[dict[str, Any]] = dict.fromkeys(("connect", "read", "write", "pool"))
"""No time limit of its own for any part: the whole has one."""


def _tell(breaker: Breaker, answer: Fetched | None, *, asked: bool) -> None:
    """A wrong path at a host is no fault of the host's, and to wait for one's turn neither."""
    if not asked:
        breaker.abandoned()
    elif answer is None or answer.status >= 500 or answer.status == 429:
        breaker.failed()
    else:
        breaker.succeeded()


async def _read(response: httpx.Response, limit: int, host: str) -> Fetched:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FetchFailed(f"{host} answers in an encoding that was not asked for")
    body = bytearray()
    async for piece in response.stream:  # type: ignore[union-attr]  # an async one, of this transport
        body += piece
        if len(body) > limit:
            raise FetchFailed(f"{host} answers more than {limit} octets")
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Fetched(response.status_code, headers, bytes(body))


async def _resolve(host: str, port: int) -> Sequence[str]:
    from socket import SOCK_STREAM

    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


def _is_loopback(address: str) -> bool:
    from ipaddress import ip_address

    return ip_address(address).is_loopback


def _words(problem: Exception) -> str:
    return f"{type(problem).__name__} {problem}".strip()
