"""`/console/client-new`: what kind of application is it? Then only what that kind leaves open."""

import asyncio

from sqlmodel import Session, select

from identity.clock import utcnow
from identity.directory.access.granting import ALL, OPENID
from identity.directory.access.table import Scope
from identity.directory.clients import accounts
from identity.directory.clients.table import Client
from identity.errors import NotFound
from identity.http.messages import Response
from identity.pages import from_below
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Option, Sheet
from identity.pages.console.kinds import KINDS, Kind, kind
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.service.administration import clients as administration


class NewClient(Desk):
    screen = own("client_new")

    async def show(self, seat: Seat, query: Query) -> Response:
        return self.page(seat, "client_new", title=_("New client"), kinds=KINDS)

    def _kind(self, query: Query) -> Kind:
        found = kind(query.get("kind", ""))
        if found is None:
            raise NotFound(_("There is no such kind of application."))
        return found

    async def sheet(self, seat: Seat, query: Query) -> Sheet:
        chosen = self._kind(query)
        scopes, audiences = await self.services.db.read(_offered)
        fields = [
            Field("name", _("Name, as people see it"), required=True),
            Field("id", _("Client id"), longest=64, hint=_("Made up where you leave it empty.")),
        ]
        if chosen.redirects:
            hint = _("One a line, whole and exact, such as %s") % chosen.example
            fields += [
                Field("redirect_uris", _("Redirect URIs"), "lines", required=True, hint=hint,
                      longest=20_000),
                Field("post_logout_redirect_uris", _("Where people go after signing out"), "lines",
                      longest=20_000),
            ]  # fmt: skip
        if chosen.name != "resource":
            everything = () if chosen.acts_alone else (
                Option(ALL, _("All that the user behind it holds"), ALL),
            )  # fmt: skip
            fields.append(
                Field("scopes", _("Scopes that it may ask for"), "checks",
                      [] if chosen.acts_alone else ["openid", "profile", "email"],
                      options=[*everything, *_for(chosen, scopes)])
            )  # fmt: skip
        if audiences:
            fields.append(
                Field("audiences", _("Resources whose tokens it may get or introspect"), "checks",
                      [], options=[Option(each, each) for each in audiences])
            )  # fmt: skip
        return Sheet(
            title=_("New client: %s") % _(chosen.title),
            button=_("Register"),
            lead=_(chosen.words),
            fields=fields,
            back=seat.at("/client-new"),
        )

    async def create(self, seat: Seat, query: Query, form: Form) -> Response:
        chosen = self._kind(query)
        scopes = ["introspect"] if chosen.name == "resource" else form.all("scopes")
        if chosen.name == "resource" and form.all("audiences"):
            scopes = []  # it sees the tokens of its own resources, and needs no more
        settings = {
            name: form.lines(name)
            for name in ("redirect_uris", "post_logout_redirect_uris")
            if form.lines(name)
        }
        around = await administration.surroundings(self.services, {**chosen.settings, **settings})

        def unit(session: Session) -> tuple[Client, str | None]:
            client = accounts.create(
                session, name=form.text("name"), client_id=form.some("id"),
                type=chosen.type,  # type: ignore[arg-type]
                grants=chosen.grants, scopes=scopes, audiences=form.all("audiences"),
                chosen={**chosen.settings, **settings}, known_grants=self.house.grants,
                own_audiences=seat.own_audiences, around=around, held=seat.held,
            )  # fmt: skip
            if not accounts.takes_secret(client):
                return client, None
            return client, accounts.add_secret(session, client, held=seat.held).secret

        client, secret = await self.services.db.write(unit)
        await asyncio.sleep(max(0.0, (client.created_at - utcnow()).total_seconds()))
        address = seat.at("/client", id=client.id)
        if secret is None:
            return self.done(address, "created")
        return self.page(
            seat, "once", title=_("Client registered"), secret=secret, until=None,
            what=_("Client secret"), whose=client.id,
            lead=_("Put it where the application reads its settings. It is shown this once: only "
                   "its digest is kept."),
            back=address, another="",
        )  # fmt: skip

    deeds = {"create": Deed("create_client", "clients:write", create, sheet)}  # noqa: RUF012


def _offered(session: Session) -> tuple[list[Scope], list[str]]:
    scopes = session.exec(select(Scope).order_by(Scope.name).limit(500)).all()
    audiences = {each.audience for each in scopes if each.audience}
    return list(scopes), sorted(audiences)


def _for(chosen: Kind, scopes: list[Scope]) -> list[Option]:
    """Scopes of OpenID Connect first, which are of no use where nobody is behind it."""
    offered = [each for each in scopes if not (chosen.acts_alone and each.name in OPENID)]
    offered.sort(key=lambda each: (each.name not in OPENID, each.builtin, each.name))
    return [Option(each.name, each.name, from_below.words(each.description)) for each in offered]


async def page(house: House) -> NewClient:
    return NewClient(house, await house.rendering())
