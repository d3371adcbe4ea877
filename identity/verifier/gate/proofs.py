"""DPoP proofs (RFC 9449 §4): that whoever sends a request holds a key, and means this request.

The one profile of the gate that reads a key out of the token itself. So it vouches for nothing but
that key: what the key may do, the access token or the refresh token says that is bound to it.

Stricter than the RFC where that costs nobody anything: a proof is at most 8 KiB, its base64url has
one spelling and its JSON one reading (`encoding`). As the RFC has it, what nobody knows in header
or payload is passed over, but `crit` is refused.
"""

from __future__ import annotations

import re
import string
import time
from collections.abc import Callable, Collection
from hashlib import sha256
from typing import Any, Final, NamedTuple

from identity.verifier.gate.algorithms import ALGORITHMS, Verify
from identity.verifier.gate.encoding import b64url_decode, b64url_encode, json_object
from identity.verifier.gate.gate import Refused
from identity.verifier.gate.jwk import thumbprint
from identity.verifier.gate.rules import BAD_SIGNATURE, LAST_SECOND, MAX_TOKEN_BYTES

WINDOW: Final = 60.0
"""Seconds that `iat` may lie before or behind us: clocks differ, and requests take their time."""
HEADERS_KEPT: Final = 512
LONGEST_KEPT: Final = 1200
"""Octets of a header that is remembered: one with an RSA key of 4096 bits has a thousand."""

_ENCODED: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(string.ascii_letters + string.digits + "-._~")
_ADDRESS: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._~%!$&'()*+,;=-]+)(?::(?P<port>[0-9]{0,5}))?"
    r"(?P<path>/[!\"$->@-~]*)?(?:\?[!\"$-~]*)?(?:#[!-~]*)?",
    re.IGNORECASE | re.ASCII,
)
_PORTS: Final = {"http": 80, "https": 443}


class Proof(NamedTuple):
    """A good proof of this request. That it is the first of its `jti`, and whether its `nonce` is
    one of ours, is for the caller to say."""

    jkt: str
    """The key's thumbprint (RFC 7638)."""
    jti: str
    until: float
    """Unix time after which it is refused for its age."""
    nonce: str | None
    alg: str


class _Key(NamedTuple):
    alg: str
    jkt: str
    verify: Verify


class Proofs:
    """`algorithms`: those that proofs may be signed by. `clock` gives Unix time."""

    def __init__(
        self,
        algorithms: Collection[str] = tuple(ALGORITHMS),
        clock: Callable[[], float] = time.time,
        window: float = WINDOW,
    ) -> None:
        self.algorithms = tuple(name for name in ALGORITHMS if name in algorithms)
        self._clock = clock
        self._window = window
        self._keys: dict[bytes, _Key] = {}
        """By the header's segment, of proofs whose signature was good: a client writes the same
        one each time, and to build its key costs half as much as to check a signature."""

    def check(self, proof: object, method: str, address: str, token: str | None = None) -> Proof:
        """`Refused` unless `proof` is one of a request by `method` to `address`, which brings
        along the access token `token`. Whatever `proof` is, nothing else is raised.

        `address`: where clients know us to be, query or not; never what the request says itself.
        """
        head, payload, signature, signed = _segments(proof)
        key = self._keys.get(head) or self._key(head)
        try:
            good = key.verify(signed, signature)
        except Exception:  # whatever a backend raises, this signature is not the key's
            good = False
        if good is not True:
            raise Refused("signature", BAD_SIGNATURE)
        if head not in self._keys and len(head) <= LONGEST_KEPT:
            if len(self._keys) >= HEADERS_KEPT:
                self._keys.clear()
            self._keys[head] = key
        claims = _object("payload", payload)
        _check_request(claims, method, address)
        until = self._check_times(claims)
        if token is not None:
            _check_token(claims, token)
        jti, nonce = claims.get("jti"), claims.get("nonce")
        if type(jti) is not str or not jti:
            raise Refused("jti", "is not a string")
        if "nonce" in claims and type(nonce) is not str:
            raise Refused("nonce", "is not a string")
        return Proof(key.jkt, jti, until, nonce, key.alg)

    def _key(self, head: bytes) -> _Key:
        try:
            header = _object("header", b64url_decode(head))
        except ValueError as problem:
            raise Refused("segments", f"has a segment that is {problem}") from None
        if header.get("typ") != "dpop+jwt":
            raise Refused("header.typ", "typ is not dpop+jwt")
        if "crit" in header:
            raise Refused("header.crit", "crit names what we do not know")
        alg, jwk = header.get("alg"), header.get("jwk")
        if type(alg) is not str or alg not in self.algorithms:
            raise Refused("header.alg", f"alg is not one of {', '.join(self.algorithms)}")
        if type(jwk) is not dict:
            raise Refused("header.jwk", "jwk is not a JSON object")
        try:
            verify = ALGORITHMS[alg].verifier(jwk)
            return _Key(alg, thumbprint(jwk), verify)
        except ValueError as problem:
            raise Refused("header.jwk", str(problem)) from None
        except Exception:  # whatever a backend raises, this is no key
            raise Refused("header.jwk", "jwk is not a key") from None

    def _check_times(self, claims: dict[str, Any]) -> float:
        """Until when `iat` is recent enough."""
        now: float = self._clock()
        issued_at: Any = claims.get("iat")
        if not _is_time(issued_at):
            raise Refused("iat", "is not a time")
        if not -self._window <= now - issued_at <= self._window:
            raise Refused("iat", f"iat is {issued_at - now:+.0f} s from now")
        until = float(issued_at + self._window)
        # Neither has to be there; whoever says so himself is believed (RFC 7519 §4.1.4, §4.1.5).
        if "exp" in claims and (not _is_time(claims["exp"]) or now >= claims["exp"] + self._window):
            raise Refused("exp", "has expired")
        if "nbf" in claims and (not _is_time(claims["nbf"]) or now < claims["nbf"] - self._window):
            raise Refused("nbf", "its time has not begun")
        return until


def same_address(htu: str, address: str) -> bool:
    """Whether both name one place, as RFC 3986 §6.2.2 and §6.2.3 compare them: query and fragment
    aside, host in any case, the scheme's port named or not, an octet encoded or not where it need
    not be. Dots in a path stay what they are."""
    return htu.partition("?")[0] == address or _place(htu) == (_place(address) or address)


def _place(address: str) -> tuple[str, str, int, str] | None:
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return None
    scheme = found["scheme"].lower()
    port = int(found["port"] or _PORTS[scheme])
    path = _ENCODED.sub(_plain, found["path"] or "/")
    return scheme, _ENCODED.sub(_plain, found["host"]).lower(), port, path


def _plain(encoded: re.Match[str]) -> str:
    character = chr(int(encoded[1], 16))
    return character if character in _UNRESERVED else encoded[0].upper()


def _segments(proof: object) -> tuple[bytes, bytes, bytes, bytes]:
    """The header as it came, payload and signature decoded, and what was signed."""
    if not isinstance(proof, str | bytes) or len(proof) > MAX_TOKEN_BYTES or not proof.isascii():
        raise Refused("proof", f"is not ASCII text of at most {MAX_TOKEN_BYTES} bytes")
    signed, _, signature = (proof if isinstance(proof, bytes) else proof.encode()).rpartition(b".")
    head, dot, payload = signed.partition(b".")
    if not dot or b"." in payload:
        raise Refused("segments", "is not one JWT of three segments")
    try:
        return head, b64url_decode(payload), b64url_decode(signature), signed
    except ValueError as problem:
        raise Refused("segments", f"has a segment that is {problem}") from None


def _object(name: str, octets: bytes) -> dict[str, Any]:
    try:
        return json_object(octets)
    except ValueError as problem:
        raise Refused(name, f"is refused: {problem}") from None


def _check_request(claims: dict[str, Any], method: str, address: str) -> None:
    htm, htu = claims.get("htm"), claims.get("htu")
    if type(htm) is not str or htm != method:
        raise Refused("htm", f"htm is not {method}")
    if type(htu) is not str:
        raise Refused("htu", "htu is not a string")
    if not same_address(htu, address):
        raise Refused("htu", f"htu is not {address.partition('?')[0]}")


def _check_token(claims: dict[str, Any], token: str) -> None:
    digest = sha256(token.encode("ascii", "replace")).digest()
    if claims.get("ath") != b64url_encode(digest).decode():
        raise Refused("ath", "ath is not the digest of the access token")


def _is_time(value: Any) -> bool:
    return (type(value) is int or type(value) is float) and 0 <= value <= LAST_SECOND
