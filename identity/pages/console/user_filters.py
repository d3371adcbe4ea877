"""What the address of the users' list asks for: who is shown, exported, or acted on together."""

from datetime import timedelta
from typing import NamedTuple

from sqlmodel import Session

from identity.clock import utcnow
from identity.directory.users.listing import Order, Wanted, beginning_with, few_enough
from identity.pages.console import lists
from identity.pages.console.desk import Query
from identity.pages.words import _

DORMANT = timedelta(days=90)
VIEWS = {"dormant": _("Dormant: none for 90 days"), "never": _("Never signed in")}


class Filters(NamedTuple):
    q: str
    status: str
    role: str
    view: str
    parts: bool
    """Whether `q` may stand anywhere in a name."""

    @classmethod
    def of(cls, query: Query) -> "Filters":
        status, view = query.get("status", ""), query.get("view", "")
        return cls(
            lists.searched(query),
            status if status in ("active", "disabled") else "",
            query.get("role", "")[:200],
            view if view in VIEWS else "",
            "parts" in query,
        )

    def settled(self, session: Session) -> "Filters":
        """Whoever begins with `q`; only where nobody does, whoever has it anywhere in their names.
        No index knows that, so where there are many users it takes being asked for."""
        if self.parts or not self.q or beginning_with(session, self.q, 1):
            return self
        return self._replace(parts=few_enough(session))

    def wanted(self) -> Wanted:
        return Wanted(
            q=self.q if self.q and self.parts else None,
            search=self.q if self.q and not self.parts else None,
            status=self.status or None,
            role=self.role or None,
            last_login_before=utcnow() - DORMANT if self.view == "dormant" else None,
            never_logged_in=True if self.view == "never" else None,
        )

    @property
    def order(self) -> Order:
        """Of the dormant, the longest ago first: so they stand in an index together."""
        return "last_login" if self.view == "dormant" and (self.parts or not self.q) else "created"

    @property
    def said(self) -> list[tuple[str, str]]:
        """For people; empty: everybody."""
        status = {"active": _("active"), "disabled": _("disabled")}
        found = [
            (_("Search"), self.q), (_("Status"), status.get(self.status, "")),
            (_("Role"), self.role), (_("Last login"), VIEWS.get(self.view, "")),
        ]  # fmt: skip
        return [(label, value) for label, value in found if value]
