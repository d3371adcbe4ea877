"""One class a protocol error, and the one writer that turns it into the RFC's JSON.

`detail` is public; `audit` is for the operator's eyes and never leaves the process.
OAuth endpoints answer RFC 6749 §5.2 JSON, everything else RFC 9457 problem details.
"""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

Headers = list[tuple[bytes, bytes]]


class IdentityError(Exception):
    """Base of all that a caller may be told. `code` is its name in OAuth JSON."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid_request"
    title: ClassVar[str] = "Bad request"
    commits: ClassVar[bool] = False
    """Whether the unit of work that raised it keeps what it wrote (a replay's revocation)."""

    def __init__(self, detail: str | None = None, *, audit: str | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.audit = audit

    def headers(self) -> dict[str, str]:
        return {}

    def members(self) -> dict[str, Any]:
        """What this error adds to its document."""
        return {}


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


# --- Access tokens (RFC 6750 §3.1, RFC 9449 §7.1) -------------------------------------------


def quoted(text: str) -> str:
    """An HTTP quoted-string (RFC 9110 §5.6.4) of what RFC 6750 §3 allows inside one."""
    return '"' + "".join(c for c in text if " " <= c <= "~" and c not in '"\\') + '"'


class BearerError(IdentityError):
    status, title = 401, "Authentication is required"

    def __init__(
        self, detail: str | None = None, *, scope: str | None = None, audit: str | None = None
    ) -> None:
        super().__init__(detail, audit=audit)
        self.scope = scope
        self.dpop: str | None = None
        """The algorithms of proofs, where the client uses, or may use, the scheme DPoP."""
        self.metadata: str | None = None
        """Where it is told how to get a token for what it asked (RFC 9728 §5.1)."""

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": self.challenge()}

    def challenge(self) -> str:
        challenge = f'{"Bearer" if self.dpop is None else "DPoP"} realm="identity"'
        if self.code != "unauthorized":  # without credentials no error code (RFC 6750 §3.1)
            challenge += f', error="{self.code}", error_description={quoted(self.detail)}'
        if self.scope:
            challenge += f", scope={quoted(self.scope)}"
        if self.metadata is not None:
            challenge += f', resource_metadata="{self.metadata}"'
        if self.dpop is not None:
            challenge += f', algs="{self.dpop}"'
        return challenge


class MissingToken(BearerError):
    """Whoever has sent nothing may choose the scheme."""

    code = "unauthorized"

    def challenge(self) -> str:
        challenge = 'Bearer realm="identity"'
        if self.scope:
            challenge += f", scope={quoted(self.scope)}"
        if self.metadata is not None:
            challenge += f', resource_metadata="{self.metadata}"'
        if self.dpop is not None:
            challenge += f', DPoP algs="{self.dpop}"'
        return challenge


class InvalidToken(BearerError):
    code, title = "invalid_token", "The access token is not valid"


class TokenProofRefused(BearerError):
    code, title = "invalid_dpop_proof", "The DPoP proof is not valid"


class TokenNonceNeeded(BearerError):
    """RFC 9449 §9."""

    code, title = "use_dpop_nonce", "The DPoP proof needs the nonce that comes along"

    def __init__(
        self, detail: str | None = None, *, nonce: str = "", audit: str | None = None
    ) -> None:
        super().__init__(detail, audit=audit)
        self.nonce = nonce

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "DPoP-Nonce": self.nonce}


class InsufficientScope(BearerError):
    status, code, title = 403, "insufficient_scope", "The access token lacks a scope"


class LoginTooOld(BearerError):
    """RFC 9470 §3, but for its status: the token is good, and is not to be thrown away."""

    status, code, title = 403, "insufficient_user_authentication", "Prove again who you are"

    def __init__(
        self,
        detail: str | None = None,
        *,
        max_age: int = 0,
        acr: str | None = None,
        audit: str | None = None,
    ) -> None:
        super().__init__(detail, audit=audit)
        self.max_age = max_age
        self.acr = acr

    def challenge(self) -> str:
        levels = "" if self.acr is None else f', acr_values="{self.acr}"'
        return f'{super().challenge()}{levels}, max_age="{self.max_age}"'


# --- Everything else (RFC 9457) -------------------------------------------------------------


class Forbidden(IdentityError):
    status, code, title = 403, "access_denied", "Not allowed"


class NotFound(IdentityError):
    status, title = 404, "Not found"


class MethodNotAllowed(IdentityError):
    status, title = 405, "Method not allowed"

    def __init__(self, allow: Sequence[str]) -> None:
        super().__init__(f"use {' or '.join(allow)}")
        self.allow = allow

    def headers(self) -> dict[str, str]:
        return {"Allow": ", ".join(self.allow)}


class NotAcceptable(IdentityError):
    status, title = 406, "Not available in a media type that you accept"


class Conflict(IdentityError):
    status, title = 409, "Conflict"


class PreconditionFailed(IdentityError):
    status, title = 412, "Changed by someone else meanwhile"


class UnsupportedMediaType(IdentityError):
    status, title = 415, "Unsupported media type"


def pointer(*steps: object) -> str:
    """A JSON pointer (RFC 6901 §3). What no encoding has is escaped."""
    names = (str(step).encode(errors="backslashreplace").decode() for step in steps)
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)


class ValidationFailed(IdentityError):
    """`errors`: (JSON pointer, what is wrong there)."""

    status, title = 422, "Invalid input"

    def __init__(self, errors: Sequence[tuple[str, str]], detail: str | None = None) -> None:
        super().__init__(detail or "; ".join(text for _, text in errors))
        self.errors = list(errors)

    def members(self) -> dict[str, Any]:
        return {"errors": [{"pointer": where, "detail": text} for where, text in self.errors]}


class RequestTimeout(IdentityError):
    status, title = 408, "The request took too long to arrive"

    def headers(self) -> dict[str, str]:
        return {"Connection": "close"}


class PayloadTooLarge(IdentityError):
    status, title = 413, "The request body is too large"


class HeadersTooLarge(IdentityError):
    status, title = 431, "The request headers are too large"


class ServerError(IdentityError):
    status, code, title = 500, "server_error", "Something went wrong on our side"


class RetryLater(IdentityError):
    """`retry_after`: whole seconds, sent as Retry-After (RFC 9110 §10.2.3)."""

    status, code, title = 503, "temporarily_unavailable", "Try again later"

    def __init__(
        self, retry_after: int = 1, detail: str | None = None, *, audit: str | None = None
    ) -> None:
        super().__init__(detail, audit=audit)
        self.retry_after = max(1, retry_after)

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class TooManyRequests(RetryLater):
    status, title = 429, "Too many failed attempts"
    commits = True


class TooManyRegistrations(RetryLater):
    status, title = 429, "Too many registrations from there"


class Overloaded(RetryLater):
    title = "The service is busy"


class Unavailable(RetryLater):
    title = "The database cannot be reached"


class LockedDown(RetryLater, OAuthError):
    """Whoever it is, whatever they gave: nobody hears whether it was right."""

    title = "Sign-ins and tokens are stopped for the moment"
    commits = False  # it may be found when some of what is stopped has been written

    def __init__(self, detail: str | None = None, *, audit: str | None = None) -> None:
        super().__init__(60, detail, audit=audit or "lockdown")


def header_lines(headers: Headers) -> bytes:
    """`headers` as they go over the wire, each with its line's end. ValueError where one holds a
    line break: it would end the header, and begin what somebody else wrote."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
        raise ValueError("a header of the answer contains a line break")
    return lines


_NOT_IN_DESCRIPTION = {34: "'", 92: "/"}  # RFC 6749 §5.2 allows neither '"' nor '\\'


def description(error: IdentityError) -> str:
    """What may stand in an `error_description` (RFC 6749 §4.1.2.1): printable ASCII without '"'
    and backslash."""
    said = error.detail.translate(_NOT_IN_DESCRIPTION)
    return "".join(c if " " <= c <= "~" else "?" for c in said)


def render(error: IdentityError, *, oauth: bool) -> tuple[int, Headers, bytes]:
    """Status, headers and body of `error`; the only place that writes an error to the wire."""
    if oauth:
        content_type = b"application/json"
        document: dict[str, Any] = {
            "error": error.code,
            "error_description": error.detail.translate(_NOT_IN_DESCRIPTION),
            **(error.members() if isinstance(error, OAuthError) else {}),
        }
    else:
        content_type = b"application/problem+json"
        document = {
            "type": "about:blank",
            "title": error.title,
            "status": error.status,
            "detail": error.detail,
            **error.members(),
        }
    headers: Headers = [(b"content-type", content_type), (b"cache-control", b"no-store")]
    headers += [
        (name.lower().encode(), value.encode("latin-1", "replace"))
        for name, value in error.headers().items()
    ]
    return error.status, headers, json.dumps(document).encode()
