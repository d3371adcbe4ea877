"""`/console/keys`: what signs, what did and what will, on one line of time; and what a revocation
would bring before anybody presses the button."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.errors import NotFound, ValidationFailed
from identity.http.messages import Response
from identity.keys import transitions
from identity.keys.table import SigningKey
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Field, Form, Option, Sheet
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _
from identity.service.administration import keys as administration
from identity.store.paging import listed
from identity.tokens.sessions.table import LoginSession

MANY = 1000
"""So far sessions are counted, no further."""
WIDTH = 1000


class Bar(NamedTuple):
    """A stretch of a key's life, in units of which the line of time has `WIDTH`."""

    state: str
    x: int
    width: int


class Line(NamedTuple):
    key: SigningKey
    bars: list[Bar]


class Keys(Desk):
    screen = own("keys")

    async def show(self, seat: Seat, query: Query) -> Response:
        keys, uptakes = await self.services.db.read(administration.with_uptake)
        settings = self.services.settings.keys
        now = utcnow()
        oldest = min((key.created_at for key in keys), default=now)
        begins = max(oldest, now - 3 * settings.key_rotation)
        begins = min(begins, now - settings.key_rotation / 4)
        ends = now + settings.key_rotation
        lines = [Line(key, _bars(key, begins, ends, now, settings.key_rotation)) for key in keys]
        return self.page(
            seat, "keys", title=_("Signing keys"), lines=lines, uptakes=uptakes,
            width=WIDTH, now=now, now_at=_place(now, begins, ends), begins=begins, ends=ends,
            rotation=settings.key_rotation, done=query.get("done", ""),
        )  # fmt: skip

    async def rotate_sheet(self, seat: Seat, query: Query) -> Sheet:
        settings = self.services.settings
        algorithms = [settings.keys.algorithm_for(serves) for serves in settings.keys.served]
        wait = int(transitions.lead(settings).total_seconds() / 60)
        return Sheet(
            title=_("Bring on the next key"), button=_("Rotate"),
            lead=_("A new key is published now and signs once every verifier knows it, in about "
                   "%s minutes; those who follow the revocations say when they do. What the old "
                   "one signed stays good until it expires.") % wait,
            fields=[
                Field("algorithm", _("Algorithm"), "select", algorithms[0],
                      options=[Option(each, each) for each in algorithms]),
                Field("now", _("Sign with it at once"), "check", False,
                      hint=_("Also where it waits for somebody. Verifiers that do not fetch the "
                             "key set again on an unknown kid refuse new tokens until their "
                             "copy is out of date.")),
            ],
            back=seat.at("/keys"),
        )  # fmt: skip

    async def rotate(self, seat: Seat, query: Query, form: Form) -> Response:
        await administration.rotate(
            self.services, now=form.ticked("now"), algorithm=form.text("algorithm")
        )
        return self.done(seat.at("/keys"), "rotated")

    async def revoke_sheet(self, seat: Seat, query: Query) -> Sheet:
        kid = query.get("kid", "")

        def unit(session: Session) -> tuple[SigningKey, int]:
            key = session.get(SigningKey, kid)
            if key is None:
                raise NotFound(_("There is no such key."))
            living = (
                select(LoginSession.id)
                .where(
                    col(LoginSession.ended_at).is_(None),
                    LoginSession.access_expires_at > utcnow(),
                    LoginSession.expires_at > utcnow(),
                )
                .limit(MANY)
            )
            return key, len(session.exec(living).all())

        key, living = await listed(self.services.db, unit)
        return Sheet(
            title=_("Revoke a signing key"), button=_("Revoke it"), danger=True,
            lead=_("For a key that others may have. Everything that it signed is dead at once, and "
                   "another takes its place."),
            facts=_impact(key, living),
            fields=[
                Field("confirm", _("Type the first eight characters of its id to confirm"),
                      required=True, longest=8, hint=kid[:8])
            ],
            back=seat.at("/keys"),
        )  # fmt: skip

    async def revoke(self, seat: Seat, query: Query, form: Form) -> Response:
        kid = query.get("kid", "")
        if form.text("confirm") != kid[:8]:
            raise ValidationFailed([("/confirm", _("That is not how its id begins"))])
        await administration.revoke(self.services, kid)
        return self.done(seat.at("/keys"), "revoked")

    deeds = {  # noqa: RUF012
        "rotate": Deed("rotate_keys", "keys:write", rotate, rotate_sheet, proof=True),
        "revoke": Deed("revoke_key", "keys:write", revoke, revoke_sheet, proof=True),
    }


def _impact(key: SigningKey, living: int) -> list[tuple[str, str]]:
    count = f"{living}+" if living >= MANY else str(living)
    facts: list[tuple[str, str]] = [
        (_("Key"), key.kid), (_("Algorithm"), key.algorithm), (_("State"), key.state)
    ]  # fmt: skip
    if key.state == "next":
        facts.append((_("Tokens that die"), _("none: it has signed nothing yet")))
    elif key.state == "revoked":
        facts.append((_("Tokens that die"), _("none: it is revoked already")))
    else:
        facts += [
            (_("Tokens that die"), _("every access and ID token that it signed")),
            (_("Sessions with a living access token"), count),
            (_("What applications notice"), _("they refresh; sessions and refresh tokens go on")),
            (_("What services notice"), _("they fetch the key set again")),
        ]
    return facts


def _bars(
    key: SigningKey, begins: datetime, ends: datetime, now: datetime, age: timedelta
) -> list[Bar]:
    signs = key.activated_at or (key.not_before if key.state == "next" else None)
    stops = key.retired_at or key.revoked_at or (signs and max(signs + age, now))
    stretches: list[tuple[str, Any, Any]] = [
        ("next", key.created_at, signs or stops or now),
        ("active", signs, stops),
        ("retired", key.retired_at, key.revoked_at or key.expires_at),
        ("revoked", key.revoked_at, now),
    ]
    bars = []
    for state, since, until in stretches:
        if since is None or until is None:
            continue
        x, end = _place(since, begins, ends), _place(until, begins, ends)
        if end > x or state == key.state:
            bars.append(Bar(state, x, max(end - x, 4)))
    return bars


def _place(moment: datetime, begins: datetime, ends: datetime) -> int:
    share = (moment - begins) / (ends - begins)
    return round(WIDTH * min(max(share, 0.0), 1.0))


async def page(house: House) -> Keys:
    return Keys(house, await house.rendering())
