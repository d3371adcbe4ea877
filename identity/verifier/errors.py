"""Why a token was not accepted, each answer with what RFC 6750 says to the client.

What is said to the client (`description`) never tells more than it needs; `reason` is for logs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from identity.verifier.gate.gate import Refused


class TokenRefused(Exception):
    """`status` and `code` are RFC 6750 §3.1's; `code` is None where the section wants none."""

    status: ClassVar[int] = 401
    code: ClassVar[str | None] = "invalid_token"
    description: ClassVar[str] = "the access token is not valid"

    def __init__(self, reason: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(reason or self.description)
        self.reason = reason or self.description
        self.retry_after = retry_after
        """Seconds; only where asking again later can help."""
        self.dpop = False
        """Whether the client is to prove a key by DPoP: the challenge is of that scheme."""


class TokenMissing(TokenRefused):
    """The request carries no bearer token: a challenge without an error (RFC 6750 §3.1)."""

    code = None
    description = "an access token is needed"


class BadRequest(TokenRefused):
    """The request's credentials cannot be read: two of them, or not one token."""

    status = 400
    code = "invalid_request"
    description = "the Authorization header is not one bearer token"


class UnreadableCertificate(BadRequest):
    """What is said of the client's certificate is none."""

    description = "the client's certificate cannot be read"


class Malformed(TokenRefused):
    """Not an access token as RFC 9068 and our issuer write them."""


class BadSignature(Malformed):
    """Not signed by the key that it names."""


class UnknownKey(TokenRefused):
    """Signed with a key that the issuer does not publish."""


class NotForUs(TokenRefused):
    """Of another issuer, or for another audience."""


class Expired(TokenRefused):
    description = "the access token has expired"


class NotYetValid(TokenRefused):
    """Its time has not begun, by this machine's clock and the leeway."""


class Revoked(TokenRefused):
    """It was good once, and the issuer has taken it back."""

    description = "the access token was revoked"


class Bound(TokenRefused):
    """The token is bound to a key, and came without a proof of that one; or came with a proof, and
    is bound to none."""

    description = "the access token is bound to a key, and this is no proof of it"

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.dpop = True


class BoundToCertificate(TokenRefused):
    """The token is bound to a certificate, and came with another one or with none (RFC 8705 §3)."""

    description = "the access token is bound to a certificate, and came without it"


class InvalidProof(TokenRefused):
    """The proof is none of this request, or was used before (RFC 9449 §7.1)."""

    code = "invalid_dpop_proof"
    description = "the DPoP proof is not valid"

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.dpop = True


class NonceNeeded(InvalidProof):
    """The proof has no nonce of ours that is still good; `nonce` is one (RFC 9449 §9)."""

    code = "use_dpop_nonce"
    description = "the DPoP proof needs the nonce that comes along"

    def __init__(self, nonce: str) -> None:
        super().__init__()
        self.nonce = nonce


class InsufficientScope(TokenRefused):
    status = 403
    code = "insufficient_scope"
    description = "the access token may not do this"

    def __init__(self, needed: Iterable[str]) -> None:
        self.needed = tuple(needed)
        """The scopes that the request needs, all of them."""
        super().__init__(f"needs {' '.join(self.needed)}")


class InsufficientAuthentication(TokenRefused):
    """The token is good, but its login too old or not sure enough (RFC 9470 §3)."""

    code = "insufficient_user_authentication"
    description = "a fresher or surer login is needed"

    def __init__(self, acr: str | None, max_age: int | None) -> None:
        self.acr, self.max_age = acr, max_age
        super().__init__(f"needs acr {acr}, max_age {max_age}")


class IssuerUnavailable(TokenRefused):
    """The issuer would have to be asked, and cannot be: the token may well be good."""

    status = 503
    code = "temporarily_unavailable"
    description = "access tokens cannot be checked at the moment"

    def __init__(self, reason: str = "", *, retry_after: float = 1.0) -> None:
        super().__init__(reason, retry_after=retry_after)


class StaleKnowledge(IssuerUnavailable):
    """What is known of revocations is older than the bound, and the policy is to refuse then."""


_BY_RULE: dict[str, type[TokenRefused]] = {
    "header.kid": UnknownKey,
    "signature": BadSignature,
    "iss": NotForUs,
    "aud": NotForUs,
    "exp": Expired,
    "iat": NotYetValid,
    "nbf": NotYetValid,
}


def of_gate(refused: Refused) -> TokenRefused:
    """The named error for what the gate says. A rule that could not even be read is `Malformed`."""
    kind = _BY_RULE.get(refused.reason, Malformed)
    if refused.reason in _BY_RULE and " not a time" in refused.words:
        kind = Malformed
    return kind(str(refused))
