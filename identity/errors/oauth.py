"""Errors of the protocol's endpoints, by the RFC that names them."""

from collections.abc import Sequence
from typing import Any, ClassVar

from identity.errors.error import IdentityError

# --- OAuth 2 (RFC 6749 §5.2, RFC 8707 §2) ---------------------------------------------------


class OAuthError(IdentityError):
    commits = True
    routine: ClassVar[bool] = False
    """A refusal that is nothing to note: it comes in the course of every good request."""


class InvalidRequest(OAuthError):
    pass


class InvalidClient(OAuthError):
    status, code, title = 401, "invalid_client", "Client authentication failed"

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": 'Basic realm="identity", charset="UTF-8"'}


class InvalidGrant(OAuthError):
    code, title = "invalid_grant", "The grant is not valid"


class WantsFactor(OAuthError):
    """`factors`: the kinds of second factor of which one will do. Not RFC 6749's; clients that do
    not know the member see an ordinary error."""

    def __init__(
        self, detail: str | None = None, *, factors: Sequence[str] = (), audit: str | None = None
    ) -> None:
        super().__init__(detail, audit=audit)
        self.factors = list(factors)

    def members(self) -> dict[str, Any]:
        return {"factors": self.factors} if self.factors else {}


class SecondFactorRequired(WantsFactor, InvalidGrant):
    title = "A second factor is needed"


class UnauthorizedClient(OAuthError):
    code, title = "unauthorized_client", "The client may not use this grant"


class UnsupportedGrantType(OAuthError):
    code, title = "unsupported_grant_type", "The grant type is not supported"


class InvalidScope(OAuthError):
    code, title = "invalid_scope", "The scope is not valid"


class InvalidTarget(OAuthError):
    code, title = "invalid_target", "The resource is not known"


class InvalidProof(OAuthError):
    """RFC 9449 §5."""

    code, title = "invalid_dpop_proof", "The DPoP proof is not valid"


class NonceNeeded(OAuthError):
    """RFC 9449 §8."""

    code, title = "use_dpop_nonce", "The DPoP proof needs the nonce that comes along"

    def __init__(
        self, detail: str | None = None, *, nonce: str = "", audit: str | None = None
    ) -> None:
        super().__init__(detail, audit=audit)
        self.nonce = nonce

    def headers(self) -> dict[str, str]:
        return {"DPoP-Nonce": self.nonce}


# --- Devices (RFC 8628 §3.5) ----------------------------------------------------------------


class AuthorizationPending(OAuthError):
    code, title = "authorization_pending", "Nobody has answered yet"
    routine = True


class SlowDown(OAuthError):
    code, title = "slow_down", "Wait longer before you ask again"
    routine = True


class ExpiredToken(OAuthError):
    code, title = "expired_token", "Nobody has answered in time"


# --- Our own apps' forms (draft-ietf-oauth-first-party-apps §5.2.2) --------------------------


class InsufficientAuthorization(WantsFactor):
    """`passkey_options`: what to ask for a passkey with (WebAuthn 3 §5.1.8)."""

    code, title = "insufficient_authorization", "What was sent does not prove who it is"

    def __init__(
        self, detail: str | None = None, *, factors: Sequence[str] = (), audit: str | None = None,
        passkey_options: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(detail, factors=factors, audit=audit)
        self.passkey_options = passkey_options

    def members(self) -> dict[str, Any]:
        options = self.passkey_options
        return super().members() | ({"passkey_options": options} if options else {})


class RedirectToWeb(OAuthError):
    code, title = "redirect_to_web", "Go on in a browser"


# --- The authorization endpoint (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6) ------------


class AccessDenied(OAuthError):
    code, title = "access_denied", "The request was declined"


class UnsupportedResponseType(OAuthError):
    code, title = "unsupported_response_type", "The response type is not supported"


class LoginRequired(OAuthError):
    code, title = "login_required", "Somebody has to sign in"


class ConsentRequired(OAuthError):
    code, title = "consent_required", "The user has to agree"


class AccountSelectionRequired(OAuthError):
    code, title = "account_selection_required", "The user has to choose an account"


class RequestNotSupported(OAuthError):
    code, title = "request_not_supported", "Request objects are not supported"


class RequestUriNotSupported(OAuthError):
    code, title = "request_uri_not_supported", "request_uri is not supported"


class InvalidRequestObject(OAuthError):
    code, title = "invalid_request_object", "The request object is not valid"


class InvalidRequestUri(OAuthError):
    code, title = "invalid_request_uri", "The request_uri is not valid"


class InvalidAuthorizationDetails(OAuthError):
    code, title = "invalid_authorization_details", "The authorization_details are not valid"


class RegistrationNotSupported(OAuthError):
    code, title = "registration_not_supported", "The parameter registration is not supported"


class UnmetAuthenticationRequirements(OAuthError):
    code = "unmet_authentication_requirements"
    title = "The user cannot authenticate as the request demands"


# --- Registration (RFC 7591 §3.2.2) ----------------------------------------------------------


class InvalidClientMetadata(OAuthError):
    code, title = "invalid_client_metadata", "The client cannot be registered so"
    commits = False  # what is wrong may be found when some of it has been written


class InvalidSoftwareStatement(OAuthError):
    code, title = "invalid_software_statement", "The software statement is not valid"
    commits = False


class UnapprovedSoftwareStatement(OAuthError):
    code, title = "unapproved_software_statement", "Nobody whom we trust signed the statement"
    commits = False


class InvalidRedirectUri(OAuthError):
    code, title = "invalid_redirect_uri", "A redirect URI cannot be registered"
    commits = False
