"""One request to somebody else, to an address that was looked at: what `fetching` sends, each time.

The name is resolved once, every address that it has must be one that may be asked (`networks`), and
the connection goes to one of those, whatever the name says by then.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from identity.dataclass import dataclass
from identity.http.networks import Network, may_ask

if TYPE_CHECKING:
    import httpx

LEAST_AGE, USUAL_AGE, MOST_AGE = 10.0, 300.0, 86400.0
"""Seconds for which an answer is kept: at the least, however often somebody makes us ask, without
a word of its own, and at the most."""
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


class Ask(NamedTuple):
    method: str
    url: str
    trusted: bool
    headers: dict[str, str]
    body: bytes | None
    limit: int
    within: float


class Exchanges:
    """As `fetching.Fetcher` is told."""

    def __init__(
        self, networks: Sequence[Network], ca: Path | None, resolve: Resolve | None, *, local: bool
    ) -> None:
        self._networks = tuple(networks)
        self._ca = ca
        self._local = local
        self._resolve = resolve or _resolve

    def check(self, url: httpx.URL) -> None:
        if url.userinfo:
            raise FetchFailed("has a user's name or password in it")
        if url.scheme == "https" and url.host:
            return
        if url.scheme == "http" and self._local and url.host in _LOCAL:
            return
        raise FetchFailed("is not https")

    async def exchange(self, url: httpx.URL, ask: Ask) -> Fetched:
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

    async def _ask_address(self, url: httpx.URL, address: str, ask: Ask) -> Fetched:
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


_BY_THE_WHOLE: Final[dict[str, Any]] = dict.fromkeys(("connect", "read", "write", "pool"))
"""No time limit of its own for any part: the whole has one."""


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
