"""A token for another one, for another resource (RFC 8693): a service calls the next one in the
name of whoever has called it, and the token says so."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from identity.dataclass import dataclass
from identity.directory.access import granting
from identity.directory.clients.registry import Clients, ClientSnapshot
from identity.errors import InvalidRequest, InvalidScope, InvalidTarget, UnauthorizedClient
from identity.oauth.grants.request import Issue, TokenRequest
from identity.opaque import new_id
from identity.records.audit import AuditQueue
from identity.store import Database
from identity.tokens import exchanged
from identity.tokens.live import Live, LiveTokens
from identity.tokens.minting import Derived, Subject
from identity.tokens.status.places import Places
from identity.tokens.subjects import is_pairwise
from identity.verifier.gate.claims import VerifiedClaims

if TYPE_CHECKING:
    from identity.service.wiring import Services

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - its name
MOST_ACTORS = 5
"""Of a token: JSON deeper than eight levels passes no gate of ours."""


class Carried(NamedTuple):
    """The subject token's session, as the new token tells of it."""

    id: str
    authenticated_at: datetime
    expires_at: datetime
    amr: list[str]
    acr: str | None


@dataclass(frozen=True)
class TokenExchange:
    db: Database
    clients: Clients
    live: LiveTokens
    queue: AuditQueue
    places: Places
    own: frozenset[str]
    grant_type: ClassVar[str] = "urn:ietf:params:oauth:grant-type:token-exchange"
    form: ClassVar[Mapping[str, Any]] = {
        "subject_token": {"type": "string", "description": "An access token of ours."},
        "subject_token_type": {"type": "string", "enum": [ACCESS_TOKEN]},
        "actor_token": {
            "type": "string",
            "description": "Of whom acts, if that is not the client itself.",
        },
        "actor_token_type": {"type": "string", "enum": [ACCESS_TOKEN]},
        "requested_token_type": {"type": "string", "enum": [ACCESS_TOKEN]},
        "audience": {"type": "string", "description": "Another name of `resource`."},
    }
    example: ClassVar[Mapping[str, str]] = {
        "subject_token": "eyJhbGciOi…",
        "subject_token_type": ACCESS_TOKEN,
        "audience": "https://stock.example.com",
    }
    for_itself: ClassVar[bool] = False
    logs_in: ClassVar[bool] = False
    by_choice: ClassVar[bool] = True

    @classmethod
    def of(cls, services: "Services") -> Self:
        s = services
        own = frozenset({s.settings.issuer, s.settings.audience})
        return cls(s.db, s.clients, s.live, s.queue, s.places, own)

    async def authorize(self, request: TokenRequest) -> Issue:
        client = request.client
        if not client.confidential:
            raise UnauthorizedClient("a public client cannot exchange tokens")
        if is_pairwise(client):
            raise InvalidTarget("a client with pairwise subjects gets tokens for us alone")
        _check_types(request)
        target = self._target(request)
        subject = await self._read(request, "subject_token")
        _check_theirs(client, subject)
        request.admit(subject.user)
        act = await self._act(request, subject, target)
        scope = _scope(request, subject, target, await self._holds(subject))
        return await self._issue(request, subject, target, scope, act)

    def _target(self, request: TokenRequest) -> str:
        """The one resource that is named, if the client's policy names it, and it still is one."""
        named = {
            *request.form.get("resource", "").split(),
            *request.form.get("audience", "").split(),
        }
        if not named:
            raise InvalidTarget("name the resource that the token is to be for")
        if len(named) > 1:
            raise InvalidTarget("a token is for one resource: name one")
        (target,) = named
        known = target in request.scopes.values()
        if target not in request.client.settings.token_exchange or not known or target in self.own:
            raise InvalidTarget("the client may not exchange tokens for this resource")
        return target

    async def _read(self, request: TokenRequest, name: str) -> Live:
        """The token in this parameter. `InvalidRequest` unless it is a good one (§2.2.2)."""
        live = await self.live.look(request.required(name))
        if live is None:
            raise InvalidRequest(f"{name} is not valid", audit="not alive")
        return live

    async def _holds(self, subject: Live) -> frozenset[str]:
        """What whom the token speaks of may do now."""
        if subject.user is not None:
            return subject.user.scopes
        principal = await self.clients.get(subject.known.subject)
        return principal.scopes if principal is not None else frozenset()

    async def _act(
        self, request: TokenRequest, subject: Live, target: str
    ) -> Mapping[str, Any] | None:
        """Who acts, and whom they have it from (§4.1). What a token said of that is never lost."""
        client = request.client
        before: dict[str, Any] | None = subject.claims.claims.get("act")
        if "actor_token" in request.form:
            actor = await self._read(request, "actor_token")
            if actor.client.id != client.id or "act" in actor.claims.claims:
                raise InvalidRequest("actor_token is not the client's own", audit="another's")
            who = actor.claims.subject
        elif subject.user and target in client.settings.token_exchange_impersonation:
            return before
        else:
            who = client.id
        act = {"sub": who} if before is None else {"sub": who, "act": before}
        if _depth(act) > MOST_ACTORS:
            raise InvalidRequest(f"more than {MOST_ACTORS} have acted for one another")
        return act

    async def _issue(
        self,
        request: TokenRequest,
        subject: Live,
        target: str,
        scope: str,
        act: Mapping[str, Any] | None,
    ) -> Issue:
        client, claims = request.client, subject.claims
        user, sid = subject.user, claims.session
        place = await self.places.take(client.id, target)
        derived = Derived(new_id(), act, claims.expires_at)
        told: dict[str, Any] = {"parent": claims.token_id, "principal": claims.subject}
        if user is not None:
            told = {"session_id": sid, "user_id": user.id}
        if not await exchanged.record(
            self.db,
            jti=derived.jti,
            place=place.number,
            expires_at=claims.expires_at,
            client_id=client.id,
            **told,
        ):
            raise InvalidRequest("subject_token is not valid", audit="ended meanwhile")
        self.queue.put(
            "token.issued", subject=user.id if user else claims.subject, client_id=client.id,
            grant=self.grant_type, scope=scope, sid=sid, audience=target,
            actor=act["sub"] if act else None,
        )  # fmt: skip
        whom = Subject(claims.subject)
        if user is not None:
            whom = Subject(user.id, user.username, user.roles, _session(claims))
        return Issue(whom, target, scope, place, request.asked_at, derived=derived)


def _check_types(request: TokenRequest) -> None:
    form = request.form
    for name in ("subject_token", "actor_token"):
        if (name in form) != (f"{name}_type" in form):
            raise InvalidRequest(f"{name} and {name}_type go together")
    for name in ("subject_token_type", "actor_token_type", "requested_token_type"):
        if form.get(name, ACCESS_TOKEN) != ACCESS_TOKEN:
            raise InvalidRequest(f"{name} must be {ACCESS_TOKEN}")


def _check_theirs(client: ClientSnapshot, subject: Live) -> None:
    """That the token was the client's to use: issued to it, or sent to it."""
    if subject.client.id == client.id:
        return
    if client.audiences.isdisjoint(subject.known.audience):
        raise InvalidRequest("subject_token was not for this client", audit="another's")


def _scope(request: TokenRequest, subject: Live, target: str, holder: frozenset[str]) -> str:
    """Asked ∩ the resource's ∩ the client's ∩ its policy's ∩ what the subject holds now; for a
    resource that the subject token is for already, no more than that has."""
    client = request.client
    policy = client.settings.token_exchange[target]
    names = granting.granted(
        request.form.get("scope"),
        home=request.scopes,
        client=client.scopes,
        holder=holder,
        audience=target,
    )
    had = subject.scopes if target in subject.known.audience else None
    kept = [
        name
        for name in names
        if request.scopes[name] == target
        and (name in policy or granting.ALL in policy)
        and (had is None or name in had)
    ]
    if not kept:
        raise InvalidScope("nothing of what was asked for can be granted")
    return " ".join(kept)


def _session(claims: VerifiedClaims) -> Carried:
    said = claims.claims
    return Carried(
        id=str(claims.session),
        authenticated_at=datetime.fromtimestamp(said["auth_time"], UTC),
        expires_at=datetime.fromtimestamp(claims.expires_at, UTC),
        amr=said["amr"],
        acr=said.get("acr"),
    )


def _depth(act: Mapping[str, Any] | None) -> int:
    return 0 if act is None else 1 + _depth(act.get("act"))
