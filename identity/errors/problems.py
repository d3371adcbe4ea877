"""Everything else that may go wrong with a request (RFC 9457)."""

from collections.abc import Sequence
from typing import Any

from identity.errors.error import IdentityError
from identity.errors.oauth import OAuthError


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

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(text for _, text in errors))
        self.errors = list(errors)

    def members(self) -> dict[str, Any]:
        """In the document the first few are named where they are, for whoever reads `detail`
        alone."""
        first = (f"{where}: {text}" if where else text for where, text in self.errors[:3])
        return {
            "detail": "; ".join(first)[:500],
            "errors": [{"pointer": where, "detail": text} for where, text in self.errors],
        }


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
