"""What the issuer says of itself (RFC 8414), fetched when needed and kept a while."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from identity.verifier.clocks import Clock
from identity.verifier.gate.encoding import json_object
from identity.verifier.issuer.fetching import Credentials, Fetcher, FetchFailed

WELL_KNOWN: Final = "/.well-known/oauth-authorization-server"
_LEAST, _USUAL, _MOST = 60.0, 3600.0, 86400.0


def metadata_address(issuer: str) -> str:
    """An issuer's path goes behind the well-known name (RFC 8414 §3.1)."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{parts.path.rstrip('/')}"


class Issuer:
    """`url` is compared octet for octet with `iss` and with what the metadata says."""

    def __init__(self, url: str, fetcher: Fetcher, credentials: Credentials, clock: Clock) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.netloc or parts.query:
            raise ValueError(f"an issuer is an https address without a query, not {url!r}")
        self.url = url
        self.fetcher = fetcher
        self.credentials = credentials
        self.clock = clock
        self._metadata: dict[str, Any] = {}
        self._good_until = float("-inf")

    async def endpoint(self, name: str) -> str | None:
        """The address that the metadata has under `name`, None where it has none.

        `FetchFailed` where the metadata were never read and cannot be; metadata that have been
        read serve on while the issuer is down.
        """
        if self.clock.monotonic() >= self._good_until:
            try:
                await self._discover()
            except FetchFailed:
                if not self._metadata:
                    raise
        address = self._metadata.get(name)
        return address if isinstance(address, str) else None

    def forget(self) -> None:
        """Ask again at the next use: an address did not do what it should."""
        self._good_until = float("-inf")

    async def _discover(self) -> None:
        answer = await self.fetcher.fetch("GET", metadata_address(self.url))
        try:
            metadata = json_object(answer.body)
        except ValueError as problem:
            raise FetchFailed(f"the issuer's metadata are {problem}") from None
        if metadata.get("issuer") != self.url:
            # RFC 8414 §3.3: or one issuer could hand out another's keys.
            raise FetchFailed(f"the metadata are of {metadata.get('issuer')!a}, not of {self.url}")
        for name in ("jwks_uri", "introspection_endpoint", "revocations_endpoint"):
            self._check_address(name, metadata.get(name))
        age = answer.max_age()
        seconds = _USUAL if age is None else min(max(age, _LEAST), _MOST)
        self._metadata = metadata
        self._good_until = self.clock.monotonic() + seconds

    def _check_address(self, name: str, address: object) -> None:
        if address is None:
            return
        schemes = ("https",) if self.url.startswith("https:") else ("https", "http")
        if not isinstance(address, str) or urlsplit(address).scheme not in schemes:
            raise FetchFailed(f"{name} in the issuer's metadata is no {schemes[0]} address")
