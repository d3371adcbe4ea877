"""`POST /authorize-challenge`: our own app's login form, which ends in a code
(draft-ietf-oauth-first-party-apps). A draft, so it is there only where it is switched on.

The app sees the password, so this is for first-party clients alone. Whoever has a second factor
gives its code along. Where that does not do either, the app sends the person to `/authorize` in a
browser (`redirect_to_web`).
"""

from pydantic import BaseModel, Field

from identity.authentication import browser, levels
from identity.authentication.levels import BY_PASSWORD, BY_PASSWORD_AND_CODE, Proof
from identity.authentication.password import WRONG, Proven, due
from identity.directory.clients.registry import ClientSnapshot
from identity.directory.users.snapshot import UserSnapshot
from identity.errors import (
    InsufficientAuthorization,
    InvalidGrant,
    RedirectToWeb,
    UnauthorizedClient,
)
from identity.http import describing
from identity.http.messages import Request, Response, json_response
from identity.oauth.authorize.request import code_challenge
from identity.oauth.grants.authorization_code import AuthorizationCode
from identity.opaque import digest
from identity.records import audit
from identity.service.wiring import Services
from identity.store import Work
from identity.tokens import codes, rights, targets
from identity.tokens.codes import Authorized
from identity.verifier.levels import meets

REPEATABLE = frozenset({"resource"})


class AuthorizeChallenge:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._allowed = services.settings.sessions.first_party_challenge
        self._own = frozenset({services.settings.audience, services.settings.issuer})

    async def __call__(self, request: Request) -> Response:
        form = await request.form(REPEATABLE)
        services = self._services
        await services.feed.catch_up()
        client = await services.client_authentication(request.header(b"authorization"), form)
        self._check(client)
        challenge = code_challenge(form, needed=True)
        username, password = form.get("username"), form.get("password")
        if username is None or password is None:
            raise InsufficientAuthorization("send username and password")
        try:
            proven = await services.login.prove(username, password)
        except InvalidGrant as refusal:
            raise InsufficientAuthorization(refusal.detail, audit=refusal.audit) from None
        if due(proven.user) == "new password":
            raise RedirectToWeb("the password must be changed first")
        proof = await self._proof(form, client, proven)
        _check_level(form, client, proof)
        user = await services.users.get(proven.user.id)
        if user is None or not user.active:
            raise InsufficientAuthorization(WRONG)
        scopes, resources = await self._wanted(form, client, user.at(proof.acr))
        session = await self._sign_in(request, client, proven, proof, form.get("otp"))
        code = await codes.issue(
            services.db,
            Authorized(
                client_id=client.id,
                user_id=user.id,
                browser_session_id=session.id,
                redirect_uri=None,
                code_challenge=challenge,
                scope=" ".join(scopes),
                resources=resources,
                nonce=form.get("nonce"),
                claims=None,
                authorization_details=(),
                authenticated_at=session.authenticated_at,
                amr=session.amr,
                acr=session.acr,
            ),
            None,
        )
        if code is None:
            raise InsufficientAuthorization("the session, or the client, has just ended")
        return json_response({"authorization_code": code})

    def _check(self, client: ClientSnapshot) -> None:
        if not self._allowed:
            raise UnauthorizedClient("signing in by an app's own form is switched off")
        if not client.settings.first_party:
            raise UnauthorizedClient("only a first-party client may ask for passwords")
        if AuthorizationCode.grant_type not in client.grants:
            raise UnauthorizedClient("the client may not use the grant authorization_code")

    async def _proof(self, form: dict[str, str], client: ClientSnapshot, proven: Proven) -> Proof:
        """What the person gives; `_sign_in` looks whether the code is right."""
        if due(proven.user) != "second factor":
            return BY_PASSWORD
        if "otp" not in form:
            needed = await self._services.second_factor.required(proven.user.id, client.id)
            raise InsufficientAuthorization(needed.detail, factors=needed.factors)
        return BY_PASSWORD_AND_CODE

    async def _wanted(
        self, form: dict[str, str], client: ClientSnapshot, user: UserSnapshot
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(scopes, resources), as `/authorize` judges them."""
        found = self._services.scopes
        home = found.at_hand("*") or await found.get("*") or {}
        scope, named = form.get("scope"), form.get("resource", "").split()
        resources = targets.targets(named, scope, client, self._own, home)
        own = resources[0] if len(resources) == 1 and resources[0] not in self._own else None
        return rights.granted_scopes(client, user, scope, home, own), resources

    async def _sign_in(
        self,
        request: Request,
        client: ClientSnapshot,
        proven: Proven,
        proof: Proof,
        code: str | None,
    ) -> browser.SignedIn:
        """As a browser would be signed in, with a cookie that nobody is given."""
        services, user_id = self._services, proven.user.id
        audit.act_as("user", user_id)
        agent = (request.header(b"user-agent") or b"").decode("latin-1") or None

        def unit(work: Work) -> str:
            if proof is BY_PASSWORD_AND_CODE:
                services.second_factor.prove(work, user_id, code or "")
            services.login.settle(work, proven)
            audit.record(work, "login", subject=user_id, client_id=client.id, by="app")
            return browser.sign_in(
                work, services.browser_lifetimes, user_id=user_id, amr=list(proof.amr),
                acr=proof.acr, before=None, user_agent=agent,
            )  # fmt: skip

        try:
            with services.second_factor.refusals_noted(user_id, client.id):
                cookie = await services.db.write_plain(unit)
        except InvalidGrant as refusal:
            raise InsufficientAuthorization(refusal.detail, audit=refusal.audit) from None
        services.metrics.login("success")
        session = await browser.load(services.db, digest(cookie))
        if session is None:
            raise InsufficientAuthorization("the session has just ended")
        return session


def _check_level(form: dict[str, str], client: ClientSnapshot, proof: Proof) -> None:
    """That it is as sure as is asked for."""
    said = form.get("acr_values")
    wanted = levels.known(said.split() if said else client.settings.default_acr_values)
    if wanted and not any(meets(proof.acr, level) for level in wanted):
        raise RedirectToWeb("what the person gave is not enough here")


def words() -> describing.Node:
    class ChallengeResponse(BaseModel):
        authorization_code: str = Field(examples=["ac_…"])

    text = {"type": "string"}
    members: describing.Node = {
        "username": text,
        "password": {"type": "string", "format": "password"},
        "otp": {"type": "string", "description": "Of whoever has a second factor: a code of it."},
        "code_challenge": text,
        "code_challenge_method": {"type": "string", "enum": ["S256"]},
        "scope": text,
        "nonce": text,
        "acr_values": text,
        "resource": {"type": "string", "format": "uri"},
        **describing.CLIENT,
    }
    example = {
        "client_id": "app",
        "username": "ada",
        "password": "correct horse battery",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    required = ["code_challenge", "code_challenge_method"]
    return {
        "tags": ["OAuth"],
        "operationId": "authorize_challenge",
        "summary": "Sign somebody in by an app's own form (draft-ietf-oauth-first-party-apps)",
        "description": "For first-party clients, where `IDENTITY_FIRST_PARTY_CHALLENGE` is on.",
        "security": describing.BY_CLIENT,
        "requestBody": describing.form(members, required, example),
        "responses": {
            "200": {"description": "A code.", "content": describing.body(ChallengeResponse)},
            **describing.oauth_errors(400, 401, 408, 413, 429, 503),
        },
    }
