"""A refresh token for the next access token and the next refresh token (RFC 6749 §6)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from identity.dataclass import dataclass
from identity.directory.access import granting
from identity.directory.details import DetailTypes
from identity.directory.users.snapshot import UserSnapshot
from identity.errors import InvalidGrant, InvalidScope, InvalidTarget
from identity.oauth.grants.request import DETAILS, Issue, TokenRequest
from identity.records.audit import AuditQueue
from identity.store import Database
from identity.tokens.binding import Binding
from identity.tokens.live import Users
from identity.tokens.minting import Subject
from identity.tokens.sessions import keeping, rotation
from identity.tokens.sessions.lifecycle import Lifetimes
from identity.tokens.sessions.rotation import Login
from identity.tokens.status.places import Places

if TYPE_CHECKING:
    from identity.service.wiring import Services


_HELD = ("a key", "a certificate")


@dataclass(frozen=True)
class RefreshToken:
    db: Database
    users: Users
    lifetimes: Lifetimes
    queue: AuditQueue
    places: Places
    details: DetailTypes
    grant_type: ClassVar[str] = "refresh_token"
    form: ClassVar[Mapping[str, Any]] = {
        "refresh_token": {"type": "string"},
        "authorization_details": DETAILS,
    }
    example: ClassVar[Mapping[str, str]] = {"refresh_token": "rt_…"}
    for_itself: ClassVar[bool] = False
    logs_in: ClassVar[bool] = False
    by_choice: ClassVar[bool] = False

    @classmethod
    def of(cls, services: "Services") -> Self:
        s = services
        return cls(s.db, s.users, s.lifetimes, s.queue, s.places, s.detail_types)

    async def authorize(self, request: TokenRequest) -> Issue:
        token = request.required("refresh_token")
        # What can be refused without spending the token is refused first.
        login = await rotation.look(self.db, token)
        if login is None or login.client_id != request.client.id:
            raise InvalidGrant("the refresh token is not valid", audit="not this client's")
        self._check_binding(request, Binding.read(login.jkt))
        # What is no resource may have been this service's own name before: nothing is lost by that.
        audience = login.audience
        if not request.may_still(audience) and audience in request.scopes.values():
            raise InvalidGrant("the client may not ask for tokens for this resource any more")
        self._check_narrower(request, login.scope, login.audience)
        if request.lockdown.active:
            request.admit(await self._user(login))
        had = self.details.still(login.authorization_details, request.client)
        details = self.details.narrowed(request.form.get("authorization_details"), had)
        place = await self.places.take(None, login.audience)
        successor, lifetimes = None, self.lifetimes.at(request.client.settings)
        if request.client.settings.profile == "fapi2":
            await self.db.write_plain(
                lambda work: keeping.keep(work, lifetimes, token, login, place.number)
            )
            successor = token
        elif login.unused:
            successor = await rotation.swap(self.db, lifetimes, token, login, place.number)
        if successor is None:  # a retry or a replay, or too late
            successor = await self.db.write(
                lambda session: rotation.rotate(session, lifetimes, token, place.number)
            )
        user = await self._user(login)
        scopes = login.scope.split()
        scope = request.granted(user.scopes & frozenset(scopes), default=scopes)
        self.queue.put(
            "token.issued", subject=user.id, client_id=request.client.id,
            grant=self.grant_type, scope=scope, sid=login.id,
        )  # fmt: skip
        subject = Subject(user.id, user.username, user.roles, login)
        return Issue(
            subject, login.audience, scope, place, request.asked_at, successor,
            claims=login.claims, details=details,
        )  # fmt: skip

    async def _user(self, login: Login) -> UserSnapshot:
        user = await self.users.get(login.user_id)
        if user is None or not user.active:
            raise InvalidGrant("the refresh token is not valid", audit="user disabled")
        return user.at(login.acr)

    @staticmethod
    def _check_binding(request: TokenRequest, wanted: Binding) -> None:
        """A public client has nothing but its key or certificate to tell it from a thief (RFC 9449
        §5, RFC 8705 §4). Any other one authenticates, and may change it, but not do without."""
        for what, held, bound_to in zip(_HELD, request.proven, wanted, strict=True):
            if bound_to is None or held == bound_to:
                continue
            if held is None or not request.client.confidential:
                raise InvalidGrant(f"the refresh token is bound to {what}: this is no proof of it")

    @staticmethod
    def _check_narrower(request: TokenRequest, scope: str, audience: str) -> None:
        if request.form.get("resource", audience) != audience:
            raise InvalidTarget("the resource was not granted at the login")
        asked = set(granting.parse(request.form.get("scope", ""))) - {granting.ALL}
        # A scope that was deleted since cannot be granted, whatever the login did.
        beyond = asked - (set(scope.split()) & request.scopes.keys())
        if beyond:
            raise InvalidScope(f"not granted at the login: {granting.shown(sorted(beyond))}")
