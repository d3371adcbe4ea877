"""What the gate asks of a token, one rule a function, in the order in which it asks.

A rule answers None, or the sentence that says why the token is refused. Sentences quote what
the token says as ASCII, so that neither a log nor a terminal can be written to by a token.

Stricter than RFC 7519 and RFC 9068 on purpose; tests/verifier/gate/test_oracles.py holds each of
these against independent libraries:
  token       at most 8 KiB, ASCII
  segments    base64url has one spelling
  header, payload   JSON has one reading (`encoding`), at most eight levels deep
  header.members    exactly `alg`, `typ`, `kid`. RFC 7515 §4 would ignore unknown ones, but our
              issuer writes no others, and what nobody reads is where the attacks live:
              an issuer that wants a new one updates its verifiers first
  exp, nbf, iat     between 1970 and the end of the year 9999; refused at `exp`, not after it
  aud, sub, client_id, jti, scope, sid, username, roles, act    the right shape, never empty strings
  cnf         a digest of a key or certificate, and nothing that we could not check
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from identity.verifier.gate.claims import expired, premature
from identity.verifier.gate.encoding import b64url_decode, json_object
from identity.verifier.gate.reading import HEADERS_KEPT, Policy, Reading

MAX_TOKEN_BYTES: Final = 8 * 1024
_HEADER_MEMBERS: Final = {"alg", "typ", "kid"}
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
BAD_SIGNATURE: Final = "the signature is not the key's"
LAST_SECOND: Final = 253402300799
CONFIRMED_BY: Final = frozenset({"jkt", "x5t#S256"})
"""What a token of our issuer may be bound to (RFC 9449 §6.1, RFC 8705 §3.1). By anything else
nobody here could tell its holder from a thief."""
_DIGEST: Final = re.compile(r"[A-Za-z0-9_-]{43}")
# RFC 6749 §3.3. The spaces are single, so that splitting at them gives scopes and nothing else.
SCOPE: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")


# Any: a rule is asked only when the part of the reading that it needs is there.
Test = Callable[[Policy, Any], str | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """`needs` names the part of a `Reading` without which the rule cannot be asked;
    `passed` is what to say when it holds, a format of `policy` and `reading`."""

    name: str
    needs: str
    passed: str
    test: Test


RULES: Final[list[Rule]] = []


def _rule(name: str, needs: str, passed: str) -> Callable[[Test], Test]:
    def add(test: Test) -> Test:
        RULES.append(Rule(name, needs, passed, test))
        return test

    return add


def _quote(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 100 else text[:100] + "..."


@_rule("token", "now", "is ASCII text of at most 8 KiB")
def _token(policy: Policy, reading: Reading) -> str | None:
    token = reading.token
    if not isinstance(token, str | bytes):
        return "is not text"
    if len(token) > MAX_TOKEN_BYTES:
        return f"is longer than {MAX_TOKEN_BYTES} bytes"
    if not token.isascii():
        return "has characters outside ASCII"
    reading.octets = token if isinstance(token, bytes) else token.encode("ascii")
    return None


@_rule("segments", "octets", "is three segments of canonical base64url")
def _segments(policy: Policy, reading: Any) -> str | None:
    parts = reading.octets.split(b".", 3)
    if len(parts) != 3:
        return "does not have exactly three segments"
    head, payload, signature = parts
    known = policy.headers.get(head)
    try:
        if known is None:
            reading.segments = (
                b64url_decode(head),
                b64url_decode(payload),
                b64url_decode(signature),
            )
        else:
            reading.segments = (known[0], b64url_decode(payload), b64url_decode(signature))
            reading.header = known[1]
        reading.head = head
    except ValueError as problem:
        return f"has a segment that is {problem}"
    return None


@_rule("header", "segments", "header is a JSON object")
def _header(policy: Policy, reading: Any) -> str | None:
    if reading.header is not None:
        return None
    try:
        reading.header = json_object(reading.segments[0])
    except ValueError as problem:
        return f"header is refused: {problem}"
    return None


@_rule("header.members", "header", "header has the members alg, typ and kid and no others")
def _header_members(policy: Policy, reading: Any) -> str | None:
    if reading.header.keys() == _HEADER_MEMBERS:
        return None
    foreign = sorted(reading.header.keys() - _HEADER_MEMBERS)
    if foreign:
        return f"header has the member {_quote(foreign[0])}, which we do not take"
    return f"header lacks {', '.join(sorted(_HEADER_MEMBERS - reading.header.keys()))}"


@_rule("header.typ", "header", "typ is at+jwt: an access token")
def _typ(policy: Policy, reading: Any) -> str | None:
    typ = reading.header.get("typ")
    if typ == "at+jwt" or (type(typ) is str and typ.lower() in _TYPES):
        return None
    return f"typ is {_quote(typ)}, not at+jwt"


@_rule("header.alg", "header", "alg is {reading.header[alg]!a}, which we accept")
def _alg(policy: Policy, reading: Any) -> str | None:
    alg = reading.header.get("alg")
    if type(alg) is str and alg in policy.algorithms:
        return None
    return f"alg is {_quote(alg)}, not one of {', '.join(sorted(policy.algorithms))}"


@_rule("header.kid", "header", "kid names the key {reading.key.kid!a}, which we know")
def _kid(policy: Policy, reading: Any) -> str | None:
    kid = reading.header.get("kid")
    if type(kid) is not str:
        return "kid is not a string"
    key = policy.keys(kid)
    if key is None or key.kid != kid:
        return f"kid {_quote(kid)} names no key that we know"
    reading.key = key
    return None


@_rule("key.alg", "key", "the key is for {reading.key.alg}")
def _key_alg(policy: Policy, reading: Any) -> str | None:
    if reading.key.alg == reading.header.get("alg"):
        return None
    return f"the key is for {reading.key.alg}, not for {_quote(reading.header.get('alg'))}"


@_rule("signature", "key", "the signature is the key's")
def _signature(policy: Policy, reading: Any) -> str | None:
    # The key's type was fixed when it was built: no byte of the token chooses how it is verified.
    signed = reading.octets[: reading.octets.rindex(b".")]
    try:
        good = reading.key.verify(signed, reading.segments[2])
    except Exception:  # whatever a backend raises, this signature is not the key's
        good = False
    if good is not True:
        return BAD_SIGNATURE
    if reading.head not in policy.headers:
        if len(policy.headers) >= HEADERS_KEPT:
            policy.headers.clear()
        policy.headers[reading.head] = (reading.segments[0], reading.header)
    return None


@_rule("payload", "segments", "payload is a JSON object")
def _payload(policy: Policy, reading: Any) -> str | None:
    try:
        reading.claims = json_object(reading.segments[1])
    except ValueError as problem:
        return f"payload is refused: {problem}"
    return None


@_rule("iss", "claims", "iss is {policy.issuer!a}")
def _iss(policy: Policy, reading: Any) -> str | None:
    issuer = reading.claims.get("iss")
    if issuer == policy.issuer:
        return None
    return f"iss is {_quote(issuer)}, not {_quote(policy.issuer)}"


@_rule("aud", "claims", "aud {reading.claims[aud]!a} is an audience we serve")
def _aud(policy: Policy, reading: Any) -> str | None:
    audience = reading.claims.get("aud")
    if type(audience) is str:
        audience = [audience]
    if not _are_strings(audience) or not audience:
        return f"aud is {_quote(audience)}, neither a string nor a list of strings"
    if policy.audiences is None or not policy.audiences.isdisjoint(audience):
        return None
    return f"aud {_quote(audience)} names none of {', '.join(sorted(policy.audiences))}"


@_rule("exp", "claims", "expires at {reading.claims[exp]}, and it is {reading.now:.0f}")
def _exp(policy: Policy, reading: Any) -> str | None:
    expires_at = reading.claims.get("exp")
    if not _is_time(expires_at):
        return f"exp is {_quote(expires_at)}, not a time"
    if expired(expires_at, reading.now, policy.leeway):
        return f"expired at {expires_at}, and it is {reading.now:.0f}"
    return None


@_rule("iat", "claims", "issued at {reading.claims[iat]}")
def _iat(policy: Policy, reading: Any) -> str | None:
    issued_at = reading.claims.get("iat")
    if not _is_time(issued_at):
        return f"iat is {_quote(issued_at)}, not a time"
    if premature(issued_at, reading.now, policy.skew):
        return f"issued at {issued_at}, and it is only {reading.now:.0f}"
    return None


@_rule("nbf", "claims", "its time has begun")
def _nbf(policy: Policy, reading: Any) -> str | None:
    if "nbf" not in reading.claims:
        return None
    not_before = reading.claims["nbf"]
    if not _is_time(not_before):
        return f"nbf is {_quote(not_before)}, not a time"
    if premature(not_before, reading.now, policy.skew):
        return f"is good from {not_before}, and it is only {reading.now:.0f}"
    return None


def _string(name: str, default: str | None = None) -> Test:
    """The claim is a string, and not empty. `default` stands for one that is not there."""

    def test(policy: Policy, reading: Any) -> str | None:
        value = reading.claims.get(name, default)
        if type(value) is str and value:
            return None
        return f"{name} is {_quote(value)}, not a string"

    return test


_rule("sub", "claims", "sub is {reading.claims[sub]!a}")(_string("sub"))
_rule("client_id", "claims", "client_id is {reading.claims[client_id]!a}")(_string("client_id"))
_rule("jti", "claims", "jti is {reading.claims[jti]!a}")(_string("jti"))


@_rule("scope", "claims", "scope is absent or well formed")
def _scope(policy: Policy, reading: Any) -> str | None:
    scope = reading.claims.get("scope", "")
    if scope == "" or (type(scope) is str and SCOPE.fullmatch(scope)):
        return None
    return f"scope is {_quote(scope)}, not scopes with single spaces between"


_rule("sid", "claims", "sid is absent or a string")(_string("sid", default="absent"))
_rule("username", "claims", "username is absent or a string")(_string("username", default="absent"))


@_rule("roles", "claims", "roles are absent or a list of strings")
def _roles(policy: Policy, reading: Any) -> str | None:
    roles = reading.claims.get("roles")
    if _are_strings(roles) or "roles" not in reading.claims:
        return None
    return f"roles are {_quote(roles)}, not a list of strings"


@_rule("act", "claims", "act is absent or says who acts")
def _act(policy: Policy, reading: Any) -> str | None:
    said, claims = reading.claims, reading.claims
    while "act" in said:  # as deep as JSON may be at the most
        said = said["act"]
        if type(said) is not dict or type(said.get("sub")) is not str or not said["sub"]:
            return f"act is {_quote(claims['act'])}, which says of nobody who acts"
    return None


@_rule("cnf", "claims", "cnf is absent, or says what the token is bound to")
def _cnf(policy: Policy, reading: Any) -> str | None:
    if "cnf" not in reading.claims:
        return None
    bound = reading.claims["cnf"]
    if (
        type(bound) is dict
        and bound
        and bound.keys() <= CONFIRMED_BY
        and all(type(digest) is str and _DIGEST.fullmatch(digest) for digest in bound.values())
    ):
        return None
    return f"cnf is {_quote(bound)}, not the digest of a key or a certificate"


def _are_strings(values: object) -> bool:
    if type(values) is not list:
        return False
    for value in values:  # noqa: SIM110 - all() would make a generator for every token
        if type(value) is not str or not value:
            return False
    return True


def _is_time(value: Any) -> bool:
    # `type` and not isinstance: True is an int to isinstance.
    return (type(value) is int or type(value) is float) and 0 <= value <= LAST_SECOND
