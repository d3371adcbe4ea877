"""`/console/search`: one box for usernames, e-mail addresses, names, ids and client ids. What is
exactly somebody's leads straight to them."""

from typing import Any

from sqlmodel import Session

from identity.directory.clients.listing import beginning_with as clients_beginning_with
from identity.directory.clients.table import Client
from identity.directory.users.listing import beginning_with
from identity.directory.users.table import User
from identity.http.messages import Response
from identity.http.origins import see_other
from identity.pages.console import lists
from identity.pages.console.desk import Desk, Query, Seat
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.store.paging import listed

FEW = 20


class Search(Desk):
    screen = own("search")

    async def show(self, seat: Seat, query: Query) -> Response:
        q = lists.searched(query)
        if not q:
            return see_other(seat.at(""))

        def unit(session: Session) -> tuple[list[User], list[Client], str]:
            users, clients = [], []
            if seat.may("users:read"):
                users = beginning_with(session, q, FEW)
            if seat.may("clients:read"):
                clients = clients_beginning_with(session, q, FEW)
            names = {q.casefold()}
            exact: list[tuple[str, Any]] = [
                ("/user", each.id)
                for each in users
                if names & {each.id, each.username.casefold(), (each.email or "").casefold()}
            ]
            exact += [("/client", each.id) for each in clients if each.id == q]
            one = exact[0] if len(exact) == 1 else None
            return users, clients, seat.at(one[0], id=one[1]) if one else ""

        users, clients, straight = await listed(self.services.db, unit)
        if straight:
            return see_other(straight)
        return self.page(
            seat, "search", title=_("Search"), q=q, found_by=q,
            users=users, clients=clients, few=FEW,
        )  # fmt: skip


async def page(house: House) -> Search:
    return Search(house, await house.rendering())
