"""What a grant is given, and what it hands back."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

from identity.directory.access import granting
from identity.directory.clients.registry import ClientSnapshot
from identity.directory.users.snapshot import UserSnapshot
from identity.errors import InvalidRequest, InvalidTarget
from identity.tokens import rights, targets
from identity.tokens.binding import UNBOUND, Binding
from identity.tokens.lockdown import OPEN, State
from identity.tokens.minting import Derived, Subject
from identity.tokens.status.places import Place
from identity.tokens.subjects import is_pairwise

if TYPE_CHECKING:
    from identity.service.wiring import Services


DETAILS: Mapping[str, str] = {
    "type": "string",
    "description": "Fewer of them than were granted, as a JSON list (RFC 9396).",
}
"""Of a grant's form, where it carries `authorization_details`."""


def bound(client: ClientSnapshot, proven: Binding) -> Binding:
    """What of it the client's tokens are bound to: a key that it proves always (RFC 9449 §5), its
    certificate where it has said so (RFC 8705 §3.3)."""
    if proven.x5t is None or client.settings.tls_client_certificate_bound_access_tokens:
        return proven
    return Binding(proven.jkt)


class TokenRequest(NamedTuple):
    """A token request whose client is authenticated and may use the grant."""

    form: Mapping[str, str]
    client: ClientSnapshot
    resource: str | None
    """The audience asked for (RFC 8707), one that the client may name; or the one to which the
    scopes asked for belong. None where the grant looks at it itself."""
    default_audience: str
    own_audiences: Collection[str]
    """This service's, the default one among them."""
    scopes: Mapping[str, str | None]
    """Every scope that exists, and the resource it belongs to."""
    user_agent: str | None
    asked_at: float
    """Unix time before this process last caught up: what it knows is at least as new."""
    proven: Binding = UNBOUND
    """What the request proves to hold."""
    lockdown: State = OPEN

    @property
    def binding(self) -> str | None:
        """What its refresh tokens are bound to, as a session keeps it."""
        return bound(self.client, self.proven).text

    def admit(self, user: UserSnapshot | None) -> None:
        """Raises `LockedDown` where tokens of this user, or of a client alone, are stopped. Asked
        before anything is spent that they would lack afterwards."""
        self.lockdown.check(user.scopes if user else ())

    @property
    def audience(self) -> str:
        return self.resource or self.default_audience

    def required(self, name: str) -> str:
        value = self.form.get(name)
        if value is None:
            raise InvalidRequest(f"{name} is missing")
        return value

    def granted(
        self, holder: frozenset[str] | None, *, default: Sequence[str] | None = None
    ) -> str:
        """The scope to grant, space separated. `holder`: the user's scopes, None without one.
        `default`: what is asked for where the request does not say, the client's own if None."""
        names = rights.at_token(
            self.client,
            holder,
            self.form.get("scope"),
            self.scopes,
            self.resource,
            self.default_audience,
            default=default,
        )
        return " ".join(names)

    def audience_among(self, allowed: Sequence[str]) -> str:
        """Of a grant that somebody agreed to for these resources, none of them for this service:
        the one that this token is for (RFC 8707 §2.2), if the client may have it still."""
        if is_pairwise(self.client):
            return self.audience
        named = self.form.get("resource")
        if named not in (None, *allowed, self.default_audience):
            raise InvalidTarget("the resource was not named in the request that was granted")
        if named is None and len(allowed) > 1:
            raise InvalidTarget("several resources were granted: name one")
        audience = named or next(iter(allowed), self.default_audience)
        if not self.may_still(audience):
            raise InvalidTarget("the client may not ask for tokens for this resource any more")
        return audience

    def may_still(self, audience: str) -> bool:
        """Whether the client that was given it could be given it now."""
        return targets.may_still(self.client, audience, self.own_audiences, self.scopes)

    def left_of(self, scope: str, user: UserSnapshot, audience: str) -> str:
        """What client and user may still have of a scope that was agreed to."""
        if not scope:
            return ""
        names = granting.granted(
            scope,
            home=self.scopes,
            client=self.client.scopes,
            holder=user.scopes,
            audience=audience if audience != self.default_audience else None,
        )
        return " ".join(names)


class Issue(NamedTuple):
    """What to mint."""

    subject: Subject
    audience: str
    scope: str
    place: Place
    """In the status lists."""
    known_at: float
    """Unix time from before it was read what the subject may do; the token's `iat`. Whatever is
    taken away later is then told with a time that hits this token."""
    refresh_token: str | None = None
    nonce: str | None = None
    """Of the authorization request, for the ID token."""
    claims: Mapping[str, Any] | None = None
    """As the `claims` parameter asked (OpenID Connect Core §5.5)."""
    details: Sequence[Mapping[str, Any]] = ()
    """RFC 9396's."""
    derived: Derived | None = None
    """Of a token that was got for another one."""


class Grant(Protocol):
    """States only what is unique to it; what every grant needs happens in the endpoint."""

    grant_type: ClassVar[str]
    form: ClassVar[Mapping[str, Any]]
    """The parameters that are its own: name -> JSON schema."""
    example: ClassVar[Mapping[str, str]]
    """A value for each of them."""
    for_itself: ClassVar[bool]
    """The client acts for itself: there is no user behind its tokens."""
    logs_in: ClassVar[bool]
    """It tries a login, whose refusals are on record as such."""
    by_choice: ClassVar[bool]
    """A client has it where its registration names it, and not by being a client."""

    @classmethod
    def of(cls, services: "Services") -> Self: ...

    async def authorize(self, request: TokenRequest) -> Issue: ...
