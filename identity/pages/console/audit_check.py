"""`/console/audit-check`: whether somebody wrote in the audit, a stretch of its chain at a time.
Where scripts run it goes on by itself while all is well; else it takes a press."""

from identity.errors import ValidationFailed
from identity.http.messages import Response
from identity.pages.console.desk import Desk, Query, Seat
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.records.audit import Place
from identity.service.administration import audit as administration

TOLD = 100
"""Faults that a page names."""


class AuditCheck(Desk):
    screen = own("audit_check")

    async def show(self, seat: Seat, query: Query) -> Response:
        after, wanted = _place(query, "after"), _place(query, "head")
        found = await administration.verify(self.services, after, wanted)
        broken = bool(found.faults) or "broken" in query
        end = found.ends or found.head
        following = found.ends and seat.at(
            "/audit-check", after=str(found.ends), head=query.get("head"),
            broken="yes" if broken else None,
        )  # fmt: skip
        return self.page(
            seat, "audit_check", title=_("Is the audit whole?"), found=found, broken=broken,
            told=found.faults[:TOLD], first=found.begins.seq + 1, last=end.seq if end else 0,
            following=following, head=query.get("head", ""),
        )  # fmt: skip


def _place(query: Query, name: str) -> Place | None:
    text = query.get(name, "").strip()
    place = Place.of(text) if text else None
    if text and place is None:
        words = _("Must be a place in the chain: its number, a colon and its digest")
        raise ValidationFailed([(f"?{name}", words)])
    return place


async def page(house: House) -> AuditCheck:
    return AuditCheck(house, await house.rendering())
