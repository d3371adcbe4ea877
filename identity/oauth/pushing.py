"""`POST /par` (RFC 9126): a client hands in its authorization request before the browser brings it.

Nobody between the two can read or change it, and what is wrong with it is said here already.
"""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from identity.authentication.dpop import key_of_code
from identity.authentication.levels import reachable
from identity.clock import now
from identity.directory.clients.grant_kinds import GrantKind
from identity.directory.clients.registry import ClientSnapshot
from identity.errors import InvalidRequest, OAuthError, TooManyRequests
from identity.http import describing
from identity.http.forms import parse_pairs, require_form
from identity.http.messages import Request, Response, json_response
from identity.oauth.authorize import request as requests
from identity.oauth.authorize.deciding import check_for_anybody, least_level
from identity.oauth.authorize.documents import Documents, is_document
from identity.oauth.authorize.request import Parameters
from identity.oauth.authorize.request_objects import RequestObjects, signs
from identity.records.audit.origins import network_of
from identity.service.wiring import Services
from identity.tokens import pushed
from identity.verifier.gate.proofs import Proof

LONGEST = 24 * 1024
"""Octets of a request. It need not fit into an address, but many of them into the database."""
CREDENTIALS = frozenset({"client_secret", "client_assertion", "client_assertion_type"})
"""What proves who pushes, and is no part of what is pushed."""


class Pushing:
    def __init__(self, services: Services, grants: Sequence[GrantKind]) -> None:
        self._services = services
        self._documents = Documents(services, grants)
        self._objects = RequestObjects.of(services)
        self._own = frozenset({services.settings.audience, services.settings.issuer})

    async def __call__(self, request: Request) -> Response:
        require_form(request.header(b"content-type"))
        body = await request.body()
        pairs = parse_pairs(body)
        form = requests.single(pairs)
        await self._services.feed.catch_up()
        client = await self._client(request, form)
        try:
            if len(body) > LONGEST:
                raise InvalidRequest(f"the request is longer than {LONGEST} octets")
            if "request_uri" in form:
                raise InvalidRequest("a request that is pushed cannot name another by request_uri")
            parameters = await self._asked(client, form, pairs)
            proof = await self._services.dpop.at_endpoint(request, client)
            parameters = _bound(parameters, proof)
            await self._check(parameters, client)
            if proof is not None:
                await self._services.dpop.spend(proof)
            name = await self._push(request, client, parameters)
        except OAuthError as refusal:
            self._note(client, refusal)
            raise
        lifetime = int(pushed.LIFE.total_seconds())
        return json_response({"request_uri": name, "expires_in": lifetime}, 201)

    async def _client(self, request: Request, form: dict[str, str]) -> ClientSnapshot:
        """One that is described at its own address proves nothing, and need not be one of ours
        yet."""
        named = form.get("client_id", "")
        authorization = request.header(b"authorization")
        if authorization is None and CREDENTIALS.isdisjoint(form) and is_document(named):
            return await self._documents.find(named)
        return await self._services.client_authentication(request, form)

    async def _asked(
        self, client: ClientSnapshot, form: dict[str, str], pairs: list[tuple[str, str]]
    ) -> Parameters:
        """What is pushed; whose it is has been proved. Of a signed one what is around it counts for
        nothing (§3)."""
        if "request" in form and signs(client):
            return await self._objects.opened(form["request"], client, now())
        if client.settings.require_signed_request_object:
            raise InvalidRequest("this client has to sign its requests (RFC 9101)")
        kept = [pair for pair in pairs if pair[0] not in CREDENTIALS | {"client_id"}]
        return (("client_id", client.id), *kept)

    async def _check(self, parameters: Parameters, client: ClientSnapshot) -> None:
        """All that can be judged without a person. Raises OAuth errors by their names."""
        services = self._services
        back = requests.addressed(parameters, client)
        if client.settings.profile == "fapi2" and not back.named:
            raise InvalidRequest("redirect_uri is missing: the client's profile wants it named")
        asked = requests.read(parameters, back, services.detail_types)
        await asked.meant(services.hints)
        least_level(asked, reachable(passkeys=services.passkeys.possible)[-1])
        home = services.scopes.at_hand("*") or await services.scopes.get("*") or {}
        check_for_anybody(asked, home, self._own)

    async def _push(self, request: Request, client: ClientSnapshot, parameters: Parameters) -> str:
        network = None if client.confidential else network_of(request.address)
        name = await pushed.push(
            self._services.db, client.id, parameters, network, described=is_document(client.id)
        )
        if name is None:
            lifetime = int(pushed.LIFE.total_seconds())
            raise TooManyRequests(lifetime, "too many requests of this client wait already")
        return name

    def _note(self, client: ClientSnapshot, refusal: OAuthError) -> None:
        why = (refusal.audit or refusal.detail)[:200]
        same = {"error": refusal.code}
        self._services.queue.refused(
            "authorization.push_refused", same, client_id=client.id, why=why
        )


def _bound(parameters: Parameters, proof: Proof | None) -> Parameters:
    """With the key that the code will be for alone."""
    named = requests.only(parameters, "dpop_jkt")
    key = key_of_code(named, proof)
    return parameters if key == named else (*parameters, ("dpop_jkt", str(key)))


def words() -> describing.Node:
    class PushedAuthorizationResponse(BaseModel):
        """RFC 9126 §2.2."""

        request_uri: str = Field(
            description="For `/authorize`, beside `client_id` alone.",
            examples=[f"{pushed.URN}pr_…"],
        )
        expires_in: int = Field(
            description="Seconds within which a person has to come with it.", examples=[60]
        )

    texts = (
        "response_type", "redirect_uri", "scope", "state", "nonce", "code_challenge",
        "code_challenge_method", "response_mode", "prompt", "max_age", "login_hint",
        "id_token_hint", "acr_values", "claims", "resource", "authorization_details",
        "dpop_jkt", "request",
    )  # fmt: skip
    members = {name: {"type": "string"} for name in texts} | describing.CLIENT
    example = {
        "response_type": "code",
        "redirect_uri": "https://shop.example/callback",
        "scope": "openid",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    return {
        "tags": ["OAuth"],
        "operationId": "push",
        "summary": "Hand in an authorization request (RFC 9126)",
        "description": "The parameters are those of `/authorize`; what is wrong is said at once.",
        "security": describing.BY_CLIENT,
        "parameters": [describing.DPOP],
        "requestBody": describing.form(members, ["response_type"], example),
        "responses": {
            "201": {
                "description": "It waits.",
                "content": describing.body(PushedAuthorizationResponse),
            },
            **describing.oauth_errors(400, 401, 408, 413, 429, 503),
        },
    }
