"""The way through the gate for a token as our issuer writes it: many rules at once, no sentences.

Nothing passes here that `rules` would refuse; what is unusual is left to them. It halves what the
gate costs beside the signature. tests/verifier/gate/test_shortcut.py holds it against the rules.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from identity.verifier.gate.claims import Terms
from identity.verifier.gate.encoding import b64url_decode, json_object
from identity.verifier.gate.reading import Policy, VerificationKey
from identity.verifier.gate.rules import LAST_SECOND, MAX_TOKEN_BYTES, SCOPE


@lru_cache(maxsize=256)
def _well_formed(scope: str) -> bool:
    """Of a token whose signature is good: nobody else fills this."""
    return SCOPE.fullmatch(scope) is not None


Found = tuple[Terms, VerificationKey, bytes, bool, dict[str, Any] | None]


def read(policy: Policy, token: object, now: float) -> Found | None:
    """Terms, key, payload, whether the signature is the key's, and the claims. Claims are None
    where the signature is not, or where a rule after `signature` may not hold.

    None where one of the rules before it may not hold, or the header is not of a token that passed
    before. One function, though it does three things: a call between any two of them costs as
    much as a hundredth of a signature.
    """
    if type(token) is not str or len(token) > MAX_TOKEN_BYTES or not token.isascii():
        return None
    signed, _, signature = token.encode().rpartition(b".")
    head, dot, payload = signed.partition(b".")
    if not dot or b"." in payload:
        return None
    # A header that has passed every rule of this policy, octet for octet.
    terms = policy.usual.get(head)
    if terms is None:
        return None
    try:
        payload, signature = b64url_decode(payload), b64url_decode(signature)
    except ValueError:
        return None
    kid, alg, _ = terms
    key = policy.keys(kid)
    if key is None or key.kid != kid or key.alg != alg:
        return None
    try:
        if key.verify(signed, signature) is not True:
            return terms, key, payload, False, None
    except Exception:  # whatever a backend raises, this signature is not the key's
        return terms, key, payload, False, None
    try:
        claims = json_object(payload)
        return terms, key, payload, True, claims if _fits(policy, claims, now) else None
    except (ValueError, KeyError):
        return terms, key, payload, True, None


def _fits(policy: Policy, claims: dict[str, Any], now: float) -> bool:
    """KeyError where one is missing that must be there."""
    audience = claims["aud"]
    if claims["iss"] != policy.issuer or type(audience) is not str or not audience:
        return False
    if policy.audiences is not None and audience not in policy.audiences:
        return False
    get = claims.get
    expires_at, issued_at = claims["exp"], claims["iat"]
    not_before = get("nbf", issued_at)
    if not type(expires_at) is type(issued_at) is type(not_before) is int:
        return False
    # Ranges first: an integer beyond a double's cannot be compared with one.
    if not (
        0 <= expires_at <= LAST_SECOND
        and 0 <= issued_at <= LAST_SECOND
        and 0 <= not_before <= LAST_SECOND
    ):
        return False
    skew = policy.skew
    if now >= expires_at + policy.leeway or now < issued_at - skew or now < not_before - skew:
        return False
    subject, client, token = claims["sub"], claims["client_id"], claims["jti"]
    session, username = get("sid", "absent"), get("username", "absent")
    if not (
        type(subject) is type(client) is type(token) is type(session) is type(username) is str
        and subject and client and token and session and username
    ):  # fmt: skip
        return False
    scope = get("scope", "")
    if type(scope) is not str or (scope and not _well_formed(scope)):
        return False
    if "act" in claims or "cnf" in claims:
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
