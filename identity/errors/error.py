"""What every error is: a status, a name, a title, and words of its own."""

from typing import Any, ClassVar


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
