"""What has to happen before a request is granted: the one place that says so, asked anew each time
that the request comes back from a page. Nothing is believed but the session, the mark and what the
user has agreed to."""

from collections.abc import Collection, Mapping

from identity.authentication import levels
from identity.authentication.marks import Mark
from identity.clock import now
from identity.dataclass import dataclass
from identity.directory import uris
from identity.directory.access import granting
from identity.directory.clients.registry import ClientSnapshot
from identity.directory.users.claims import scopes_of
from identity.directory.users.snapshot import UserSnapshot
from identity.errors import LoginRequired, UnmetAuthenticationRequirements
from identity.oauth.authorize.documents import is_document
from identity.oauth.authorize.request import CREATE, AuthorizationRequest
from identity.service.interactions import Person, Step
from identity.tokens import rights, targets
from identity.verifier.levels import meets

CHOSEN = "chosen"
ASKS_TO_PROVE = frozenset({"login", CREATE})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request comes down to for this person."""

    scopes: tuple[str, ...]
    implied: tuple[str, ...]
    """What would release the single claims that it asks for: agreed to like scopes."""
    resources: tuple[str, ...]
    consented: frozenset[str] | None
    """None: the user has never agreed to anything."""

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.scopes, *self.implied)

    @property
    def new(self) -> tuple[str, ...]:
        """What the user has not agreed to yet."""
        return tuple(name for name in self.all if name not in (self.consented or ()))


def next_step(
    request: AuthorizationRequest,
    person: Person | None,
    asked: Asked | None,
    mark: Mark | None,
    *,
    as_meant: bool,
) -> Step | None:
    """What must be done at a page; None: nothing, the request can be granted. `as_meant`: whether
    the person is whom a hint or a claim names. `LoginRequired` where somebody else has signed in
    for this very request."""
    if person is None or asked is None:
        return "sign_in"
    if not as_meant:
        if mark is not None and _proven(person) >= _milliseconds(mark.first_seen):
            raise LoginRequired("somebody else has signed in than the request names")
        return "sign_in"
    if _must_prove(request, person, mark):
        return "sign_in"
    if "select_account" in request.prompt and (mark is None or CHOSEN not in mark.done):
        return "choose"
    return "consent" if needs_consent(request, asked) else None


def _must_prove(request: AuthorizationRequest, person: Person, mark: Mark | None) -> bool:
    seen = mark.first_seen if mark else None
    proven = _proven(person)
    if request.prompt & ASKS_TO_PROVE and (seen is None or proven < _milliseconds(seen)):
        return True
    if request.max_age is not None and proven < (seen or now()) - request.max_age:
        return True
    level = least_level(request, person.user.highest)
    return level is not None and not meets(person.session.acr, level)


def _proven(person: Person) -> float:
    return person.session.authenticated_at.timestamp()


def least_level(request: AuthorizationRequest, highest: str) -> str | None:
    """The `acr` that must be met at least, by somebody who can meet `highest`.
    `UnmetAuthenticationRequirements` where they cannot, for want of a factor or because nobody can:
    values that we do not know ask for nothing, unless they are essential (OpenID Connect Core
    §5.5.1.1)."""
    wanted = levels.known(request.acr_values)
    essential = request.claims.acr
    if essential:
        wanted = levels.known(essential)
    if not wanted and not essential:
        return None
    level = levels.least_reachable(wanted, highest)
    if level is None:
        raise UnmetAuthenticationRequirements
    return level


def needs_consent(request: AuthorizationRequest, asked: Asked) -> bool:
    client = request.back.client
    if client.settings.first_party:
        return "consent" in request.prompt
    if "consent" in request.prompt or asked.consented is None:
        return True  # even without a scope: its tokens say who the user is
    return bool(asked.new) or bool(request.details) or asks_always(client, request)


def asks_always(client: ClientSnapshot, request: AuthorizationRequest) -> bool:
    """Whether anybody's program may stand behind the redirect URI: then no earlier consent speaks
    for this one (RFC 8252 §8.6). Nor where the client may have another by now than it had then."""
    if is_document(client.id):
        return True
    uri = request.back.redirect_uri
    return not client.confidential and (uris.is_loopback(uri) or uris.is_private_use(uri))


def granted_scopes(
    request: AuthorizationRequest,
    user: UserSnapshot,
    scopes: Mapping[str, str | None],
    resource: str | None,
) -> tuple[str, ...]:
    """Raises `InvalidScope`."""
    return rights.granted_scopes(request.back.client, user, request.scope, scopes, resource)


def wanted_resources(
    request: AuthorizationRequest, home: Mapping[str, str | None], own: Collection[str]
) -> tuple[str, ...]:
    """Those that its tokens may be for. `own`: this service's. Raises `InvalidTarget`."""
    return targets.targets(request.resources, request.scope, request.back.client, own, home)


def check_for_anybody(
    request: AuthorizationRequest, home: Mapping[str, str | None], own: Collection[str]
) -> None:
    """What is wrong with scopes and resources whoever signs in: nobody is asked for a password
    first. Raises `InvalidScope`, `InvalidTarget`."""
    may = request.back.client.scopes
    granting.granted(request.scope, home=home, client=may, holder=None, audience=None)
    wanted_resources(request, home, own)


def implied_scopes(
    request: AuthorizationRequest, scopes: Mapping[str, str | None], granted: tuple[str, ...]
) -> tuple[str, ...]:
    """Of single claims, as far as the client may have the scope that releases them."""
    client = request.back.client
    return tuple(
        name
        for name in scopes_of(request.claims.names)
        if name in scopes and name not in granted and client.may_hold(name)
    )


def _milliseconds(seen: float) -> float:
    """Marks are told in them; a sign-in of the same one counts as later."""
    return seen - 0.001
