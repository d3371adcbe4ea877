"""`GET|POST /authorize`: the steps of an authorization request, in order.

Nothing is kept of a request that waits for a person: it goes to a page in the address, with a
sealed mark (`authentication.marks`), and comes back here to be judged from the start.
"""

from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from identity.authentication import browser
from identity.authentication.marks import Mark, digest_of
from identity.clock import now
from identity.directory import consents
from identity.errors import (
    AccessDenied,
    AccountSelectionRequired,
    ConsentRequired,
    IdentityError,
    InvalidRequest,
    InvalidTarget,
    LoginRequired,
    OAuthError,
    description,
)
from identity.http import cookies, describing
from identity.http.forms import parse_pairs, require_form
from identity.http.messages import Request, Response
from identity.http.origins import from_elsewhere, origin_of, see_other
from identity.oauth import targets
from identity.oauth.authorize import request as requests
from identity.oauth.authorize.deciding import (
    CHOSEN,
    Asked,
    granted_scopes,
    implied_scopes,
    next_step,
)
from identity.oauth.authorize.interaction import Interaction
from identity.oauth.authorize.request import AuthorizationRequest, Parameters, ReturnAddress
from identity.opaque import mint
from identity.service.interactions import Person, Refusing, Step, Waiting
from identity.service.people import person_at
from identity.service.wiring import Services
from identity.tokens import codes
from identity.tokens.codes import Authorized
from identity.tokens.subjects import is_pairwise

LONGEST = 12 * 1024
"""Octets of a request, and of the address at which it waits, where it stands encoded once more:
servers and proxies take no longer ones."""
SILENTLY: Mapping[Step, type[OAuthError]] = {
    "sign_in": LoginRequired,
    "choose": AccountSelectionRequired,
    "consent": ConsentRequired,
}
"""What `prompt=none` is told instead of a page."""


class Authorize:
    def __init__(self, services: Services, refusing: Refusing) -> None:
        self._services = services
        self._refusing = refusing
        self._issuer = services.settings.issuer
        self._origin = origin_of(self._issuer)
        self._base = urlsplit(self._issuer).path.rstrip("/")
        self._own = frozenset({services.settings.audience, self._issuer})

    async def __call__(self, request: Request) -> Response:
        try:
            pairs = await self._pairs(request)
            if request.scope["method"] == "POST" and from_elsewhere(request, self._origin):
                # The session's cookie does not come along with it.
                return see_other(f"{self._base}/authorize?{urlencode(pairs)}")
            parameters, mark = requests.without_mark(pairs)
            back = await self._addressed(parameters)
        except IdentityError as refusal:
            return await self._refusing(request, refusal)
        try:
            interaction = await self._look(request, parameters, mark, back)
            return await self._proceed(request, interaction)
        except OAuthError as refusal:
            return self.refuse(back, refusal)
        except IdentityError as refusal:
            return await self._refusing(request, refusal)

    # --- For the pages ----------------------------------------------------------------------

    async def look(self, request: Request, query: str) -> Interaction:
        """The request that waits in an address, judged again. Raises as it would here."""
        parameters, mark = requests.without_mark(parse_pairs(query.encode()))
        return await self._look(request, parameters, mark, await self._addressed(parameters))

    async def agree(self, request: Request, waiting: Waiting) -> Response:
        """The person at the browser agrees; what they agreed to is remembered."""
        assert isinstance(waiting, Interaction) and waiting.person is not None
        user_id, client, names = waiting.person.user.id, waiting.client, waiting.new_scopes
        if waiting.never_asked or names:
            await self._services.db.write_plain(
                lambda work: consents.grant(work, user_id, client, names)
            )
        try:
            return await self._issue(waiting)
        except OAuthError as refusal:
            return self.refuse(waiting.request.back, refusal)

    def decline(self, waiting: Waiting) -> Response:
        assert isinstance(waiting, Interaction)
        self._services.queue.put(
            "authorization.declined", outcome="refused", client_id=waiting.client.id
        )
        return self.refuse(waiting.request.back, AccessDenied())

    def chosen(self, request: Request, waiting: Waiting) -> str:
        assert isinstance(waiting, Interaction) and waiting.mark is not None
        known = self._services.cookies.read(request, cookies.BROWSER) or ""
        return self._address(waiting.parameters, waiting.mark.with_done(CHOSEN), known)

    # --- Steps ------------------------------------------------------------------------------

    async def _pairs(self, request: Request) -> list[tuple[str, str]]:
        if request.scope["method"] == "POST":
            require_form(request.header(b"content-type"))
            body = await request.body()
        else:
            body = request.scope["query_string"]
        if len(body) > LONGEST:
            raise InvalidRequest("the request is too long for an address")
        return parse_pairs(body)

    async def _addressed(self, parameters: Parameters) -> ReturnAddress:
        await self._services.feed.catch_up()
        wanted = requests.client_id(parameters)
        client = self._services.clients.at_hand(wanted)
        if client is None:
            client = await self._services.clients.get(wanted)
            # What is remembered besides shall be no older: a consent is withdrawn with what was
            # read here.
            await self._services.feed.catch_up()
        return requests.addressed(parameters, client)

    async def _look(
        self, request: Request, parameters: Parameters, mark_text: str | None, back: ReturnAddress
    ) -> Interaction:
        """Raises OAuth errors for the client to hear."""
        services = self._services
        asked = requests.read(parameters, back)
        mark = None
        if mark_text is not None:
            known = services.cookies.read(request, cookies.BROWSER)
            mark = services.marks.open(mark_text, digest_of(parameters), known)
        person = await person_at(services, request)
        wanted = await self._wanted(asked, person) if person is not None else None
        meant = asked.meant(services.hints)
        as_meant = (
            person is None
            or meant is None
            or services.subjects.of(back.client, person.user.id) in meant
        )
        step = next_step(asked, person, wanted, mark, as_meant=as_meant)
        return Interaction(asked, parameters, mark, person, wanted, step)

    async def _wanted(self, asked: AuthorizationRequest, person: Person) -> Asked:
        found = self._services.scopes
        home = found.at_hand("*") or await found.get("*") or {}
        resources = self._resources(asked, home)
        own = resources[0] if len(resources) == 1 and resources[0] not in self._own else None
        scopes = granted_scopes(asked, person.user, home, own)
        implied = implied_scopes(asked, home, scopes)
        return Asked(scopes, implied, resources, await self._consented(person, asked))

    async def _consented(
        self, person: Person, asked: AuthorizationRequest
    ) -> frozenset[str] | None:
        client = asked.back.client
        if client.settings.first_party:
            return frozenset()
        key = consents.key(person.user.id, client.id)
        known = self._services.consents
        return known.at_hand(key) or await known.get(key)

    def _resources(
        self, asked: AuthorizationRequest, home: dict[str, str | None]
    ) -> tuple[str, ...]:
        client, scope = asked.back.client, asked.scope
        if is_pairwise(client):
            if not self._own.issuperset(asked.resources):
                raise InvalidTarget("a client with pairwise subjects gets tokens for us alone")
            return ()
        named: tuple[str | None, ...] = asked.resources or (None,)
        found = [targets.target(each, scope, client, self._own, home) for each in named]
        return tuple(dict.fromkeys(each for each in found if each is not None))

    async def _proceed(self, request: Request, interaction: Interaction) -> Response:
        step, silent = interaction.step, "none" in interaction.request.prompt
        if step is not None and silent:
            raise SILENTLY[step]()
        if step is not None:
            return self._to_page(
                request, interaction, "consent" if step == "consent" else "sign-in"
            )
        return await self._issue(interaction)

    def _to_page(self, request: Request, interaction: Interaction, page: str) -> Response:
        jar, headers = self._services.cookies, []
        known = jar.read(request, cookies.BROWSER)
        if known is None:
            known = mint("br")
            headers.append(jar.set(cookies.BROWSER, known))
        back = self._address(interaction.parameters, interaction.mark or Mark(now()), known)
        address = f"{self._base}/{page}?{urlencode({'to': back})}"
        if len(address) > LONGEST:
            raise InvalidRequest("the request is too long to wait for a person")
        return see_other(address, headers)

    def _address(self, parameters: Parameters, mark: Mark, known: str) -> str:
        sealed = self._services.marks.seal(mark, digest_of(parameters), known)
        return f"{self._base}/authorize?{urlencode([*parameters, (requests.MARK, sealed)])}"

    async def _issue(self, interaction: Interaction) -> Response:
        request, person, asked = interaction.request, interaction.person, interaction.asked
        assert person is not None and asked is not None
        back, services = request.back, self._services
        code = await codes.issue(
            services.db,
            Authorized(
                client_id=back.client.id,
                user_id=person.user.id,
                browser_session_id=person.session.id,
                redirect_uri=back.redirect_uri if back.named else None,
                code_challenge=request.code_challenge,
                scope=" ".join(asked.scopes),
                resources=asked.resources,
                nonce=request.nonce,
                claims=request.claims.stored(asked.all),
                authenticated_at=person.session.authenticated_at,
                amr=person.session.amr,
                acr=person.session.acr,
            ),
        )
        if code is None:
            raise LoginRequired("the session, or the client, has just ended")
        await browser.note_use(
            services.db, services.browsers, services.browser_lifetimes, person.session
        )
        services.queue.put(
            "authorization.granted", subject=person.user.id, client_id=back.client.id,
            scope=" ".join(asked.scopes),
        )  # fmt: skip
        return self._answer(back, {"code": code})

    def refuse(self, back: ReturnAddress, refusal: OAuthError) -> Response:
        said = {"error": refusal.code, "error_description": description(refusal)}
        return self._answer(back, said)

    def _answer(self, back: ReturnAddress, said: dict[str, str]) -> Response:
        """Every answer says who gives it (RFC 9207), and `state` as it came."""
        if back.state is not None:
            said["state"] = back.state
        said["iss"] = self._issuer
        return back.mode.answer(back.redirect_uri, said)


def words() -> describing.Node:
    texts = (
        "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
        "code_challenge_method", "response_mode", "prompt", "max_age", "login_hint",
        "id_token_hint", "ui_locales", "acr_values", "claims", "display", "resource",
    )  # fmt: skip
    return {
        "tags": ["OAuth"],
        "operationId": "authorize",
        "summary": "Let a person grant a client a code (RFC 6749, OpenID Connect)",
        "description": "For browsers. Whoever has to sign in or agree is sent to a page first.",
        "parameters": [describing.query(name, {"type": "string"}, "") for name in texts],
        "responses": {
            **describing.page(200, "The answer as a form that sends itself."),
            "303": {"description": "To the client with `code` or `error`, or to a page of ours."},
            **describing.page(400, "Why nobody is sent back."),
            **describing.page(503, "The database cannot be reached."),
        },
    }


def words_of_post() -> describing.Node:
    example = {
        "response_type": "code",
        "client_id": "shop",
        "redirect_uri": "https://shop.example/callback",
        "scope": "openid",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    return describing.posted(words(), ["response_type", "client_id"], example)
