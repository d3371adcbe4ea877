"""`/console/users`: who there is, found by what is typed or filtered, and acts on many at once."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple, Protocol

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from identity.authentication.mail import resetting
from identity.clock import utcnow
from identity.directory.access.table import Role
from identity.directory.users import accounts
from identity.directory.users.listing import Wanted, beginning_with, matching
from identity.directory.users.table import User, UserRole
from identity.errors import Conflict, IdentityError, ValidationFailed
from identity.http.messages import Response
from identity.pages.beginning import stepped_up
from identity.pages.console import lists
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Option, Sheet, sentence
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.service.administration import users as administration
from identity.store.paging import listed

DORMANT = timedelta(days=90)
MOST_AT_ONCE = 200
MOST_FOUND = 200
"""By the beginning of a name."""


class Act(Protocol):
    def __call__(self, session: Session, of: str, seat: Seat, role: str) -> object: ...


class Bulk(NamedTuple):
    words: str
    scope: str
    proof: bool
    act: Act


def _status(status: str) -> Act:
    def act(session: Session, of: str, seat: Seat, role: str) -> object:
        return administration.change(session, of, {"status": status}, seat.held, None)

    return act


def _with_role(session: Session, of: str, seat: Seat, role: str) -> object:
    roles = {*accounts.roles_of(session, of), role}
    return administration.set_roles(session, of, roles, seat.held, None)


def _without_role(session: Session, of: str, seat: Seat, role: str) -> object:
    roles = {*accounts.roles_of(session, of)} - {role}
    return administration.set_roles(session, of, roles, seat.held, None)


def _out(session: Session, of: str, seat: Seat, role: str) -> object:
    return administration.sign_out(session, of, seat.held)


BULK = {
    "disable": Bulk(_("Disable"), "users:write", False, _status("disabled")),
    "enable": Bulk(_("Enable"), "users:write", False, _status("active")),
    "sign_out": Bulk(_("Sign out everywhere"), "users:write", False, _out),
    "give": Bulk(_("Give a role"), "users:write", True, _with_role),
    "take": Bulk(_("Take a role away"), "users:write", True, _without_role),
}


class Users(Desk):
    screen = own("users")

    async def show(self, seat: Seat, query: Query) -> Response:
        q, view = lists.searched(query), query.get("view", "")
        status, role = query.get("status"), query.get("role")
        wanted = Wanted(
            status=status if status in ("active", "disabled") else None,
            role=role or None,
            last_login_before=utcnow() - DORMANT if view == "dormant" else None,
            never_logged_in=True if view == "never" else None,
        )
        window = lists.window(query)

        def unit(session: Session) -> tuple[Any, ...]:
            query, bounded = _narrowed(session, wanted, q)
            rows, cursor = window.take(session, query, User.id)
            granted: dict[str, list[str]] = {row.id: [] for row in rows}
            theirs = select(UserRole).where(col(UserRole.user_id).in_(granted))
            for each in session.exec(theirs.order_by(UserRole.role)):
                granted[each.user_id].append(each.role)
            names = session.exec(select(Role.name).order_by(Role.name).limit(500)).all()
            return rows, granted, names, cursor, bounded

        rows, granted, names, cursor, bounded = await listed(self.services.db, unit)
        path = self.screen.path
        return self.page(
            seat, "users", title=_("Users"), rows=rows, granted=granted, roles=names,
            q=q, of_status=status or "", role=role or "", view=view, bulk=BULK,
            following=lists.following(seat, path, query, cursor), bounded=bounded,
            first=lists.first(seat, path, query), done=query.get("done", ""),
        )  # fmt: skip

    # --- A new one ------------------------------------------------------------------------------

    async def new_sheet(self, seat: Seat, query: Query) -> Sheet:
        names = await self.services.db.read(
            lambda s: s.exec(select(Role.name, Role.description).order_by(Role.name)).all()
        )
        roles = [Option(name, name, words) for name, words in names]
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

    # --- Many at once ---------------------------------------------------------------------------

    async def preview(self, seat: Seat, query: Query, form: Form) -> Response:
        """Whom it is about, and what would happen; nothing has yet."""
        name, ids, role = form.text("bulk"), form.all("user")[:MOST_AT_ONCE], form.text("role")
        bulk = BULK.get(name)
        if bulk is None or not ids:
            raise ValidationFailed([("/user", _("Tick some users, and choose what to do"))])
        if name in ("give", "take") and not role:
            raise ValidationFailed([("/role", _("Choose a role"))])
        if bulk.proof and not stepped_up(seat.person):
            return self._prove(seat)

        def unit(session: Session) -> list[User]:
            query = select(User).where(col(User.id).in_(ids)).order_by(User.username)
            return list(session.exec(query))

        rows = await listed(self.services.db, unit)
        return self.page(
            seat, "bulk", title=_(bulk.words), rows=rows, name=name, role=role, results=None,
            back=lists.address(seat, self.screen.path, query),
        )  # fmt: skip

    async def carry_out(self, seat: Seat, query: Query, form: Form) -> Response:
        """Each on its own, with its own event on record: one that is refused stops nobody else."""
        name, ids, role = form.text("bulk"), form.all("user")[:MOST_AT_ONCE], form.text("role")
        bulk = BULK.get(name)
        if bulk is None:
            raise ValidationFailed([("/bulk", _("There is no such act"))])
        if bulk.proof and not stepped_up(seat.person):
            return self._prove(seat)
        results: list[tuple[str, str]] = []
        for user_id in ids:
            try:
                await self.services.db.write(partial(bulk.act, of=user_id, seat=seat, role=role))
                results.append((user_id, ""))
            except IdentityError as error:
                results.append((user_id, sentence(error.detail)))
        by_id = await listed(
            self.services.db,
            lambda s: {u.id: u for u in s.exec(select(User).where(col(User.id).in_(ids)))},
        )
        return self.page(
            seat, "bulk", title=_(bulk.words), rows=[], name=name, role=role,
            results=[(by_id.get(each), each, words) for each, words in results],
            back=lists.address(seat, self.screen.path, query),
        )  # fmt: skip

    deeds = {  # noqa: RUF012
        "create": Deed("create_user", "users:write", create, new_sheet),
        "bulk": Deed("update_user", "users:write", preview),
        "carry_out": Deed("update_user", "users:write", carry_out),
    }


def _narrowed(session: Session, wanted: Wanted, q: str) -> tuple[SelectOfScalar[User], bool]:
    """To whom begins with `q`; only where nobody does, whoever has it anywhere in their names,
    which no index knows. Whether there may be more than are looked at."""
    if not q:
        return matching(wanted), False
    users = beginning_with(session, q, MOST_FOUND)
    if not users:
        return matching(replace(wanted, q=q)), False
    ids = [user.id for user in users]
    return matching(wanted).where(col(User.id).in_(ids)), len(ids) >= MOST_FOUND


async def page(house: House) -> Users:
    return Users(house, await house.rendering())
