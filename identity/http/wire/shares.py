"""How many of a process's connections one address may hold: a share, never all."""

import asyncio
from ipaddress import IPv4Network, IPv6Network
from typing import Any, cast

import structlog
from starlette.types import Receive, Scope, Send

from identity.errors import Overloaded
from identity.http.proxies import Proxies, address_of
from identity.http.wire.cycle import refusal
from identity.http.wire.protocol import LimitedProtocol

_log = structlog.get_logger()


class Shares:
    """Open connections by address, IPv6 by the /64 that one customer has. Trusted proxies speak
    for many and are not counted."""

    def __init__(self, share: int, trusted: tuple[IPv4Network | IPv6Network, ...]) -> None:
        self.share = share
        self._proxies = Proxies(trusted)
        self._held: dict[int, int] = {}

    def whose(self, host: str) -> int | None:
        """A number for the address or network that is counted; None: it is not."""
        address = address_of(host)
        if address is None or self._proxies.trusts(address):
            return None
        return int(address) if address.version == 4 else 2**32 + (int(address) >> 64)

    def enter(self, who: int) -> int:
        """How many it holds, with this one."""
        held = self._held[who] = self._held.get(who, 0) + 1
        return held

    def leave(self, who: int) -> None:
        held = self._held[who] - 1
        if held:
            self._held[who] = held
        else:
            del self._held[who]


class SharingProtocol(LimitedProtocol):
    """A connection beyond its address's share counts for nothing, is told so when it asks, and has
    not long to ask. Of these too there is an end."""

    def __init__(self, *given: Any, shares: Shares, **named: Any) -> None:
        super().__init__(*given, **named)
        self._shares = shares
        self._who: int | None = None
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        shares = self._shares
        host = self.client[0] if self.client else ""
        self._who = shares.whose(host)
        if self._who is None:
            return
        held = shares.enter(self._who)
        if held > shares.share:
            self.app = crowded
            self.server_state.connections.discard(cast(Any, self))
            self._end = self.loop.call_later(self.limits.linger_seconds, transport.abort)
            if held == shares.share + 1:
                _log.warning("too many connections from one address", address=host)
            elif held > shares.share + self.limits.connections:
                transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._end is not None:
            self._end.cancel()
        if self._who is not None:
            self._shares.leave(self._who)
            self._who = None


async def crowded(scope: Scope, receive: Receive, send: Send) -> None:
    status, headers, body = refusal(Overloaded(1, "too many connections from this address"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
