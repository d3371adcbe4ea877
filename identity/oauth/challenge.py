"""`POST /authorize-challenge`: our own app's login form, which ends in a code
(draft-ietf-oauth-first-party-apps). A draft, so it is there only where it is switched on.

The app sees the password, so this is for first-party clients alone. Whoever has a second factor
gives its code along, or a passkey, which by itself is enough too: what says that something is
missing says with what to ask for one (`passkey_options`). Where none of it does, the app sends the
person to `/authorize` in a browser (`redirect_to_web`).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from pydantic import BaseModel, Field

from identity.authentication import browser, levels
from identity.authentication.dpop import key_of_code
from identity.authentication.levels import BY_PASSWORD, BY_PASSWORD_AND_CODE, Proof
from identity.authentication.passkeys.errors import PasskeyRefused
from identity.authentication.passkeys.proving import Shown
from identity.authentication.password import WRONG, due
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


class Login(NamedTuple):
    user_id: str
    proof: Proof
    take: Callable[[Work], object]
    """What proves it, or raises, in the unit of work that begins the session."""


class AuthorizeChallenge:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._allowed = services.settings.sessions.first_party_challenge
        self._own = frozenset({services.settings.audience, services.settings.issuer})

    async def __call__(self, request: Request) -> Response:
        form = await request.form(REPEATABLE)
        services = self._services
        await services.feed.catch_up()
        client = await services.client_authentication(request, form)
        self._check(client)
        challenge = code_challenge(form, needed=True)
        proof = await services.dpop.at_endpoint(request, client)
        jkt = key_of_code(form.get("dpop_jkt"), proof)
        login = await self._login(form, client)
        _check_level(form, client, login.proof)
        user = await services.users.get(login.user_id)
        if user is None or not user.active:
            raise InsufficientAuthorization(WRONG)
        scopes, resources = await self._wanted(form, client, user.at(login.proof.acr))
        session = await self._sign_in(request, client, login)
        if proof is not None:
            await services.dpop.spend(proof)
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
                dpop_jkt=jkt,
            ),
            None,
        )
        if code is None:
            raise InsufficientAuthorization("the session, or the client, has just ended")
        return json_response({"authorization_code": code})

    def _check(self, client: ClientSnapshot) -> None:
        if not self._allowed:
            raise UnauthorizedClient("signing in by an app's own form is switched off")
        if not client.settings.first_party or client.builtin:  # which has no form of its own
            raise UnauthorizedClient("only a first-party app may ask for passwords")
        if AuthorizationCode.grant_type not in client.grants:
            raise UnauthorizedClient("the client may not use the grant authorization_code")

    async def _login(self, form: dict[str, str], client: ClientSnapshot) -> Login:
        """Who it is, as far as can be said before anything is written."""
        services, passkeys = self._services, self._services.passkeys
        whose = f"client {client.id}"
        username, password = form.get("username"), form.get("password")
        credential, otp = form.get("passkey"), form.get("otp")
        if username is None and password is None and credential is not None:
            shown = await self._shown(client, credential)
            take = partial(passkeys.log_in, shown=shown)
            return Login(shown.user_id, shown.proof(), take)
        if username is None or password is None:
            words = "send username and password"
            if not passkeys.possible:
                raise InsufficientAuthorization(words)
            options = passkeys.ask(whose)
            raise InsufficientAuthorization(f"{words}, or passkey", passkey_options=options)
        try:
            proven = await services.login.prove(username, password)
        except InvalidGrant as refusal:
            raise InsufficientAuthorization(refusal.detail, audit=refusal.audit) from None
        still_due = due(proven.user)
        if still_due == "new password":
            raise RedirectToWeb("the password must be changed first")
        user, settle = proven.user, partial(services.login.settle, proven=proven)
        if still_due is None:
            return Login(user.id, BY_PASSWORD, settle)
        admit = partial(services.login.admit, user=user)
        if credential is not None:
            shown = await self._shown(client, credential, user.id)
            take = partial(passkeys.settle, shown=shown)
            return Login(user.id, shown.proof(password=True), _in_turn(admit, take, settle))
        if otp is not None:
            prove = partial(services.second_factor.prove, user_id=user.id, code=otp)
            return Login(user.id, BY_PASSWORD_AND_CODE, _in_turn(admit, prove, settle))
        needed = await services.second_factor.required(user.id, client.id)
        asked = None
        if "passkey" in needed.factors:
            asked = await passkeys.ask_of(whose, user.id)
        raise InsufficientAuthorization(
            needed.detail, factors=needed.factors, passkey_options=asked
        )

    async def _shown(
        self, client: ClientSnapshot, credential: str, user_id: str | None = None
    ) -> Shown:
        services = self._services
        try:
            with services.second_factor.refusals_noted(user_id, client.id):
                return await services.passkeys.show(credential, f"client {client.id}", user_id)
        except PasskeyRefused as refusal:
            raise InsufficientAuthorization(refusal.detail, audit=refusal.audit) from None

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
        self, request: Request, client: ClientSnapshot, login: Login
    ) -> browser.SignedIn:
        """As a browser would be signed in, with a cookie that nobody is given."""
        services, user_id, proof = self._services, login.user_id, login.proof
        audit.act_as("user", user_id)
        agent = (request.header(b"user-agent") or b"").decode("latin-1") or None

        def unit(work: Work) -> str:
            login.take(work)
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


def _in_turn(*steps: Callable[[Work], object]) -> Callable[[Work], None]:
    def take(work: Work) -> None:
        for step in steps:
            step(work)

    return take


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
        "passkey": {
            "type": "string",
            "description": "`AuthenticationResponseJSON` (WebAuthn 3 §5.1): what a passkey "
            "answered to `passkey_options`, alone or beside a password.",
        },
        "otp": {"type": "string", "description": "Of whoever has a second factor: a code of it."},
        "code_challenge": text,
        "code_challenge_method": {"type": "string", "enum": ["S256"]},
        "scope": text,
        "nonce": text,
        "acr_values": text,
        "dpop_jkt": text,
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
        "parameters": [describing.DPOP],
        "requestBody": describing.form(members, required, example),
        "responses": {
            "200": {"description": "A code.", "content": describing.body(ChallengeResponse)},
            **describing.oauth_errors(400, 401, 408, 413, 429, 503),
        },
    }
