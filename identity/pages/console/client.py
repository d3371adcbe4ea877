"""`/console/client?id=…`: one application, its secrets, and what can be done about it."""

from datetime import timedelta
from typing import Any

from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.directory.access.granting import ALL
from identity.directory.access.table import Scope
from identity.directory.clients import accounts, built_in
from identity.directory.clients.settings import load
from identity.directory.clients.table import Client
from identity.errors import ValidationFailed
from identity.http.messages import Response
from identity.http.preconditions import etag
from identity.pages import from_below
from identity.pages.console import client_settings, naming
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Option, Sheet
from identity.pages.console.redirects import judged
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.service.administration import clients as administration
from identity.store.paging import listed
from identity.tokens.logouts import LogoutNotice

FEW = 20
LASTING = (("", _("never")), ("30", _("in 30 days")), ("90", _("in 90 days")),
           ("180", _("in 180 days")), ("365", _("in a year")))  # fmt: skip


class ClientScreen(Desk):
    screen = own("client")

    async def show(self, seat: Seat, query: Query) -> Response:
        client_id = query.get("id", "")

        def unit(session: Session) -> dict[str, Any]:
            client = accounts.get(session, client_id)
            notices = session.exec(
                select(LogoutNotice)
                .where(LogoutNotice.client_id == client.id)
                .order_by(col(LogoutNotice.session_id))
                .limit(FEW)
            ).all()
            return {
                "client": client, "secrets": accounts.secrets_of(session, client.id),
                "notices": notices,
                "people": naming.users(session, [each.user_id for each in notices]),
            }  # fmt: skip

        found = await listed(self.services.db, unit)
        client: Client = found["client"]
        chosen = load(client.settings)
        asked = query.get("redirect", "")[:2000]
        signs_in = client.builtin and "authorization_code" in client.grants
        own_page = built_in.own_page(self.services.settings) if signs_in else None
        set_ = [
            (name, value)
            for name, value in sorted((client.settings or {}).items())
            if name not in ("redirect_uris", "post_logout_redirect_uris")
        ]
        return self.page(
            seat, "client", title=client.name or client.id, chosen=chosen, set_=set_,
            takes_secret=accounts.takes_secret(client), now=utcnow(), redirect=asked,
            verdict=judged(asked, chosen.redirect_uris, own_page) if asked else None,
            own_page=own_page,
            issuer=self.services.settings.issuer.rstrip("/"),
            audience=next(iter(client.audiences), self.services.settings.audience),
            done=query.get("done", ""), **found,
        )  # fmt: skip

    async def _client(self, query: Query) -> Client:
        client_id = query.get("id", "")
        return await self.services.db.read(lambda session: accounts.get(session, client_id))

    def _back(self, seat: Seat, query: Query) -> str:
        return seat.at("/client", id=query.get("id"))

    async def _change(
        self, seat: Seat, query: Query, form: Form, patch: dict[str, Any], what: str
    ) -> Response:
        client_id, version = query.get("id", ""), form.some("version")
        around = await administration.surroundings(self.services, patch, client_id)
        await self.services.db.write(
            lambda session: administration.change(
                session, client_id, patch, known_grants=self.house.grants,
                own_audiences=seat.own_audiences, around=around, held=seat.held, if_match=version,
            )
        )  # fmt: skip
        return self.done(self._back(seat, query), what)

    # --- What it may ----------------------------------------------------------------------------

    async def edit_sheet(self, seat: Seat, query: Query) -> Sheet:
        client = await self._client(query)
        scopes = await self.services.db.read(
            lambda s: s.exec(select(Scope).order_by(Scope.name).limit(500)).all()
        )
        known = {each.name for each in scopes}
        options = [
            Option(ALL, _("All that the user behind it holds"), ALL),
            *(Option(each.name, each.name, from_below.words(each.description)) for each in scopes),
            *(Option(name, name) for name in client.scopes if name not in known | {ALL}),
        ]
        own_ones = [Option(each.grant_type, each.grant_type) for each in self.house.grants]
        homes = {each.audience for each in scopes if each.audience}
        audiences = sorted({*homes, *client.audiences})
        fields = [
            Field("name", _("Name, as people see it"), value=client.name, required=True),
            Field("grant_types", _("Grants it may use"), "checks", client.grants, options=own_ones),
            Field("scopes", _("Scopes that it may ask for"), "checks", client.scopes,
                  options=options),
            Field("default_scopes", _("Scopes of a request that names none"), "lines",
                  "\n".join(client.default_scopes or ()), longest=20_000,
                  hint=_("Empty: all that are not administrative.")),
            Field("audiences", _("Resources whose tokens it may get or introspect"), "checks",
                  client.audiences, options=[Option(each, each) for each in audiences]),
        ]  # fmt: skip
        return Sheet(
            title=_("Change %s") % (client.name or client.id), button=_("Save"), fields=fields,
            version=etag(client.version), back=self._back(seat, query),
        )  # fmt: skip

    async def edit(self, seat: Seat, query: Query, form: Form) -> Response:
        client = await self._client(query)
        sent: dict[str, Any] = {
            "name": form.text("name"),
            "grants": form.all("grant_types"),
            "scopes": form.all("scopes"),
            "default_scopes": form.lines("default_scopes") or None,
            "audiences": form.all("audiences"),
        }
        patch = {name: value for name, value in sent.items() if not _same(client, name, value)}
        return await self._change(seat, query, form, patch, "saved")

    async def settings_sheet(self, seat: Seat, query: Query) -> Sheet:
        client = await self._client(query)
        return Sheet(
            title=_("Settings of %s") % (client.name or client.id), button=_("Save"),
            lead=_("Named as in the standards that they come from. Empty: the default."),
            fields=client_settings.fields(client),
            version=etag(client.version), back=self._back(seat, query),
        )  # fmt: skip

    async def settings(self, seat: Seat, query: Query, form: Form) -> Response:
        client = await self._client(query)
        sent = client_settings.read(form)
        touched = [f for f in client_settings.fields(client) if f.answer(form) != f.value]
        patch = {each.name: sent[each.name] for each in touched}
        gone = {
            name: _replaced((client.settings or {}).get(name), value)
            for name, value in patch.items()
            if name in administration.OBJECTS
        }
        return await self._change(seat, query, form, patch | gone, "saved")

    async def disable_sheet(self, seat: Seat, query: Query) -> Sheet:
        client = await self._client(query)
        return Sheet(
            title=_("Disable %s") % (client.name or client.id), button=_("Disable"), danger=True,
            lead=_("Its sessions end at once, and it gets no tokens until somebody enables it."),
            version=etag(client.version), back=self._back(seat, query),
        )  # fmt: skip

    async def disable(self, seat: Seat, query: Query, form: Form) -> Response:
        return await self._change(seat, query, form, {"status": "disabled"}, "disabled")

    async def enable(self, seat: Seat, query: Query, form: Form) -> Response:
        return await self._change(seat, query, form, {"status": "active"}, "active")

    async def delete_sheet(self, seat: Seat, query: Query) -> Sheet:
        client = await self._client(query)
        return Sheet(
            title=_("Delete %s") % (client.name or client.id), button=_("Delete for ever"),
            danger=True,
            lead=_("Its sessions and tokens die at once, and what people agreed to is forgotten."),
            fields=[
                Field("confirm", _("Type the client id to confirm"), required=True, longest=2000,
                      hint=client.id)
            ],
            version=etag(client.version), back=self._back(seat, query),
        )  # fmt: skip

    async def delete(self, seat: Seat, query: Query, form: Form) -> Response:
        client = await self._client(query)
        if form.text("confirm") != client.id:
            raise ValidationFailed([("/confirm", _("That is not the client id"))])
        version = form.some("version")
        await self.services.db.write(
            lambda s: administration.delete(s, client.id, seat.held, version)
        )
        return self.done(seat.at("/clients"), "deleted")

    # --- Secrets --------------------------------------------------------------------------------

    async def secret_sheet(self, seat: Seat, query: Query) -> Sheet:
        client = await self._client(query)
        return Sheet(
            title=_("Another secret for %s") % (client.name or client.id),
            button=_("Make a secret"),
            lead=_("Two may be live at once: give the application the new one, then delete the "
                   "old one. Nothing stops in between."),
            fields=[
                Field("days", _("It expires"), "select", "",
                      options=[Option(value, _(words)) for value, words in LASTING])
            ],
            back=self._back(seat, query),
        )  # fmt: skip

    async def secret(self, seat: Seat, query: Query, form: Form) -> Response:
        client_id, days = query.get("id", ""), form.text("days")
        expires = utcnow() + timedelta(days=int(days)) if days else None

        def unit(session: Session) -> accounts.NewSecret:
            client = accounts.get(session, client_id, lock=True)
            return accounts.add_secret(session, client, held=seat.held, expires_at=expires)

        made = await self.services.db.write(unit)
        return self.page(
            seat, "once", title=_("New secret"), secret=made.secret, until=expires,
            what=_("Client secret"), whose=client_id,
            lead=_("Put it where the application reads its settings. It is shown this once: only "
                   "its digest is kept."),
            back=self._back(seat, query), another="",
        )  # fmt: skip

    async def drop_sheet(self, seat: Seat, query: Query) -> Sheet:
        client, secret_id = await self._client(query), query.get("secret", "")
        secrets = await self.services.db.read(lambda s: accounts.secrets_of(s, client.id))
        found = next((each for each in secrets if each.id == secret_id), None)
        return Sheet(
            title=_("Delete a secret of %s") % (client.name or client.id),
            button=_("Delete the secret"), danger=True,
            lead=_("Nobody authenticates with it from now on. Tokens already issued live on."),
            facts=[
                (_("Ends in"), f"…{found.hint}" if found else "–"),
                (_("Secrets that are left"), str(max(len(secrets) - 1, 0))),
            ],
            back=self._back(seat, query),
        )  # fmt: skip

    async def drop(self, seat: Seat, query: Query, form: Form) -> Response:
        client_id, secret_id = query.get("id", ""), query.get("secret", "")

        def unit(session: Session) -> None:
            client = accounts.get(session, client_id, lock=True)
            accounts.remove_secret(session, client, secret_id, seat.held)

        await self.services.db.write(unit)
        return self.done(self._back(seat, query), "secret_deleted")

    async def retry(self, seat: Seat, query: Query, form: Form) -> Response:
        client_id = query.get("id", "")
        await self.services.db.write(
            lambda s: administration.retry_logouts(s, client_id, seat.held)
        )
        return self.done(self._back(seat, query), "retried")

    deeds = {  # noqa: RUF012
        "edit": Deed("update_client", "clients:write", edit, edit_sheet),
        "settings": Deed("update_client", "clients:write", settings, settings_sheet),
        "disable": Deed("update_client", "clients:write", disable, disable_sheet),
        "enable": Deed("update_client", "clients:write", enable),
        "delete": Deed("delete_client", "clients:write", delete, delete_sheet, proof=True),
        "secret": Deed("create_client_secret", "clients:write", secret, secret_sheet, proof=True),
        "drop": Deed("delete_client_secret", "clients:write", drop, drop_sheet, proof=True),
        "retry": Deed("retry_client_logouts", "clients:write", retry),
    }


def _same(client: Client, name: str, value: Any) -> bool:
    before = getattr(client, name)
    if isinstance(value, list) and isinstance(before, list):
        return sorted(value) == sorted(before)
    return bool(before == value)


def _replaced(before: Any, after: Any) -> Any:
    """A patch of an object changes members; the form holds all of it."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return after
    gone = dict.fromkeys(before.keys() - after.keys())
    return {**gone, **{name: _replaced(before.get(name), each) for name, each in after.items()}}


async def page(house: House) -> ClientScreen:
    return ClientScreen(house, await house.rendering())
