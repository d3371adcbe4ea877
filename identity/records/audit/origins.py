"""Who asks, from where: known to whatever is written down in the course of a request."""

from contextvars import ContextVar
from ipaddress import IPv6Address, ip_address
from typing import Literal, Protocol

from identity.dataclass import dataclass


class Trace(Protocol):
    """What is told elsewhere of this request, see `records.tracing`."""

    id: str


@dataclass(slots=True)
class Origin:
    """Who asks, from where. `actor` is a user's or client's id, or an operating-system user."""

    request_id: str | None = None
    address: str | None = None
    actor_type: Literal["user", "client", "cli", "system", "anonymous"] = "anonymous"
    actor: str | None = None
    trace: Trace | None = None


SYSTEM = Origin(actor_type="system")
origin: ContextVar[Origin] = ContextVar("origin", default=SYSTEM)


def act_as(actor_type: Literal["user", "client", "cli", "system"], actor: str) -> None:
    """From here on this request's events name `actor`."""
    who = origin.get()
    if who is SYSTEM:
        origin.set(Origin(actor_type=actor_type, actor=actor))
    else:
        who.actor_type, who.actor = actor_type, actor


def network_of(address: str | None) -> str:
    """An IPv6 address counts as its /64, which is one subscriber's to choose from."""
    try:
        parsed = ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)
