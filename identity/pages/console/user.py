"""`/console/user?id=…`: one user, all that hangs on them, and what can be done about it."""

from typing import Any

from sqlmodel import Session, col, select

from identity.authentication import recovery, second_factor, totp
from identity.clock import utcnow
from identity.directory.access.table import Role
from identity.directory.consents import Consent
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.errors import ValidationFailed
from identity.http.messages import Response
from identity.http.preconditions import etag
from identity.pages import from_below
from identity.pages.account.browsers import words
from identity.pages.console import enrolment, naming, user_profile
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Option, Sheet
from identity.pages.console.screens import screen as own
from identity.pages.console.user_why import REASONS, STEPS
from identity.pages.registry import House
from identity.pages.words import _
from identity.records.audit.reading import matching as events_matching
from identity.records.audit.table import AuditEvent
from identity.service import why
from identity.service.administration import users as administration
from identity.store.paging import listed
from identity.tokens.sessions.table import BrowserSession, LoginSession

FEW = 20
"""Of what hangs on a user, so many are shown."""


class UserScreen(Desk):
    screen = own("user")

    async def show(self, seat: Seat, query: Query) -> Response:
        user_id = query.get("id", "")

        def unit(session: Session) -> dict[str, Any]:
            user = accounts.get(session, user_id)
            now = utcnow()
            browsers = session.exec(
                select(BrowserSession)
                .where(
                    BrowserSession.user_id == user.id,
                    col(BrowserSession.ended_at).is_(None),
                    BrowserSession.expires_at > now,
                )
                .order_by(col(BrowserSession.id).desc())
                .limit(FEW)
            ).all()
            sessions = session.exec(
                select(LoginSession)
                .where(
                    LoginSession.user_id == user.id,
                    col(LoginSession.ended_at).is_(None),
                    LoginSession.expires_at > now,
                )
                .order_by(col(LoginSession.id).desc())
                .limit(FEW)
            ).all()
            agreed = session.exec(
                select(Consent).where(Consent.user_id == user.id).limit(FEW)
            ).all()
            found = totp.find(session, user.id)
            left, made = recovery.left(session, user.id)
            events = (
                session.exec(
                    events_matching(subject=user.id).order_by(col(AuditEvent.id).desc()).limit(10)
                ).all()
                if seat.may("audit:read")
                else None
            )
            actors = naming.users(session, [each.actor for each in events or ()])
            ids = [*(each.client_id for each in sessions), *(each.client_id for each in agreed)]
            return {
                "user": user, "granted": accounts.roles_of(session, user.id),
                "browsers": browsers, "sessions": sessions, "agreed": agreed,
                "app": found if found and found.confirmed_at else None,
                "locked_until": totp.locked_until(found) if found else None,
                "codes": left if made else None,
                "link_until": enrolment.open_until(session, user.id),
                "clients": naming.clients(session, ids), "events": events, "actors": actors,
            }  # fmt: skip

        found = await listed(self.services.db, unit)
        user = found["user"]
        invitable = user.status == "active" and user.email and user.password_hash is None
        told = await why.sign_in(self.services, user_id, failures=False)
        return self.page(
            seat, "user", title=user.username, done=query.get("done", ""),
            mine=user_id == seat.person.user.id, invitable=invitable and self.services.mails.on,
            obstacles=told.obstacles, reasons=REASONS,
            steps=STEPS, agent=words,
            at_client=next((each.client_id for each in found["sessions"]), ""),
            **found,
        )  # fmt: skip

    def _back(self, seat: Seat, query: Query) -> str:
        return seat.at("/user", id=query.get("id"))

    # --- What they may ----------------------------------------------------------------------------

    async def roles_sheet(self, seat: Seat, query: Query) -> Sheet:
        user_id = query.get("id", "")

        def unit(session: Session) -> tuple[User, list[str], list[Any]]:
            user = accounts.get(session, user_id)
            names = select(Role.name, Role.description, Role.acr).order_by(Role.name).limit(500)
            return user, accounts.roles_of(session, user.id), list(session.exec(names))

        user, granted, names = await self.services.db.read(unit)
        options = [
            Option(
                name,
                name,
                from_below.words(about) + (f" · {_('takes a second factor')}" if acr else ""),
            )
            for name, about, acr in names
        ]
        return Sheet(
            title=_("Roles of %s") % user.username, button=_("Save"),
            lead=_("What is taken away is gone at once, also from tokens already issued."),
            fields=[Field("roles", _("Roles"), "checks", granted, options=options)],
            version=etag(user.version), back=self._back(seat, query),
        )  # fmt: skip

    async def set_roles(self, seat: Seat, query: Query, form: Form) -> Response:
        user_id, roles, version = query.get("id", ""), form.all("roles"), form.some("version")
        await self.services.db.write(
            lambda s: administration.set_roles(s, user_id, roles, seat.held, version)
        )
        return self.done(self._back(seat, query), "saved")

    # --- How they sign in -----------------------------------------------------------------------

    async def password_sheet(self, seat: Seat, query: Query) -> Sheet:
        user = await naming.user(self, query)
        return Sheet(
            title=_("One-time password for %s") % user.username,
            button=_("Make a one-time password"),
            lead=_("The password of before is good no longer, and all sessions end."),
            fields=[
                Field("password", _("Password"), "password", longest=8192,
                      hint=_("A random one where you leave this empty."),
                      autocomplete="new-password"),
            ],
            back=self._back(seat, query),
        )  # fmt: skip

    async def password(self, seat: Seat, query: Query, form: Form) -> Response:
        user = await naming.user(self, query)
        given = form.secret("password")
        one_time = await administration.reset_password(self.services, user.id, given, seat.held)
        if given is not None:
            return self.done(self._back(seat, query), "password")
        return self.page(
            seat, "once", title=_("One-time password"), secret=one_time.password,
            until=one_time.expires_at, what=_("One-time password"), whose=user.username,
            lead=_("Hand it over by a way that only they read. It is shown this once, and has to "
                   "be changed at the next sign-in."),
            back=self._back(seat, query), another="",
        )  # fmt: skip

    async def invite(self, seat: Seat, query: Query, form: Form) -> Response:
        """Once more, perhaps: somebody who has no password sets one by the mail's link."""
        user_id, mails = query.get("id", ""), self.services.mails
        await self.services.db.write(lambda s: administration.invite(s, mails, user_id, seat.held))
        return self.done(self._back(seat, query), "invited")

    async def factors_sheet(self, seat: Seat, query: Query) -> Sheet:
        user = await naming.user(self, query)
        return Sheet(
            title=_("Take the second factors from %s") % user.username,
            button=_("Reset the second factors"), danger=True,
            lead=_("For somebody who has lost them. Recovery codes go along, the password alone is "
                   "enough again, and all sessions end. Be sure that it is they who ask."),
            fields=[Field("reason", _("Reason, for the audit"), required=True)],
            back=self._back(seat, query),
        )  # fmt: skip

    async def factors(self, seat: Seat, query: Query, form: Form) -> Response:
        user_id, reason = query.get("id", ""), form.text("reason")

        def unit(session: Session) -> None:
            user = accounts.get(session, user_id, lock=True)
            second_factor.reset(session, user, seat.held, reason)

        await self.services.db.write(unit)
        return self.done(self._back(seat, query), "factors")

    # --- Sessions -------------------------------------------------------------------------------

    async def sign_out(self, seat: Seat, query: Query, form: Form) -> Response:
        user_id = query.get("id", "")
        await self.services.db.write(lambda s: administration.sign_out(s, user_id, seat.held))
        return self.done(self._back(seat, query), "signed_out")

    async def end(self, seat: Seat, query: Query, form: Form) -> Response:
        user_id, sid = query.get("id", ""), form.text("session")
        await self.services.db.write(
            lambda s: administration.end_session(s, user_id, sid, seat.held)
        )
        return self.done(self._back(seat, query), "ended")

    async def end_browser(self, seat: Seat, query: Query, form: Form) -> Response:
        user_id, sid = query.get("id", ""), form.text("session")
        await self.services.db.write(
            lambda s: administration.end_browser_session(s, user_id, sid, seat.held)
        )
        return self.done(self._back(seat, query), "ended")

    async def withdraw(self, seat: Seat, query: Query, form: Form) -> Response:
        user_id, client_id = query.get("id", ""), form.text("client")
        await self.services.db.write(
            lambda s: administration.withdraw_consent(s, user_id, client_id, seat.held)
        )
        return self.done(self._back(seat, query), "withdrawn")

    # --- Whether they may be here ---------------------------------------------------------------

    async def disable_sheet(self, seat: Seat, query: Query) -> Sheet:
        user = await naming.user(self, query)
        return Sheet(
            title=_("Disable %s") % user.username, button=_("Disable"), danger=True,
            lead=_("They are signed out everywhere at once and cannot sign in, until somebody "
                   "enables them again. Nothing is deleted."),
            version=etag(user.version), back=self._back(seat, query),
        )  # fmt: skip

    async def disable(self, seat: Seat, query: Query, form: Form) -> Response:
        return await self._set_status(seat, query, form, "disabled")

    async def enable(self, seat: Seat, query: Query, form: Form) -> Response:
        return await self._set_status(seat, query, form, "active")

    async def _set_status(self, seat: Seat, query: Query, form: Form, status: str) -> Response:
        user_id, version = query.get("id", ""), form.some("version")
        patch = {"status": status}
        await self.services.db.write(
            lambda s: administration.change(s, user_id, patch, seat.held, version)
        )
        return self.done(self._back(seat, query), status)

    async def delete_sheet(self, seat: Seat, query: Query) -> Sheet:
        user = await naming.user(self, query)
        return Sheet(
            title=_("Delete %s") % user.username, button=_("Delete for ever"), danger=True,
            lead=_("There is no way back. Their sessions end, and what applications keep under "
                   "their id is nobody's. To keep somebody out for now, disable them instead."),
            fields=[
                Field("confirm", _("Type the username to confirm"), required=True, longest=64)
            ],
            version=etag(user.version), back=self._back(seat, query),
        )  # fmt: skip

    async def delete(self, seat: Seat, query: Query, form: Form) -> Response:
        user = await naming.user(self, query)
        if form.text("confirm") != user.username:
            raise ValidationFailed([("/confirm", _("That is not the username"))])
        version = form.some("version")
        await self.services.db.write(
            lambda s: administration.delete(s, user.id, seat.held, version)
        )
        return self.done(seat.at("/users"), "deleted")

    deeds = {  # noqa: RUF012
        "edit": Deed("update_user", "users:write", user_profile.save, user_profile.sheet),
        "roles": Deed("set_user_roles", "users:write", set_roles, roles_sheet, proof=True),
        "password": Deed("reset_password", "users:write", password, password_sheet, proof=True),
        "invite": Deed("invite_user", "users:write", invite),
        "factors": Deed("reset_user_factors", "users:write", factors, factors_sheet, proof=True),
        "link": Deed(
            "issue_enrolment_link", "users:write", enrolment.issue, enrolment.sheet, proof=True
        ),
        "unlink": Deed("withdraw_enrolment_links", "users:write", enrolment.withdraw),
        "sign_out": Deed("end_user_sessions", "users:write", sign_out),
        "end": Deed("end_user_session", "users:write", end),
        "end_browser": Deed("end_user_browser_session", "users:write", end_browser),
        "withdraw": Deed("withdraw_user_consent", "users:write", withdraw),
        "disable": Deed("update_user", "users:write", disable, disable_sheet),
        "enable": Deed("update_user", "users:write", enable),
        "delete": Deed("delete_user", "users:write", delete, delete_sheet, proof=True),
    }


async def page(house: House) -> UserScreen:
    return UserScreen(house, await house.rendering())
