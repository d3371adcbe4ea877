"""`POST /token` (RFC 6749 §3.2): the steps that every grant shares, in order."""

from asyncio import sleep
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import orjson
from pydantic import BaseModel, Field

from identity.authentication.certificates import Certificates
from identity.authentication.clients import check_may
from identity.clock import now
from identity.directory.clients.registry import ClientSnapshot
from identity.directory.users.claims import asked_for, released
from identity.errors import (
    InvalidGrant,
    InvalidProof,
    InvalidRequest,
    LockedDown,
    NonceNeeded,
    OAuthError,
    UnsupportedGrantType,
    header_lines,
)
from identity.http import describing
from identity.http.messages import Request, Response, json_bytes
from identity.http.wire.in_a_row import Batched
from identity.oauth.grants import registry
from identity.oauth.grants.request import Grant, Issue, TokenRequest, bound
from identity.oauth.grants.token_exchange import ACCESS_TOKEN
from identity.service.wiring import Services
from identity.tokens import targets
from identity.tokens.binding import Binding
from identity.tokens.lockdown import State, now_in_force
from identity.tokens.minting import AccessToken
from identity.tokens.subjects import is_pairwise
from identity.verifier.gate.proofs import Proof

REPEATABLE = frozenset({"resource", "audience"})
"""Parameters that may come more than once: one text then, with spaces between."""
NO_CACHE = header_lines([(b"pragma", b"no-cache")])
EARLY = 0.002
"""Seconds by which a timer of the event loop may be early."""
A_MOMENT = 0.1
"""Seconds that a grant may take without our looking again whether a lockdown has begun."""
SETTLING = 2.0
"""Seconds that a client which has just been enabled again waits for its token at the most."""


class TokenEndpoint:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._audience = services.settings.audience
        self._issuer = services.settings.issuer
        self._audiences = frozenset({self._audience, self._issuer})
        self.grants = {grant.grant_type: grant.of(services) for grant in registry.GRANTS}

    async def __call__(self, request: Request) -> Response:
        form = await request.form(REPEATABLE)
        asked_at = now()
        await self._services.feed.catch_up()
        client = await self._services.client_authentication(request, form)
        if (early := client.good_from - now()) > 0:
            # A token of this second would be taken for one that died with the client.
            await sleep(min(early + EARLY, SETTLING))
            asked_at = now()
            await self._services.feed.catch_up()
            client = await self._services.client_authentication.still(client)
        remembered = self._services.scopes
        scopes = remembered.at_hand("*") or await remembered.get("*") or {}
        try:
            grant = self._grant(form, client)
            if "authorization_details" in form and "authorization_details" not in grant.form:
                raise InvalidRequest("authorization_details is not for this grant")
            proof = await self._proof(request, client)
            proven = Binding(proof and proof.jkt, self._certificate(request, client))
            issue = await grant.authorize(
                TokenRequest(
                    form=form,
                    client=client,
                    resource=self._resource(grant, form, client, scopes),
                    default_audience=self._audience,
                    own_audiences=self._audiences,
                    scopes=scopes,
                    user_agent=(request.header(b"user-agent") or b"").decode("latin-1") or None,
                    asked_at=asked_at,
                    proven=proven,
                    lockdown=await now_in_force(self._services.lockdowns),
                )
            )
            if now() - asked_at > A_MOMENT:  # it has hashed, or waited for the database
                await self._services.feed.catch_up()
            state = await now_in_force(self._services.lockdowns)
            if state.active:
                await self._check_lockdown(state, issue)
            if proof is not None:
                await self._services.dpop.spend(proof)
        except OAuthError as refusal:
            if not refusal.routine:
                self._note(refusal, form.get("grant_type", ""), client)
            raise
        return await self._answer(grant.grant_type, client, issue, bound(client, proven))

    async def _check_lockdown(self, state: State, issue: Issue) -> None:
        """What has been begun is given to nobody, whichever grant began it."""
        session, users = issue.subject.session, self._services.users
        user = await users.get(issue.subject.id) if session is not None else None
        state.check(user.at(session.acr).scopes if user and session else ())

    def _resource(
        self,
        grant: Grant,
        form: Mapping[str, str],
        client: ClientSnapshot,
        scopes: Mapping[str, str | None],
    ) -> str | None:
        if type(grant) in registry.CHOOSE_RESOURCE:
            return None
        if type(grant) in registry.AGREED_RESOURCE and not is_pairwise(client):
            return None
        asked = form.get("resource"), form.get("scope")
        return targets.at_token(*asked, client, self._audiences, scopes, self._issuer)

    def _note(self, refusal: OAuthError, grant_type: str, client: ClientSnapshot) -> None:
        grant = self.grants.get(grant_type)
        if grant is not None and grant.logs_in and isinstance(refusal, InvalidGrant | LockedDown):
            return  # on record as a refused login
        if isinstance(refusal, NonceNeeded):
            return  # every client's first request, where nonces are needed
        queue, why = self._services.queue, (refusal.audit or refusal.detail)[:200]
        if client.confidential and not isinstance(refusal, LockedDown):
            queue.put(
                "token.refused", outcome="refused", client_id=client.id,
                grant=grant_type[:100], error=refusal.code, why=why,
            )  # fmt: skip
        else:  # anybody may say that they are a public client; and in a lockdown all are refused
            same = {"error": refusal.code}
            queue.refused(
                "token.refused", same, client_id=client.id, grant=grant_type[:100], why=why
            )

    def _grant(self, form: Mapping[str, str], client: ClientSnapshot) -> Grant:
        name = form.get("grant_type")
        if name is None:
            raise InvalidRequest("grant_type is missing")
        grant = self.grants.get(name)
        if grant is None:
            raise UnsupportedGrantType(f"supported grant types: {' '.join(self.grants)}")
        check_may(client, form, name)
        return grant

    async def _proof(self, request: Request, client: ClientSnapshot) -> Proof | None:
        """Of the key to which the tokens will be bound (RFC 9449 §5)."""
        proof = await self._services.dpop.at_endpoint(request, client)
        if proof is None and client.settings.dpop_bound_access_tokens:
            raise InvalidProof("the client's tokens are bound to a key: a DPoP proof is missing")
        return proof

    @staticmethod
    def _certificate(request: Request, client: ClientSnapshot) -> str | None:
        """The digest of the one that came along. A client whose tokens are bound to it does not do
        without (RFC 8705 §3)."""
        certificate = Certificates.of(request)
        if certificate is None and client.settings.tls_client_certificate_bound_access_tokens:
            raise InvalidRequest("the client's tokens are bound to its certificate: none came")
        return None if certificate is None else certificate.x5t

    async def _answer(
        self, grant_type: str, client: ClientSnapshot, issue: Issue, binding: Binding
    ) -> Response:
        """RFC 6749 §5.1."""
        told = await self._told(client, issue)
        minted, id_token = await Batched(partial(self._mint, client, issue, told, binding.cnf))
        self._services.metrics.issued(grant_type)
        document: dict[str, Any] = {
            "access_token": minted.token,
            "token_type": "Bearer" if binding.jkt is None else "DPoP",
            "expires_in": minted.expires_in,
            "scope": issue.scope,
        }
        if issue.derived is not None:
            document["issued_token_type"] = ACCESS_TOKEN
        if issue.refresh_token is not None:
            document["refresh_token"] = issue.refresh_token
        if issue.details:
            document["authorization_details"] = issue.details
        if id_token is not None:
            document["id_token"] = id_token
        return json_bytes(orjson.dumps(document), NO_CACHE)

    async def _told(self, client: ClientSnapshot, issue: Issue) -> dict[str, Any] | None:
        """What an ID token says of its user, beside who they are; None: there is none to come."""
        if issue.subject.session is None:
            return None
        scopes = issue.scope.split(" ")
        if "openid" not in scopes:
            return None
        names = asked_for(issue.claims, "id_token", client)
        if not names and not client.settings.claims_in_id_token:
            return {}
        users = self._services.users
        user = users.at_hand(issue.subject.id) or await users.get(issue.subject.id)
        if user is None:
            return {}
        user = user.at(issue.subject.session.acr)
        told = scopes if client.settings.claims_in_id_token else ()
        return released(user, told, client.settings.claims, names)

    def _mint(
        self,
        client: ClientSnapshot,
        issue: Issue,
        told: dict[str, Any] | None,
        cnf: Mapping[str, str] | None,
    ) -> tuple[AccessToken, str | None]:
        services = self._services
        subject = services.subjects.as_known(client, issue.subject)
        minted = services.mint.access_token(
            subject,
            client_id=client.id,
            audience=issue.audience,
            scope=issue.scope,
            place=issue.place,
            at=issue.known_at,
            userinfo=asked_for(issue.claims, "userinfo", client),
            details=issue.details,
            derived=issue.derived,
            cnf=cnf,
            at_most=client.settings.lifetimes.get("access_token"),
        )
        if subject.session is None or told is None:
            return minted, None
        return minted, services.id_tokens.mint(
            subject.id,
            subject.session,
            client,
            access_token=minted.token,
            nonce=issue.nonce,
            claims=told,
        )


def words() -> describing.Node:
    class TokenResponse(BaseModel):
        """RFC 6749 §5.1."""

        access_token: str = Field(examples=["eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.e30.c2ln"])
        token_type: Literal["Bearer", "DPoP"] = Field(
            description="`DPoP`: bound to the key of the proof that came along (RFC 9449)."
        )
        expires_in: int = Field(description="Seconds.", examples=[900])
        scope: str = Field(
            description="Scopes granted, separated by spaces.", examples=["users:read"]
        )
        refresh_token: str | None = Field(
            default=None, description="Where a user is behind it.", examples=["rt_…"]
        )
        id_token: str | None = Field(
            default=None, description="With the scope `openid`: who has signed in."
        )
        authorization_details: list[dict[str, Any]] | None = Field(
            default=None, description="What was granted of them (RFC 9396)."
        )
        issued_token_type: str | None = Field(
            default=None, description="Of a token exchange (RFC 8693).", examples=[ACCESS_TOKEN]
        )

    listed = ", ".join(f"`{grant.grant_type}`" for grant in registry.GRANTS)
    return {
        "tags": ["OAuth"],
        "operationId": "token",
        "summary": "Get or refresh tokens (RFC 6749)",
        "description": f"Grants: {listed}. "
        "`resource` (RFC 8707) picks the audience; without it, scopes of one resource alone do. "
        "A request that names no client is served by the built-in client `first-party`.",
        "security": describing.BY_CLIENT,
        "parameters": [describing.DPOP],
        "requestBody": _form(),
        "responses": {
            "200": {"description": "Tokens.", "content": describing.body(TokenResponse)},
            **describing.oauth_errors(400, 401, 408, 413, 429, 503),
        },
    }


def _form() -> describing.Node:
    """What every request has, and between it what each grant states."""
    members: describing.Node = {
        "grant_type": {"type": "string", "enum": [grant.grant_type for grant in registry.GRANTS]}
    }
    for grant in registry.GRANTS:
        members |= grant.form
    members |= {
        "scope": {
            "type": "string",
            "description": "Separated by spaces; `*`: all that the user holds and the client may. "
            "Without it nothing administrative is granted, unless the client has "
            "`default_scopes`.",
        },
        "resource": {"type": "string", "format": "uri"},
        **describing.CLIENT,
    }
    first = registry.GRANTS[0]
    example = {"grant_type": first.grant_type, **first.example}
    return describing.form(members, ["grant_type"], example)
