"""`/consent`: may this application do that in your name?"""

from collections.abc import Mapping

from sqlmodel import Session, col, select

from identity.directory import uris
from identity.directory.access.granting import OPENID
from identity.directory.access.table import Scope
from identity.errors import InvalidRequest, OAuthError
from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages import returning
from identity.pages.registry import House
from identity.pages.rendering import Rendering
from identity.pages.words import _
from identity.records import audit
from identity.service.interactions import Waiting


class Consent:
    def __init__(self, house: House, rendering: Rendering) -> None:
        self._house = house
        self._rendering = rendering

    async def get(self, request: Request) -> Response:
        to, waiting = await self._waiting(request)
        if waiting is None or waiting.step != "consent" or not waiting.marked:
            return see_other(to)  # which knows what is missing
        return await self._form(to, waiting)

    async def post(self, request: Request) -> Response:
        """An answer counts from the browser that was asked, while its person is signed in."""
        form = await request.form()
        to, waiting = await self._waiting(request)
        if waiting is None or waiting.step != "consent" or not waiting.marked:
            return see_other(to)
        answer = form.get("answer")
        if answer not in ("agree", "decline"):
            return await self._form(to, waiting, problem=_("Choose one of the two."))
        if not _was_asked(form, waiting):
            words = _("Something has changed since you were asked. Please look again.")
            return await self._form(to, waiting, problem=words)
        if answer == "agree":
            return await self._house.authorizations.agree(request, waiting)
        return self._house.authorizations.decline(waiting)

    async def _waiting(self, request: Request) -> tuple[str, Waiting | None]:
        to = returning.to(request.query, self._rendering.base)
        if to is None:
            raise InvalidRequest(_("Nothing waits for an answer here."))
        try:
            return to, await self._house.authorizations.look(request, returning.query_of(to))
        except OAuthError:
            return to, None

    async def _form(self, to: str, waiting: Waiting, problem: str | None = None) -> Response:
        assert waiting.person is not None
        names = [*waiting.new_scopes, *waiting.old_scopes]
        described = await self._house.services.db.read(lambda s: _described(s, names))
        return self._rendering.page(
            "consent.html",
            status=422 if problem else 200,
            client=waiting.client,
            destination=uris.host_of(waiting.redirect_uri)
            or waiting.redirect_uri.partition(":")[0],
            on_this_machine=uris.is_loopback(waiting.redirect_uri),
            username=waiting.person.user.username,
            user_id=waiting.person.user.id,
            shown=" ".join(waiting.new_scopes),
            new=[described[name] for name in waiting.new_scopes if name in described],
            old=[described[name] for name in waiting.old_scopes if name in described],
            problem=problem,
            request_id=audit.origin.get().request_id,
            action=returning.with_to(f"{self._rendering.base}/consent", to),
            another=returning.with_to(f"{self._rendering.base}/sign-out", to),
        )


def _was_asked(form: Mapping[str, str], waiting: Waiting) -> bool:
    """Whether the page that was answered asked this very person about no less. Another may have
    signed in in another tab; the client, or the user, may have got more scopes meanwhile."""
    assert waiting.person is not None
    shown = form.get("shown", "").split(" ")
    return form.get("user") == waiting.person.user.id and set(waiting.new_scopes).issubset(shown)


def _described(session: Session, names: list[str]) -> dict[str, str]:
    """What each scope lets an application do, in words, or by its name."""
    query = select(Scope.name, Scope.description).where(col(Scope.name).in_(names))
    words = dict(session.exec(query).all())
    return {name: _(OPENID.get(name) or words.get(name) or name) for name in names}


async def page(house: House) -> Consent:
    return Consent(house, await house.rendering())
