"""Which addresses may be asked for something (SSRF): what names lead to is somebody else's choice.

Spelled out, for `ipaddress.is_global` differs between patch levels of Python, and what a cloud
tells of its machines it tells at addresses that look public too.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _all(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


NEVER: Final = _all(
    # Link-local: metadata of AWS, Google, Azure, Oracle, OpenStack, DigitalOcean, and of ECS, EKS.
    "169.254.0.0/16", "fe80::/10",
    # Metadata elsewhere: Azure's wire server, Alibaba, Oracle, AWS and EKS, Google, Scaleway.
    "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32",
    "fd00:ec2::/32", "fd20:ce::/32", "fd00:42::42/128",
    # Nobody's, everybody's, and several at once.
    "0.0.0.0/8", "::/128", "224.0.0.0/4", "ff00::/8", "240.0.0.0/4",
)  # fmt: skip
"""Whatever an administrator lists."""
LOOPBACK: Final = _all("127.0.0.0/8", "::1/128")
_SPECIAL: Final = _all(
    "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
    "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)  # fmt: skip
"""IANA's special-purpose registries (RFC 6890), as far as they are not above; with Teredo and 6to4,
which end at an IPv4 address that somebody wrote into them."""
_UNICAST: Final = ip_network("2000::/3")
_NAT64: Final = ip_network("64:ff9b::/96")


def plain(address: Address) -> Address:
    """IPv4 in IPv6's clothes is IPv4: mapped (RFC 4291 §2.5.5), or behind a translator (RFC
    6052 §2.1)."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


def may_ask(text: str, listed: Sequence[Network], *, loopback: bool) -> bool:
    """Whether the address `text` may be connected to. `listed`: networks that may be asked though
    they are private; `loopback`: whether this machine may ask itself."""
    if "%" in text:  # a zone (RFC 4007): link-local
        return False
    address = plain(ip_address(text))
    if _in(address, NEVER):
        return False
    if _in(address, listed) or (loopback and _in(address, LOOPBACK)):
        return True
    if _in(address, LOOPBACK) or _in(address, _SPECIAL):
        return False
    return isinstance(address, IPv4Address) or address in _UNICAST


def _in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
