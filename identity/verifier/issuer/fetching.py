"""HTTP to the issuer, with bounds on time and size."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from inspect import isawaitable
from urllib.parse import quote_plus

import httpx

from identity.verifier.issuer import traceparent

MAX_DOCUMENT_BYTES = 1024 * 1024
MAX_LIST_BYTES = 16 * 1024 * 1024

TokenSupplier = Callable[[], str | Awaitable[str]]


class FetchFailed(Exception):
    """No answer of use came; the text says of what and why, and holds no secret.

    `status` is the HTTP status where there was one, `retry_after` what it asked for in seconds.
    """

    def __init__(self, words: str, status: int | None = None, retry_after: float | None = None):
        super().__init__(words)
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def max_age(self) -> float | None:
        """Seconds by Cache-Control (RFC 9111 §5.2.2.1); None where it does not say."""
        control = self.headers.get("cache-control", "").lower()
        if re.search(r"\bno-(?:store|cache)\b", control):
            return 0.0
        found = re.search(r"(?:^|[\s,])max-age=\"?(\d{1,9})", control)
        return float(found[1]) if found else None


class Credentials:
    """How this verifier authenticates to its issuer: as a client, by a bearer token, or not."""

    def __init__(
        self, client_id: str | None, client_secret: str | None, token: TokenSupplier | str | None
    ) -> None:
        if (client_id is None) != (client_secret is None):
            raise ValueError("client_id and client_secret come together")
        if client_id is not None and token is not None:
            raise ValueError("authenticate as a client or by a token, not both")
        self._token = token
        self._basic: str | None = None
        if client_id is not None and client_secret is not None:
            # RFC 6749 §2.3.1 wants both parts form-encoded.
            pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
            self._basic = f"Basic {b64encode(pair.encode()).decode()}"

    def __bool__(self) -> bool:
        return self._basic is not None or self._token is not None

    def __repr__(self) -> str:
        return "<Credentials>"

    async def headers(self) -> dict[str, str]:
        """The Authorization header. What a token supplier raises passes through."""
        if self._basic is not None:
            return {"authorization": self._basic}
        if self._token is None:
            return {}
        token = self._token if isinstance(self._token, str) else self._token()
        if isawaitable(token):
            token = await token
        return {"authorization": f"Bearer {token}"}


class Fetcher:
    """One HTTP client, made when it is first needed, in the loop that uses it."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None, timeout: float) -> None:
        self.transport = transport
        self.timeout = timeout
        self._client: httpx.AsyncClient | None = None

    @property
    def client(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                transport=self.transport,
                timeout=self.timeout,
                headers={"user-agent": "identity-verifier"},
                limits=httpx.Limits(max_connections=32, max_keepalive_connections=8),
            )
        return self._client

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None and self.transport is None:
            await client.aclose()

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        follow: bool = False,
        limit: int = MAX_DOCUMENT_BYTES,
        within: float | None = None,
    ) -> Answer:
        """The whole answer, 200 or 304, within `within` seconds and `limit` octets; else
        `FetchFailed`."""
        seconds = self.timeout if within is None else within
        sent = {**(headers or {}), **traceparent.headers()}
        request = self.client.build_request(
            method, url, headers=sent, params=params, data=form, timeout=seconds
        )
        try:
            async with asyncio.timeout(seconds):
                response = await self.client.send(request, stream=True, follow_redirects=follow)
                try:
                    body = bytearray()
                    async for piece in response.aiter_bytes():
                        body += piece
                        if len(body) > limit:
                            raise FetchFailed(f"{request.url.path} answers more than {limit} bytes")
                finally:
                    await response.aclose()
        except TimeoutError:
            raise FetchFailed(f"{request.url.path} did not answer in {seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as problem:
            raise FetchFailed(f"{request.url.path}: {_words(problem)}") from problem
        raise_for(request.url.path, response)
        return Answer(response.status_code, response.headers, bytes(body))

    @asynccontextmanager
    async def stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """An answer 200 whose body goes on; reading it may take any time, getting it may not."""
        timeout = httpx.Timeout(self.timeout, read=None)
        request = self.client.build_request("GET", url, headers=headers, timeout=timeout)
        try:
            async with asyncio.timeout(self.timeout):
                response = await self.client.send(request, stream=True)
        except TimeoutError:
            raise FetchFailed(f"{request.url.path} did not answer in {self.timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise FetchFailed(f"{request.url.path}: {_words(problem)}") from problem
        try:
            raise_for(request.url.path, response)
            yield response
        except (httpx.HTTPError, httpx.StreamError) as problem:
            raise FetchFailed(f"{request.url.path}: {_words(problem)}") from problem
        finally:
            await response.aclose()


def raise_for(path: str, response: httpx.Response) -> None:
    """`FetchFailed` for any status but 200 and 304."""
    if response.status_code in (200, 304):
        return
    after = response.headers.get("retry-after", "")
    raise FetchFailed(
        f"{path} answers {response.status_code}",
        response.status_code,
        float(after) if after.isascii() and after.isdigit() and len(after) < 6 else None,
    )


def _words(problem: Exception) -> str:
    return f"{type(problem).__name__} {problem}".strip()
