"""What every screen of the console does first: who sits there, what may they, have they proved it.

A screen shows itself (`show`), and has deeds. A deed names the operation of the API that does the
same, and the scope that it takes; whoever does not hold that neither sees it nor is obeyed. What
follows from a mistake is on the form that was sent, at the status that the API would answer.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, ClassVar
from urllib.parse import urlencode

from identity.dataclass import dataclass
from identity.directory.access.authority import Authority, Standing
from identity.directory.access.granting import ADMINISTRATIVE, held_for_granting
from identity.errors import (
    Conflict,
    Forbidden,
    IdentityError,
    NotFound,
    PreconditionFailed,
    ValidationFailed,
)
from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages import fresh, returning
from identity.pages.beginning import stepped_up
from identity.pages.console.forms import Form, Sheet, sentence
from identity.pages.console.screens import SCREENS, Screen
from identity.pages.registry import House
from identity.pages.rendering import Header, Rendering
from identity.pages.words import _
from identity.records import audit
from identity.service.interactions import Person
from identity.service.people import person_at, still
from identity.service.wiring import Services
from identity.tokens.lockdown import OPEN, State, now_in_force

ALONE: Header = (b"cross-origin-opener-policy", b"same-origin")
Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Seat:
    """Who sits at the console, and what they may."""

    person: Person
    services: Services
    base: str
    here: str
    """The address of what is asked for."""
    lockdown: State = OPEN
    """As it is now: every screen says so while one lasts."""

    @property
    def scopes(self) -> frozenset[str]:
        """Of the roles that count at this sign-in (`roles.acr`)."""
        return self.person.user.scopes

    def may(self, *scopes: str) -> bool:
        return self.scopes.issuperset(scopes)

    @property
    def own_audiences(self) -> frozenset[str]:
        settings = self.services.settings
        return frozenset((settings.issuer, settings.audience))

    @property
    def held(self) -> Authority:
        """What they may hand out, as at the API with a token of all their scopes."""
        return Authority(
            scopes=held_for_granting(self.scopes, self.scopes),
            roles=frozenset(self.person.user.roles),
            own_audiences=self.own_audiences,
        )

    async def again(self, scope: str) -> "Seat":
        """The same in the middle of what takes its time: with what they may by now. Raises
        `Forbidden` once they may not go on."""
        person = await still(self.services, self.person)
        if person is None or scope not in person.user.scopes:
            raise Forbidden(_("You may not do this any more."))
        return replace(self, person=person)

    def standing(self, scope: str) -> Standing:
        async def held() -> Authority:
            return (await self.again(scope)).held

        return held

    def at(self, path: str, **query: str | None) -> str:
        """An address of ours."""
        said = {name: value for name, value in query.items() if value}
        return f"{self.base}/console{path}" + (f"?{urlencode(said)}" if said else "")


@dataclass(frozen=True)
class Deed:
    operation: str
    """Of the API, that does the same."""
    scope: str
    do: Callable[[Any, Seat, Query, Form], Awaitable[Response]]
    sheet: Callable[[Any, Seat, Query], Awaitable[Sheet]] | None = None
    """What is asked first; None: a button on the screen is enough."""
    proof: bool = False
    """Whether somebody must just have proved who they are, before they are asked."""


class Desk:
    """A screen."""

    screen: ClassVar[Screen]
    deeds: ClassVar[Mapping[str, Deed]] = {}

    def __init__(self, house: House, rendering: Rendering) -> None:
        self.house = house
        self.services = house.services
        self.rendering = rendering

    async def show(self, seat: Seat, query: Query) -> Response:
        raise NotImplementedError

    # --- What is asked --------------------------------------------------------------------------

    async def get(self, request: Request) -> Response:
        query = request.query

        async def answer(seat: Seat) -> Response:
            deed = self.deeds.get(query.get("do", ""))
            if deed is None or deed.sheet is None:
                return await self.show(seat, query)
            self._require(seat, deed.scope)
            if deed.proof and not stepped_up(seat.person):
                return self._prove(seat)
            return self.asked(seat, query["do"], await deed.sheet(self, seat, query))

        return await self._seated(request, answer)

    async def post(self, request: Request) -> Response:
        query = request.query
        form = await Form.sent(request)

        async def answer(seat: Seat) -> Response:
            name = form.text("act")
            deed = self.deeds.get(name)
            if deed is None:
                raise NotFound(_("There is no such act."))
            self._require(seat, deed.scope)
            if deed.proof and not stepped_up(seat.person):
                return self._prove(seat)
            return await self._do(seat, query, name, deed, form)

        return await self._seated(request, answer)

    async def _do(self, seat: Seat, query: Query, name: str, deed: Deed, form: Form) -> Response:
        try:
            if deed.sheet is not None:
                (await deed.sheet(self, seat, query)).check(form)
            return await deed.do(self, seat, query, form)
        except (ValidationFailed, Conflict, Forbidden, PreconditionFailed) as error:
            if isinstance(error, Forbidden):
                self._note(why=error.detail)
            if deed.sheet is None:
                raise
            sheet = await deed.sheet(self, seat, query)
            sheet.refuse(error, form)
            return self.asked(seat, name, sheet, error.status)

    async def _seated(
        self, request: Request, answer: Callable[[Seat], Awaitable[Response]]
    ) -> Response:
        await fresh.catch_up(self.services, request)
        person = await person_at(self.services, request)
        base = self.rendering.base
        asked = request.scope["query_string"].decode("latin-1")
        here = base + self.screen.path + (f"?{asked}" if asked else "")
        if person is None:
            return see_other(returning.with_to(f"{base}/sign-in", here))
        state = await now_in_force(self.services.lockdowns)
        seat = Seat(person, self.services, base, here, state)
        try:
            if not seat.scopes & ADMINISTRATIVE:
                self._note(missing="console")
                return await self._no_administrator(seat)
            self._require(seat, *(self.screen.needs or ADMINISTRATIVE))
            for scope in self.screen.also:
                self._require(seat, scope)
            return await answer(seat)
        except IdentityError as error:
            return self.refused(seat, error)

    def _require(self, seat: Seat, *any_of: str) -> None:
        if not seat.scopes.intersection(any_of):
            self._note(missing=" ".join(any_of))
            raise Forbidden(_("This takes the scope %s, which you do not hold.") % any_of[0])

    def _note(self, **detail: str) -> None:
        """Who asked for what in vain is on record, as at the API."""
        self.services.queue.put("access", outcome="refused", **detail)

    def _prove(self, seat: Seat) -> Response:
        address = returning.with_to(f"{seat.base}/sign-in", seat.here)
        return see_other(f"{address}&again=1")

    # --- What is shown --------------------------------------------------------------------------

    def page(
        self,
        seat: Seat,
        template: str,
        *,
        status: int = 200,
        headers: Sequence[Header] = (),
        title: str = "",
        **said: Any,
    ) -> Response:
        may_see = [
            each
            for each in SCREENS
            if each.title and seat.scopes.intersection(each.needs or ADMINISTRATIVE)
        ]
        return self.rendering.page(
            f"console/{template}.html",
            status=status,
            headers=[*headers, ALONE],
            forms_stay=True,
            scripts=["console.js"],
            seat=seat,
            may=seat.may,
            at=seat.at,
            here=seat.here,
            screens=[(group, list(each)) for group, each in groupby(may_see, lambda s: s.group)],
            current=self._current(),
            title=title,
            request_id=audit.origin.get().request_id,
            **said,
        )

    def _current(self) -> str:
        """What is marked in the navigation: the list that a screen belongs to."""
        listed = {each.path for each in SCREENS if each.title}
        path = self.screen.path
        above = path.partition("-")[0]
        found = (each for each in (path, f"{path}s", f"{above}s", above) if each in listed)
        return next(found, "")

    def asked(self, seat: Seat, act: str, sheet: Sheet, status: int = 200) -> Response:
        return self.page(seat, "sheet", status=status, title=sheet.title, act=act, sheet=sheet)

    def refused(self, seat: Seat, error: IdentityError) -> Response:
        return self.page(
            seat, "refused", status=error.status, title=_(error.title), words=sentence(error.detail)
        )

    async def _no_administrator(self, seat: Seat) -> Response:
        """Perhaps a role of theirs does not count, for want of a second factor."""
        user = seat.person.user
        whole = await self.services.users.get(user.id)
        lacks_factor = whole is not None and bool(whole.scopes & ADMINISTRATIVE)
        return self.page(
            seat, "no_administrator", status=403, title=_("Not for you"),
            lacks_factor=lacks_factor, has_factor=user.second_factor,
        )  # fmt: skip

    def done(self, address: str, what: str) -> Response:
        """On to `address`, which says what was done (`done.html`)."""
        mark = "&" if "?" in address else "?"
        return see_other(f"{address}{mark}{urlencode({'done': what})}")
