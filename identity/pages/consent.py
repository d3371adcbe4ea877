"""`/consent`: may this application do that in your name?"""

import json
from collections.abc import Mapping

from identity.directory import uris
from identity.directory.details import Detail
from identity.errors import InvalidRequest, OAuthError
from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages import returning, scopes
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
        return await self._house.authorizations.decline(waiting)

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
        types = self._house.services.detail_types
        words = await self._house.services.db.read(lambda s: scopes.described(s, names))
        return self._rendering.page(
            "consent.html",
            status=422 if problem else 200,
            client=waiting.client,
            destination=uris.host_of(waiting.redirect_uri)
            or waiting.redirect_uri.partition(":")[0],
            described_at=uris.host_of(waiting.client.id),
            on_this_machine=uris.is_loopback(waiting.redirect_uri),
            username=waiting.person.user.username,
            user_id=waiting.person.user.id,
            shown=" ".join(waiting.new_scopes),
            new=[words[name] for name in waiting.new_scopes if name in words],
            old=[words[name] for name in waiting.old_scopes if name in words],
            details=[(types.describe(each), _members(each)) for each in waiting.details],
            problem=problem,
            request_id=audit.origin.get().request_id,
            action=returning.with_to(f"{self._rendering.base}/consent", to),
            another=returning.with_to(f"{self._rendering.base}/sign-out", to),
        )


def _members(detail: Detail) -> list[tuple[str, str]]:
    """All that it says, to the letter, for whoever has to answer for it."""
    return [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in detail.items()
        if name != "type"
    ]


def _was_asked(form: Mapping[str, str], waiting: Waiting) -> bool:
    """Whether the page that was answered asked this very person about no less. Another may have
    signed in in another tab; the client, or the user, may have got more scopes meanwhile."""
    assert waiting.person is not None
    shown = form.get("shown", "").split(" ")
    return form.get("user") == waiting.person.user.id and set(waiting.new_scopes).issubset(shown)


async def page(house: House) -> Consent:
    return Consent(house, await house.rendering())
