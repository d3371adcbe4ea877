"""What the pages of `/account` have in common: who sits there, and that a form acts on nobody else.

A page names itself, says whether it takes a fresh proof, and has `show` and, where it has forms,
`act`.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from identity.directory.users.shown import UserOut
from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages import fresh, returning
from identity.pages.beginning import Beginning, stepped_up
from identity.pages.registry import House
from identity.pages.rendering import Header, Rendering
from identity.pages.words import _
from identity.records import audit
from identity.service.interactions import Person
from identity.service.people import person_at

ALONE: Header = (b"cross-origin-opener-policy", b"same-origin")
Errors = Mapping[str, str]
"""What is wrong, by the name of its field; "" where it is about none."""
FINE: Errors = MappingProxyType({})
SOMEBODY_ELSE = _("Somebody else has signed in here meanwhile. This is their account: look again.")


class OwnPage:
    name: ClassVar[str]
    """The last part of its address, and its place in the navigation."""
    within: ClassVar[str | None] = None
    """The place in the navigation of a page that has none of its own."""
    fresh: ClassVar[bool] = False
    """Whether whoever comes must have lately proved who they are, as surely as they can. They are
    asked before they see a form (`returning.ACCOUNT`)."""
    done: ClassVar[Mapping[str, str]] = {}
    """What to say of an act that led here, by the word for it in the address."""

    def __init__(self, house: House, rendering: Rendering) -> None:
        self.house = house
        self.services = house.services
        self.rendering = rendering
        self.beginning = Beginning(house, rendering.base)
        self.here = f"{rendering.base}/account/{self.name}".rstrip("/")

    async def get(self, request: Request) -> Response:
        person = await self._person(request)
        if person is None:
            return self._to_sign_in(request.scope["query_string"].decode("latin-1"))
        return await self.show(request, person)

    async def post(self, request: Request) -> Response:
        form = await request.form()
        person = await self._person(request)
        if person is None:
            return self._to_sign_in()
        if form.get("user") != person.user.id:
            return await self.show(request, person, {"": SOMEBODY_ELSE}, status=409)
        return await self.act(request, person, form)

    async def show(
        self, request: Request, person: Person, errors: Errors = FINE, *, status: int = 200
    ) -> Response:
        raise NotImplementedError

    async def act(self, request: Request, person: Person, form: dict[str, str]) -> Response:
        return see_other(self.here)

    def page(
        self,
        request: Request,
        person: Person,
        template: str | None = None,
        *,
        status: int = 200,
        headers: Sequence[Header] = (),
        action: str | None = None,
        **said: Any,
    ) -> Response:
        """`template`: the page's own unless it is named. `action`: where its forms go, which is
        here unless it is said."""
        done = request.query.get("done") if request.scope["method"] in ("GET", "HEAD") else None
        return self.rendering.page(
            f"account/{template or self.name or 'overview'}.html",
            status=status,
            headers=[*headers, ALONE],
            forms_stay=True,
            here=self.name if self.within is None else self.within,
            action=action or self.here,
            username=person.user.username,
            user_id=person.user.id,
            notice=self.done.get(done or ""),
            request_id=audit.origin.get().request_id,
            **said,
        )

    def back(self, done: str | None = None, headers: Sequence[Header] = ()) -> Response:
        """To this page again, by GET."""
        return see_other(f"{self.here}?done={done}" if done else self.here, headers)

    async def _person(self, request: Request) -> Person | None:
        await fresh.catch_up(self.services, request)
        person = await person_at(self.services, request)
        if person is None or (self.fresh and not stepped_up(person)):
            return None
        return person

    def _to_sign_in(self, query: str = "") -> Response:
        base = self.rendering.base
        asked = f"{self.here}?{query}" if query and not self.fresh else self.here
        to = asked if returning.is_ours(asked, base) else self.here
        return see_other(returning.with_to(f"{base}/sign-in", to))


def shown(person: Person) -> UserOut:
    """All that is known of who sits there, from memory."""
    return UserOut.model_validate_json(person.user.shown)
