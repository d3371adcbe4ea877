"""`GET|POST /authorize`: the steps of an authorization request, in order.

Nothing is kept of a request that waits for a person: it goes to a page in the address, with a
sealed mark (`authentication.marks`), and comes back here to be judged from the start.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode, urlsplit

from identity.authentication import browser
from identity.authentication.marks import Mark
from identity.clock import now
from identity.directory import consents
from identity.directory.clients.grant_kinds import GrantKind
from identity.errors import (
    AccessDenied,
    AccountSelectionRequired,
    ConsentRequired,
    IdentityError,
    InvalidRequest,
    LoginRequired,
    OAuthError,
    description,
)
from identity.http import cookies, describing
from identity.http.forms import parse_pairs, require_form
from identity.http.messages import Request, Response
from identity.http.origins import from_elsewhere, origin_of, see_other
from identity.oauth.authorize import request as requests
from identity.oauth.authorize.arriving import Arrivals, Arrived, Carried
from identity.oauth.authorize.deciding import (
    CHOSEN,
    Asked,
    check_for_anybody,
    granted_scopes,
    implied_scopes,
    next_step,
    wanted_resources,
)
from identity.oauth.authorize.documents import Documents, is_document
from identity.oauth.authorize.interaction import Interaction
from identity.oauth.authorize.request import AuthorizationRequest, ReturnAddress
from identity.opaque import mint
from identity.service.interactions import Person, Refusing, Step, Waiting
from identity.service.people import person_at
from identity.service.wiring import Services
from identity.tokens import codes, pushed
from identity.tokens.codes import Authorized
from identity.tokens.lockdown import now_in_force

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
    def __init__(self, services: Services, refusing: Refusing, grants: Sequence[GrantKind]) -> None:
        self._services = services
        self._documents = Documents(services, grants)
        self._refusing = refusing
        self._issuer = services.settings.issuer
        self._sign_up = services.settings.accounts.sign_up
        self._origin = origin_of(self._issuer)
        self._base = urlsplit(self._issuer).path.rstrip("/")
        self._own = frozenset({services.settings.audience, self._issuer})
        self._arrivals = Arrivals(services, self._documents)

    async def __call__(self, request: Request) -> Response:
        try:
            return await self._answered(request)
        except IdentityError as refusal:
            return await self._refusing(request, refusal)

    async def _answered(self, request: Request) -> Response:
        pairs = await self._pairs(request)
        if request.scope["method"] == "POST" and from_elsewhere(request, self._origin):
            # The session's cookie does not come along with it.
            return see_other(f"{self._base}/authorize?{urlencode(pairs)}")
        arrived = await self._arrivals.arrived(request, pairs)
        try:
            interaction = await self._look(request, arrived)
            return await self._proceed(request, interaction)
        except OAuthError as refusal:
            return self.refuse(arrived.back, refusal)

    # --- For the pages ----------------------------------------------------------------------

    async def look(self, request: Request, query: str) -> Interaction:
        """The request that waits in an address, judged again. Raises as it would here."""
        arrived = await self._arrivals.arrived(request, parse_pairs(query.encode()))
        return await self._look(request, arrived)

    async def agree(self, request: Request, waiting: Waiting) -> Response:
        """The person at the browser agrees; what they agreed to is remembered."""
        assert isinstance(waiting, Interaction) and waiting.person is not None
        user_id, client, names = waiting.person.user.id, waiting.client, waiting.new_scopes
        if is_document(client.id):
            await self._documents.keep(client)
        if waiting.never_asked or names:
            await self._services.db.write_plain(
                lambda work: consents.grant(work, user_id, client, names)
            )
        try:
            return await self._issue(waiting)
        except OAuthError as refusal:
            return self.refuse(waiting.request.back, refusal)

    async def decline(self, waiting: Waiting) -> Response:
        assert isinstance(waiting, Interaction)
        if (key := waiting.pushed) is not None:
            await self._services.db.write_plain(lambda work: pushed.consume(work, key))
        self._services.queue.put(
            "authorization.declined", outcome="refused", client_id=waiting.client.id
        )
        return self.refuse(waiting.request.back, AccessDenied())

    def chosen(self, request: Request, waiting: Waiting) -> str:
        assert isinstance(waiting, Interaction) and waiting.mark is not None
        known = self._services.cookies.read(request, cookies.BROWSER) or ""
        return self._address(waiting.carried, waiting.mark.with_done(CHOSEN), known)

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

    async def _look(self, request: Request, arrived: Arrived) -> Interaction:
        """Raises OAuth errors for the client to hear."""
        services, back, mark = self._services, arrived.back, arrived.carried.mark
        requests.check_way(back.client, pushed=arrived.pushed is not None, signed=arrived.signed)
        asked = requests.read(arrived.asked, back, services.detail_types)
        person = await person_at(services, request)
        found = services.scopes
        home = found.at_hand("*") or await found.get("*") or {}
        wanted = None
        if person is None:
            check_for_anybody(asked, home, self._own)
        else:
            wanted = await self._wanted(asked, person, home)
        meant = await asked.meant(services.hints)
        as_meant = (
            person is None
            or meant is None
            or services.subjects.of(back.client, person.user.id) in meant
        )
        step = next_step(asked, person, wanted, mark, as_meant=as_meant)
        return Interaction(asked, arrived.carried, person, wanted, step, arrived.pushed)

    async def _wanted(
        self, asked: AuthorizationRequest, person: Person, home: Mapping[str, str | None]
    ) -> Asked:
        resources = wanted_resources(asked, home, self._own)
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

    async def _proceed(self, request: Request, interaction: Interaction) -> Response:
        step, silent = interaction.step, "none" in interaction.request.prompt
        if step is not None and silent:
            raise SILENTLY[step]()
        if step is not None:
            return self._to_page(request, interaction, self._page_of(step, interaction))
        return await self._issue(interaction)

    def _page_of(self, step: Step, interaction: Interaction) -> str:
        """Whoever is to make an account is led there once: they come back by signing in."""
        if step == "consent":
            return "consent"
        creates = self._sign_up and requests.CREATE in interaction.request.prompt
        return "sign-up" if creates and interaction.mark is None else "sign-in"

    def _to_page(self, request: Request, interaction: Interaction, page: str) -> Response:
        jar, headers = self._services.cookies, []
        known = jar.read(request, cookies.BROWSER)
        if known is None:
            known = mint("br")
            headers.append(jar.set(cookies.BROWSER, known))
        back = self._address(interaction.carried, interaction.mark or Mark(now()), known)
        address = f"{self._base}/{page}?{urlencode({'to': back})}"
        if len(address) > LONGEST:
            raise InvalidRequest("the request is too long to wait for a person")
        return see_other(address, headers)

    def _address(self, carried: Carried, mark: Mark, known: str) -> str:
        sealed = self._services.marks.seal(mark, carried.digest, known)
        query = urlencode([*carried.parameters, (requests.MARK, sealed)])
        return f"{self._base}/authorize?{query}"

    async def _issue(self, interaction: Interaction) -> Response:
        request, person, asked = interaction.request, interaction.person, interaction.asked
        assert person is not None and asked is not None
        back, services = request.back, self._services
        (await now_in_force(services.lockdowns)).check(person.user.scopes)
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
                authorization_details=request.details,
                authenticated_at=person.session.authenticated_at,
                amr=person.session.amr,
                acr=person.session.acr,
                dpop_jkt=request.dpop_jkt,
            ),
            interaction.pushed,
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
        if back.mode.signed:
            said = {"response": self._services.answers.sign(back.client, said)}
        return back.mode.answer(back.redirect_uri, said)


def words() -> describing.Node:
    texts = (
        "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
        "code_challenge_method", "response_mode", "prompt", "max_age", "login_hint",
        "id_token_hint", "ui_locales", "acr_values", "claims", "display", "resource", "dpop_jkt",
        "authorization_details", "request", "request_uri",
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
