"""Certificates of clients (RFC 8705): how a service hears which one came with a request.

Whoever ends TLS has seen it, and seen that its key is held. So a service is told by its proxy, in
the header `Client-Cert` (RFC 9440), or by its own server; which of the two has to be said to the
verifier, for anybody may send a header. Nothing here asks who issued a certificate: a token that is
bound to one goes with that one and no other.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Callable, Mapping
from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import Any, Final

from identity.verifier.errors import UnreadableCertificate
from identity.verifier.gate.encoding import b64url_encode

HEADER: Final = b"client-cert"
CHAIN_HEADER: Final = b"client-cert-chain"
LONGEST: Final = 8 * 1024
"""Octets of one of these headers. A certificate has one to three thousand."""
MOST_IN_CHAIN: Final = 8

_SEQUENCE: Final = re.compile(rb" *:([A-Za-z0-9+/]+={0,2}): *")
_PEM: Final = re.compile(
    r"\s*-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*"
)

CertificateSource = Callable[[Mapping[str, Any]], bytes | None]
"""Of an ASGI scope: the DER of the certificate that came with its request, None where none did.
Raises `TokenRefused`."""


def read(value: bytes) -> bytes:
    """The DER in a value of `Client-Cert`: one byte sequence (RFC 8941 §3.3.5) without parameters,
    in the one spelling of its base64. ValueError for anything else."""
    found = _SEQUENCE.fullmatch(value) if len(value) <= LONGEST else None
    if found is None:
        raise ValueError(f"is no byte sequence of RFC 8941 within {LONGEST} octets")
    return _decoded(found[1])


def read_chain(value: bytes) -> list[bytes]:
    """The DER of each certificate in a value of `Client-Cert-Chain`. ValueError."""
    if len(value) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} octets")
    members = value.split(b",")
    if len(members) > MOST_IN_CHAIN:
        raise ValueError(f"has more than {MOST_IN_CHAIN} certificates")
    return [read(member.replace(b"\t", b" ")) for member in members]


def header_of(der: bytes) -> str:
    """The value of `Client-Cert` that says so."""
    return f":{b64encode(der).decode()}:"


def thumbprint(der: bytes) -> str:
    """`x5t#S256` (RFC 8705 §3.1)."""
    return b64url_encode(sha256(der).digest()).decode()


def der_of(pem: str) -> bytes:
    """The DER of one certificate in PEM (RFC 7468). ValueError for anything else."""
    found = _PEM.fullmatch(pem)
    if found is None:
        raise ValueError("is no certificate in PEM")
    return _decoded("".join(found[1].split()).encode())


def _decoded(text: bytes) -> bytes:
    try:
        octets = b64decode(text, validate=True)
    except Error:
        raise ValueError("is no base64") from None
    if b64encode(octets) != text:
        raise ValueError("is base64 in another spelling than the usual one")
    return octets


class FromProxies:
    """As the header `Client-Cert` says, of requests that one of `networks` sends: addresses of
    proxies that take away what the client itself says there. From anybody else the header says
    nothing.

    A server that puts the client's address in place of the proxy's, as uvicorn does unless it is
    told `--no-proxy-headers`, hides who has sent it: then no certificate is ever believed.
    """

    def __init__(self, *networks: str) -> None:
        if not networks:
            raise ValueError("no proxy is named whose word could count")
        self._networks = tuple(ip_network(network) for network in networks)

    def __call__(self, scope: Mapping[str, Any]) -> bytes | None:
        if not self._trusts(scope.get("client")):
            return None
        values = [value for name, value in scope["headers"] if name == HEADER]
        if not values:
            return None
        if len(values) > 1:
            raise UnreadableCertificate("several headers Client-Cert")
        try:
            return read(values[0])
        except ValueError as problem:
            raise UnreadableCertificate(f"Client-Cert {problem}") from None

    def _trusts(self, peer: Any) -> bool:
        try:
            address: Any = ip_address(peer[0]) if peer else None
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return address is not None and any(address in network for network in self._networks)


class FromServer:
    """As the server says that has ended TLS itself (ASGI's extension `tls`). One that it has found
    something wrong with is none."""

    def __call__(self, scope: Mapping[str, Any]) -> bytes | None:
        told = scope.get("extensions", {}).get("tls", {})
        first = next(iter(told.get("client_cert_chain") or ()), None)
        if first is None or told.get("client_cert_error") is not None:
            return None
        try:
            return der_of(first)
        except ValueError as problem:
            raise UnreadableCertificate(
                f"the server's certificate of the client {problem}"
            ) from None
