"""Which names of claims are taken: what we say of a user ourselves, and what protocols mean by a
name, no attribute may ever say (RFC 7519 §10.1 has the list of names)."""

from typing import Final

STANDARD: Final = frozenset(
    {"name", "given_name", "family_name", "middle_name", "nickname", "preferred_username"}
    | {"picture", "locale", "zoneinfo", "updated_at", "email", "phone_number", "address"}
)
"""Those of OpenID Connect Core §5.1 that are members of every user here."""
PROTOCOL: Final = frozenset(
    {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "typ", "alg", "kid", "crit", "enc", "zip"}
    | {"azp", "nonce", "auth_time", "at_hash", "c_hash", "s_hash", "acr", "amr", "sub_jwk"}
    | {"sid", "events", "toe", "txn", "sub_id", "status", "scope", "client_id", "cnf", "act"}
    | {"may_act", "authorization_details", "roles", "groups", "entitlements", "username"}
    | {"active", "token_type", "token_introspection", "htm", "htu", "ath", "jkt", "state"}
    | {"code", "error", "response", "resource", "redirect_uri", "request", "request_uri"}
    | {"_claim_names", "_claim_sources", "verified_claims", "permissions", "admin"}
)
"""What decides who somebody is and what they may, here or at whoever reads our tokens."""
VERIFIED: Final = "_verified"
"""Names that end so say that we have seen a proof."""
WHY: Final = "a protocol's names, a user's own members and what ends in _verified are not mapped to"


def may_map_to(claim: str) -> bool:
    """Whether an attribute may be told under this name. Letter case and space tell nothing apart:
    readers differ about them."""
    name = claim.strip().casefold()
    return name not in PROTOCOL | STANDARD and not name.endswith(VERIFIED)
