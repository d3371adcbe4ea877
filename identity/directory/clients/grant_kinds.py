"""What a client's registration has to know of a grant; the grants themselves state it."""

from typing import Protocol


class GrantKind(Protocol):
    @property
    def grant_type(self) -> str: ...

    @property
    def for_itself(self) -> bool:
        """The client acts for itself: there is no user behind its tokens."""
