"""`/console/blocks`: who is held up by failed logins, and letting them go."""

from typing import get_args

from sqlmodel import Session

from identity.authentication import blocks
from identity.authentication.blocks import Block, Kind
from identity.http.messages import Response
from identity.pages.console import lists, naming
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Form
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.store.paging import cursor, listed

FILTERS = ("kind", "user", "address")
KINDS: dict[Kind, str] = {
    "pair": _("An account at one address"),
    "account": _("An account, from everywhere"),
    "address": _("An address, for every account"),
    "user_code": _("Codes of devices"),
    "second_factor": _("An account's second factor"),
}


class Blocks(Desk):
    screen = own("blocks")

    async def show(self, seat: Seat, query: Query) -> Response:
        window, kind = lists.window(query), query.get("kind", "")

        def unit(session: Session) -> list[Block]:
            return blocks.listed(
                session,
                kind=kind if kind in get_args(Kind) else None,  # type: ignore[arg-type]
                user_id=naming.user_id(session, query.get("user")),
                address=query.get("address", "").strip()[:100] or None,
                after=window.after,
                most=window.limit + 1,
            )

        found = await listed(self.services.db, unit)
        rows, more = found[: window.limit], len(found) > window.limit
        path = self.screen.path
        return self.page(
            seat, "blocks", title=_("Blocked sign-ins"), rows=rows, kinds=KINDS,
            chosen={name: query.get(name, "") for name in FILTERS},
            following=lists.following(seat, path, query, cursor(rows[-1].id) if more else None),
            first=lists.first(seat, path, query), done=query.get("done", ""),
        )  # fmt: skip

    async def release(self, seat: Seat, query: Query, form: Form) -> Response:
        block_id = form.text("block")
        await self.services.db.write(lambda s: blocks.release(s, block_id, seat.held))
        return self.done(lists.here(seat, self.screen.path, query), "released")

    deeds = {"release": Deed("release_block", "users:write", release)}  # noqa: RUF012


async def page(house: House) -> Blocks:
    return Blocks(house, await house.rendering())
