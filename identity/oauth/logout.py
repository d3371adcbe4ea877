"""`GET|POST /logout`: an application's user signs out here (OpenID Connect RP-Initiated Logout).

Whoever is signed in is asked first, unless an ID token proves that the application means their very
session. Nobody is sent anywhere but to an address that its client has registered for this.
"""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from sqlalchemy import bindparam, or_
from sqlmodel import Session, col

from identity.authentication import browser
from identity.directory import uris
from identity.directory.clients.registry import ClientSnapshot
from identity.directory.clients.table import Client
from identity.errors import IdentityError, InvalidRequest
from identity.http import cookies, describing
from identity.http.forms import parse_pairs, require_form
from identity.http.messages import Request, Response
from identity.http.origins import from_elsewhere, origin_of, see_other
from identity.service.interactions import Person, Refusing, SignedOut
from identity.service.people import person_at
from identity.service.wiring import Services
from identity.store import Statement, select_of
from identity.tokens.hints import Hint
from identity.tokens.sessions.table import LoginSession

Pairs = Sequence[tuple[str, str]]


class Wish(NamedTuple):
    """A logout request whose parts fit together."""

    client: ClientSnapshot | None
    hint: Hint | None
    back: str | None
    """Where the browser goes afterwards, with `state`."""


class Logout:
    def __init__(self, services: Services, refusing: Refusing, signed_out: SignedOut) -> None:
        self._services = services
        self._refusing = refusing
        self._signed_out = signed_out
        self._origin = origin_of(services.settings.issuer)
        self._base = urlsplit(services.settings.issuer).path.rstrip("/")

    async def __call__(self, request: Request) -> Response:
        try:
            pairs = await self._pairs(request)
            if request.scope["method"] == "POST" and from_elsewhere(request, self._origin):
                # The session's cookie does not come along with it.
                return see_other(f"{self._base}/logout?{urlencode(pairs)}")
            await self._services.feed.catch_up()
            wish = await self._read(pairs)
            person = await person_at(self._services, request)
            if person is not None and not await self._proves(wish, person):
                return self._ask(pairs)
            if person is None and wish.hint is None and wish.back is not None:
                return self._ask(pairs)
            return await self._leave(request, wish, person)
        except IdentityError as refusal:
            return await self._refusing(request, refusal)

    async def confirmed(self, request: Request, go_on: str | None) -> Response:
        """The person has said yes to the request in this address's query. `go_on`: where one of
        our own pages wants to lead."""
        await self._services.feed.catch_up()
        query: bytes = request.scope["query_string"]
        wish = Wish(None, None, go_on) if go_on else await self._read(parse_pairs(query))
        return await self._leave(request, wish, await person_at(self._services, request))

    # --- Steps ------------------------------------------------------------------------------

    async def _pairs(self, request: Request) -> Pairs:
        if request.scope["method"] == "POST":
            require_form(request.header(b"content-type"))
            return parse_pairs(await request.body())
        return parse_pairs(request.scope["query_string"])

    async def _read(self, pairs: Pairs) -> Wish:
        asked = dict(pairs)
        if len(asked) != len(pairs):
            raise InvalidRequest("a parameter is repeated")
        hint, client_id = None, asked.get("client_id")
        if text := asked.get("id_token_hint"):
            hint = await self._services.hints.read(text)
            if hint is None:
                raise InvalidRequest("id_token_hint is no ID token of this service")
            if client_id not in (None, hint.client_id):
                raise InvalidRequest("id_token_hint is another client's")
            client_id = hint.client_id
        client = await self._services.clients.get(client_id) if client_id else None
        return Wish(client, hint, self._back(asked, client))

    def _back(self, asked: dict[str, str], client: ClientSnapshot | None) -> str | None:
        """§2.1, §3: compared like a redirect URI, and as strictly refused."""
        uri, state = asked.get("post_logout_redirect_uri"), asked.get("state")
        if uri is None:
            return None
        if client is None or not client.active:
            raise InvalidRequest("post_logout_redirect_uri came without a client that is known")
        registered = client.settings.post_logout_redirect_uris
        if not uris.is_registered(uri, registered) or uris.redirect_problem(uri):
            raise InvalidRequest("post_logout_redirect_uri is not registered for this client")
        if state is None:
            return uri
        return f"{uri}{'&' if '?' in uri else '?'}{urlencode({'state': state})}"

    async def _proves(self, wish: Wish, person: Person) -> bool:
        """Whether the hint is of a session that this very person has below this browser session, or
        has begun at it: one that outlives it says as surely who asks."""
        if wish.hint is None or wish.client is None:
            return False
        if wish.hint.subject != self._services.subjects.of(wish.client, person.user.id):
            return False
        values = {"sid": wish.hint.session_id, "browser": person.session.id}
        return bool(await self._services.db.query(_HERE, values))

    def _ask(self, pairs: Pairs) -> Response:
        query = f"?{urlencode(pairs)}" if pairs else ""
        return see_other(f"{self._base}/sign-out{query}")

    async def _leave(self, request: Request, wish: Wish, person: Person | None) -> Response:
        applications: list[str] = []
        if person is not None:
            session_id = person.session.id

            def unit(work: Session) -> None:
                browser.end(work, session_id, "signed out")

            rows = await self._services.db.query(_APPLICATIONS, {"browser": session_id})
            applications = [name or client_id for client_id, name in rows]
            await self._services.db.write(unit)
        headers = [self._services.cookies.clear(cookies.SESSION)]
        if wish.back is not None:
            return see_other(wish.back, headers)
        return await self._signed_out(request, applications, headers)


_HERE = Statement(
    lambda: select_of(LoginSession.id).where(
        col(LoginSession.id) == bindparam("sid"),
        or_(
            col(LoginSession.browser_session_id) == bindparam("browser"),
            col(LoginSession.signed_in_at) == bindparam("browser"),
        ),
    )
)
_APPLICATIONS = Statement(
    lambda: (
        select_of(Client.id, Client.name)
        .join_from(LoginSession, Client)
        .where(
            col(LoginSession.browser_session_id) == bindparam("browser"),
            col(LoginSession.ended_at).is_(None),
        )
        .order_by(Client.name, Client.id)
        .distinct()
    )
)


def words() -> describing.Node:
    texts = ("id_token_hint", "client_id", "post_logout_redirect_uri", "state", "ui_locales")
    return {
        "tags": ["OAuth"],
        "operationId": "logout",
        "summary": "Let a person sign out here (OpenID Connect RP-Initiated Logout)",
        "description": "For browsers. Asks first, unless `id_token_hint` is of this very session.",
        "parameters": [describing.query(name, {"type": "string"}, "") for name in texts],
        "responses": {
            **describing.page(200, "Nobody is signed in any more."),
            "303": {"description": "To `post_logout_redirect_uri` with `state`, or to a page."},
            **describing.page(400, "Why nobody is sent back."),
            **describing.page(503, "The database cannot be reached."),
        },
    }


def words_of_post() -> describing.Node:
    return describing.posted(words(), [], {"client_id": "shop", "state": "af0ifjsldkj"})
