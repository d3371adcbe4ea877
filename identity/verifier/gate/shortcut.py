"""The way through the gate for a token as our issuer writes it: many rules at once, no sentences.

Nothing passes here that `rules` would refuse; what is unusual is left to them. It halves what the
gate costs beside the signature. tests/verifier/gate/test_shortcut.py holds it against the rules.
"""

from __future__ import annotations

from typing import Any

from identity.verifier.gate.encoding import b64url_decode, json_object
from identity.verifier.gate.rules import (
    LAST_SECOND,
    MAX_TOKEN_BYTES,
    SCOPE,
    Policy,
    VerificationKey,
)


def opened(policy: Policy, token: object) -> tuple[VerificationKey, bytes, bool] | None:
    """The key, the payload, and whether the signature is the key's: every rule up to `signature`.

    None where one of the others does not hold, or the header is not of a token that passed before.
    """
    if type(token) is not str or len(token) > MAX_TOKEN_BYTES or not token.isascii():
        return None
    octets = token.encode()
    parts = octets.split(b".", 3)
    if len(parts) != 3:
        return None
    # A header that has passed every rule of this policy, octet for octet.
    header = policy.usual.get(parts[0])
    if header is None:
        return None
    try:
        payload, signature = b64url_decode(parts[1]), b64url_decode(parts[2])
    except ValueError:
        return None
    kid, alg = header
    key = policy.keys(kid)
    if key is None or key.kid != kid or key.alg != alg:
        return None
    signed = octets[: len(parts[0]) + 1 + len(parts[1])]
    try:
        return key, payload, key.key.verify(signed, signature) is True
    except Exception:  # backends differ in what they raise for a wrong length
        return key, payload, False


def fitting(policy: Policy, payload: bytes, now: float) -> dict[str, Any] | None:
    """The claims in `payload` where every rule after `signature` holds and nothing is unusual."""
    try:
        claims = json_object(payload)
    except ValueError:
        return None
    return claims if _fits(policy, claims, now) else None


def _fits(policy: Policy, claims: dict[str, Any], now: float) -> bool:
    get = claims.get
    audience = get("aud")
    expires_at: Any = get("exp")
    issued_at: Any = get("iat")
    if get("iss") != policy.issuer or type(audience) is not str or not audience:
        return False
    if policy.audiences is not None and audience not in policy.audiences:
        return False
    not_before: Any = get("nbf", issued_at)
    # Ranges first: an integer beyond a double's cannot be compared with one.
    for time in (expires_at, issued_at, not_before):
        if type(time) is not int or not 0 <= time <= LAST_SECOND:
            return False
    skew = policy.skew
    if now >= expires_at + policy.leeway or now < issued_at - skew or now < not_before - skew:
        return False
    for value in (
        get("sub"),
        get("client_id"),
        get("jti"),
        get("sid", "absent"),
        get("username", "absent"),
    ):
        if type(value) is not str or not value:
            return False
    scope = get("scope", "")
    if type(scope) is not str or (scope and SCOPE.fullmatch(scope) is None):
        return False
    roles = get("roles")
    if roles is None:
        return "roles" not in claims
    if type(roles) is not list:
        return False
    for role in roles:  # noqa: SIM110 - all() would make a generator for every token
        if type(role) is not str or not role:
            return False
    return True
