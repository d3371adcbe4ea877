"""Who may read the metrics: addresses, and whoever brings a secret."""

import hmac
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

from pydantic import SecretStr

from identity.errors import Forbidden, InvalidToken, MissingToken
from identity.http.proxies import address_of


class Asking(Protocol):
    @property
    def address(self) -> str | None: ...
    def header(self, name: bytes) -> bytes | None: ...


class Scrapers:
    """`allowed` empty: everybody may. The right address or a right secret is enough."""

    def __init__(self, allowed: Sequence[IPv4Network | IPv6Network | SecretStr]) -> None:
        self._open = not allowed
        self._networks = [each for each in allowed if not isinstance(each, SecretStr)]
        self._secrets = [
            each.get_secret_value().encode() for each in allowed if isinstance(each, SecretStr)
        ]

    def check(self, request: Asking) -> None:
        """Raises `Forbidden`, or where a secret would help MissingToken or InvalidToken."""
        if self._open:
            return
        address = address_of(request.address or "")
        if address is not None and any(address in network for network in self._networks):
            return
        if not self._secrets:
            raise Forbidden
        scheme, _, given = (request.header(b"authorization") or b"").partition(b" ")
        if scheme.lower() != b"bearer":
            raise MissingToken
        if not any(hmac.compare_digest(given.strip(), secret) for secret in self._secrets):
            raise InvalidToken("the token is not valid")
