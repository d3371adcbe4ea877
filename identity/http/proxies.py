"""The client's address behind proxies: Forwarded (RFC 7239) and X-Forwarded-For."""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

Address = IPv4Address | IPv6Address
MAY_NAME_CERTIFICATES = "identity.may_name_certificates"
"""Of a request's scope: whether whoever handed it on to us may say whose certificate came with it.
"""


class Proxies:
    """Whose word on the client's address counts (RFC 7239 §8.1)."""

    def __init__(self, trusted: tuple[IPv4Network | IPv6Network, ...]) -> None:
        self.trusted = trusted
        self.trusts = lru_cache(1024)(self._is_trusted)

    def unmask(self, scope: Scope) -> None:
        """Put the real client, and the scheme it used, into `scope` if a trusted proxy told.

        The right-most address that is not a trusted proxy's is believed. Where both headers came
        and disagree, one of them is the client's own invention: neither is believed.
        """
        peer = _peer(scope)
        if peer is None or not self.trusts(peer):
            return
        hops = [(address_of(node), proto) for node, proto in _forwarded(_all(scope, b"forwarded"))]
        legacy = [
            (address_of(node), "") for node in _all(scope, b"x-forwarded-for").split(",") if node
        ]
        found = {self._client(peer, told) for told in (hops, legacy) if told}
        if len(found) == 1:
            scope["client"] = (str(found.pop()), 0)
        proto = hops[-1][1] if hops else _all(scope, b"x-forwarded-proto").split(",")[-1].strip()
        if proto in ("http", "https"):
            scope["scheme"] = proto

    def handed_on(self, scope: Scope) -> bool:
        """Whether the connection itself is one of theirs: before `unmask`."""
        peer = _peer(scope)
        return peer is not None and self.trusts(peer)

    def _client(self, peer: Address, hops: list[tuple[Address | None, str]]) -> Address:
        last = peer
        for address, _ in reversed(hops):
            if address is None:  # "unknown", an obfuscated name, or nonsense: as far as we know
                return last
            last = address
            if not self.trusts(address):
                break
        return last

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self.trusted)


def _peer(scope: Scope) -> Address | None:
    client = scope.get("client")
    return address_of(client[0]) if client else None


def _all(scope: Scope, name: bytes) -> str:
    return ",".join(value.decode("latin-1") for n, value in scope["headers"] if n == name)


def address_of(node: str) -> Address | None:
    """An address without its port; IPv4 in IPv6's clothes is IPv4."""
    node = node.strip().strip('"')
    if node.startswith("["):
        node = node[1:].partition("]")[0]
    elif node.count(":") == 1:
        node = node.partition(":")[0]
    try:
        address = ip_address(node)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


_PAIR = re.compile(r'\s*([\w!#$%&\'*+.^`|~-]+)=("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*(?=[;,]|$)')


def _forwarded(header: str) -> list[tuple[str, str]]:
    """(for, proto) of each element of a Forwarded header (RFC 7239 §4); nonsense ends it."""
    elements: list[dict[str, str]] = [{}] if header else []
    position = 0
    while position < len(header):
        pair = _PAIR.match(header, position)
        if pair:
            elements[-1][pair[1].lower()] = pair[2].strip('"').lower()
            position = pair.end()
        if position < len(header):
            if header[position] == ",":
                elements.append({})
            elif header[position] != ";":
                return [*((e.get("for", ""), e.get("proto", "")) for e in elements), ("", "")]
            position += 1
    return [(element.get("for", ""), element.get("proto", "")) for element in elements]
