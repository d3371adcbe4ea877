"""`/console/users`: who there is, found by what is typed or filtered, as a file, and acts on many
at once."""

from collections.abc import AsyncGenerator
from typing import cast

from sqlmodel import Session, select

from identity.authentication.mail import resetting
from identity.directory.access.listing import role_names
from identity.directory.access.table import Role
from identity.directory.users import accounts, lines, listing
from identity.directory.users.exporting import MEDIA, Format
from identity.directory.users.lines import Line
from identity.directory.users.table import User
from identity.errors import Conflict, ValidationFailed
from identity.http.messages import Response, Stream
from identity.pages import from_below
from identity.pages.beginning import stepped_up
from identity.pages.console import bulk_acts, lists
from identity.pages.console.bulk_acts import BULK, MOST_AT_ONCE
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Option, Sheet
from identity.pages.console.screens import screen as own
from identity.pages.console.streaming import MARK, Pieces, streamed
from identity.pages.console.user_filters import VIEWS, Filters
from identity.pages.registry import House
from identity.pages.words import _
from identity.service import bulk as files
from identity.service.administration import users as administration
from identity.store.paging import cursor, listed


class Users(Desk):
    screen = own("users")

    async def show(self, seat: Seat, query: Query) -> Response:
        filters, window = Filters.of(query), lists.window(query, 40)

        def shown(session: Session, which: Filters) -> listing.Page:
            return listing.page(
                session, which.wanted(), which.order, after=window.after, most=window.limit
            )

        def unit(session: Session) -> tuple[Filters, list[Line], str | None]:
            settled, (rows, after) = filters, shown(session, filters)
            if not rows and not window.after:
                settled = filters.settled(session)
                if settled != filters:
                    rows, after = shown(session, settled)
            return settled, lines.of(session, rows), after

        db = self.services.db
        if filters.said:
            settled, rows, after = await listed(db, unit)
        else:
            settled, (rows, after) = filters, await lines.everybody(db, window.after, window.limit)
        names = await role_names(db)
        path = self.screen.path
        kept = {**query, "parts": "1"} if settled.parts else query
        return self.page(
            seat, "users", title=_("Users"), rows=rows, roles=names,
            filters=settled, views=VIEWS, bulk=BULK, most=MOST_AT_ONCE,
            following=lists.following(seat, path, kept, cursor(after) if after else None),
            first=lists.first(seat, path, query), short=bool(after) and len(rows) < window.limit,
            done=query.get("done", ""),
        )  # fmt: skip

    # --- A new one ------------------------------------------------------------------------------

    async def new_sheet(self, seat: Seat, query: Query) -> Sheet:
        names = await self.services.db.read(
            lambda s: s.exec(select(Role.name, Role.description).order_by(Role.name)).all()
        )
        roles = [Option(name, name, from_below.words(about)) for name, about in names]
        invited = [Option("invite", _("with a link in a mail"))] if self.services.mails.on else []
        given = [Field("roles", _("Roles"), "checks", [], options=roles)]
        return Sheet(
            title=_("New user"),
            button=_("Create user"),
            lead="" if stepped_up(seat.person) else _("Roles are given on the user's page."),
            fields=[
                Field("username", _("Username"), required=True, longest=64),
                Field("email", _("E-mail address"), "email", longest=320),
                Field("name", _("Name")),
                *(given if stepped_up(seat.person) else ()),
                Field(
                    "first", _("First sign-in"), "select", "one_time",
                    options=[
                        Option("one_time", _("with a one-time password")),
                        *invited,
                        Option("none", _("not yet: without a password")),
                    ],
                ),
            ],
            back=seat.at("/users"),
        )  # fmt: skip

    async def create(self, seat: Seat, query: Query, form: Form) -> Response:
        username, roles, mails = form.text("username"), form.all("roles"), self.services.mails
        invited = form.text("first") == "invite"
        if invited and not form.some("email"):
            raise ValidationFailed([("/email", _("The invitation goes there."))])
        if roles and not stepped_up(seat.person):
            words = _("You have been here too long to give roles. Create the user without them.")
            raise Conflict(words)

        def unit(session: Session) -> User:
            user = accounts.create(
                session, username=username, email=form.some("email"), name=form.some("name"),
                roles=roles, held=seat.held,
            )  # fmt: skip
            if invited:
                resetting.invite(session, mails, user)
            return user

        user = await self.services.db.write(unit)
        if form.text("first") != "one_time":
            done = "invited" if invited else "created"
            return self.done(seat.at("/user", id=user.id), done)
        one_time = await administration.reset_password(self.services, user.id, None, seat.held)
        return self.page(
            seat, "once", title=_("User created"), secret=one_time.password,
            until=one_time.expires_at, what=_("One-time password"), whose=user.username,
            lead=_("Hand it over by a way that only they read. It is shown this once, and has to "
                   "be changed at the first sign-in."),
            back=seat.at("/user", id=user.id), another=seat.at("/users", do="create"),
        )  # fmt: skip

    # --- As a file ------------------------------------------------------------------------------

    async def export_sheet(self, seat: Seat, query: Query) -> Sheet:
        filters = Filters.of(query)
        return Sheet(
            title=_("Export users"), button=_("Download"),
            lead=_("All that is known of them but how they sign in, as long as the list is. In CSV "
                   "an apostrophe stands before what a spreadsheet would take for a formula. That "
                   "you have it is on record."),
            facts=filters.said or [(_("Whom"), _("everybody"))],
            fields=[
                Field("format", _("As"), "select", "csv", options=[
                    Option("csv", _("CSV, for spreadsheets")),
                    Option("ndjson", _("NDJSON: a JSON object a line")),
                ])
            ],
            back=lists.address(seat, self.screen.path, _without(query, "do")),
        )  # fmt: skip

    async def export(self, seat: Seat, query: Query, form: Form) -> Response:
        layout = cast(Format, form.text("format"))  # one of the sheet's
        filters = await listed(self.services.db, Filters.of(query).settled)
        pieces = await files.export(
            self.services, filters.wanted(), layout, seat.standing("users:read")
        )
        headers = [
            (b"content-type", MEDIA[layout].encode()),
            (b"content-disposition", b'attachment; filename="users.%b"' % layout.encode()),
        ]
        return Stream(headers, Pieces(pieces))

    # --- Many at once ---------------------------------------------------------------------------

    async def preview(self, seat: Seat, query: Query, form: Form) -> Response:
        """Whom it is about, and what would happen; nothing has yet."""
        name, ids, role = form.text("bulk"), form.all("user")[:MOST_AT_ONCE], form.text("role")
        bulk, everybody = BULK.get(name), form.text("whom") == "all"
        if bulk is None or not (ids or everybody):
            raise ValidationFailed([("/user", _("Tick some users, and choose what to do"))])
        if name in ("give", "take") and not role:
            raise ValidationFailed([("/role", _("Choose a role"))])
        if bulk.proof and not stepped_up(seat.person):
            return self._prove(seat)

        def unit(session: Session) -> list[User]:
            if everybody:
                return bulk_acts.everybody(session, Filters.of(query))
            return bulk_acts.these(session, ids)

        rows = await listed(self.services.db, unit)
        return self.page(
            seat, "bulk", title=_(bulk.words), rows=rows, name=name, role=role, pieces="",
            bounded=len(rows) >= MOST_AT_ONCE, most=MOST_AT_ONCE,
            back=lists.address(seat, self.screen.path, query),
        )  # fmt: skip

    async def carry_out(self, seat: Seat, query: Query, form: Form) -> Response:
        name, ids, role = form.text("bulk"), form.all("user")[:MOST_AT_ONCE], form.text("role")
        bulk = BULK.get(name)
        if bulk is None:
            raise ValidationFailed([("/bulk", _("There is no such act"))])
        if bulk.proof and not stepped_up(seat.person):
            return self._prove(seat)

        async def pieces() -> AsyncGenerator[str, None]:
            refused = 0
            async for each in bulk_acts.carried_out(seat, bulk, ids, role):
                refused += bool(each.refused)
                yield self.rendering.part(
                    "console/bulk_part.html", at=seat.at, each=each, all=len(ids), refused=refused
                )

        page = self.page(
            seat, "bulk", title=_(bulk.words), rows=[], name=name, role=role, pieces=MARK,
            back=lists.address(seat, self.screen.path, query),
        )  # fmt: skip
        return streamed(page, pieces())

    deeds = {  # noqa: RUF012
        "create": Deed("create_user", "users:write", create, new_sheet),
        "bulk": Deed("update_user", "users:write", preview),
        "carry_out": Deed("update_user", "users:write", carry_out),
        "export": Deed("export_users", "users:read", export, export_sheet, proof=True),
    }


def _without(query: Query, name: str) -> Query:
    return {each: value for each, value in query.items() if each != name}


async def page(house: House) -> Users:
    return Users(house, await house.rendering())
