"""`/console/clients`: the applications that there are."""

from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.directory.clients.listing import matching
from identity.directory.clients.table import Client, ClientSecret
from identity.http.messages import Response
from identity.pages.console import lists
from identity.pages.console.desk import Desk, Query, Seat
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.store.paging import listed


class Clients(Desk):
    screen = own("clients")

    async def show(self, seat: Seat, query: Query) -> Response:
        q, status, grant = lists.searched(query), query.get("status"), query.get("grant")
        filters = matching(
            q=q or None,
            status=status if status in ("active", "disabled") else None,
            grant=grant[:200] if grant else None,
        )
        window = lists.window(query)

        def unit(session: Session) -> tuple[list[Client], str | None, dict[str, list[bool]]]:
            rows, cursor = window.take(session, filters, Client.id)
            live: dict[str, list[bool]] = {row.id: [] for row in rows}
            theirs = select(ClientSecret).where(col(ClientSecret.client_id).in_(live))
            now = utcnow()
            for secret in session.exec(theirs):
                live[secret.client_id].append(secret.expires_at is None or secret.expires_at > now)
            return list(rows), cursor, live

        rows, cursor, live = await listed(self.services.db, unit)
        path = self.screen.path
        return self.page(
            seat, "clients", title=_("Clients"), rows=rows, live=live, q=q, of_status=status or "",
            grant=grant or "", grants=[each.grant_type for each in self.house.grants],
            following=lists.following(seat, path, query, cursor),
            first=lists.first(seat, path, query), done=query.get("done", ""),
        )  # fmt: skip


async def page(house: House) -> Clients:
    return Clients(house, await house.rendering())
