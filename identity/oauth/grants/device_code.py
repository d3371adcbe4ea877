"""What somebody has allowed a device, for tokens (RFC 8628 §3.4). It asks until they answer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sqlmodel import Session

from identity.authentication.throttle import Throttle
from identity.dataclass import dataclass
from identity.directory.users.snapshot import UserSnapshot
from identity.errors import (
    AccessDenied,
    AuthorizationPending,
    ExpiredToken,
    InvalidGrant,
    SlowDown,
    TooManyRequests,
)
from identity.oauth.grants.refresh_token import RefreshToken
from identity.oauth.grants.request import Issue, TokenRequest
from identity.records import audit
from identity.records.audit import AuditQueue
from identity.store import Database, Work
from identity.tokens.devices import polling
from identity.tokens.devices.polling import Device
from identity.tokens.live import Users
from identity.tokens.minting import Subject
from identity.tokens.sessions import alone, beginning, lifecycle
from identity.tokens.sessions.beginning import Begun
from identity.tokens.sessions.lifecycle import Lifetimes
from identity.tokens.status.places import Place, Places

if TYPE_CHECKING:
    from identity.service.wiring import Services

NOT_VALID = "the device code is not valid"


@dataclass(frozen=True)
class DeviceCode:
    db: Database
    users: Users
    lifetimes: Lifetimes
    queue: AuditQueue
    places: Places
    throttle: Throttle
    grant_type: ClassVar[str] = "urn:ietf:params:oauth:grant-type:device_code"
    form: ClassVar[Mapping[str, Any]] = {
        "device_code": {"type": "string", "description": "As `/device_authorization` gave it."}
    }
    example: ClassVar[Mapping[str, str]] = {"device_code": "dc_…"}
    for_itself: ClassVar[bool] = False
    logs_in: ClassVar[bool] = False
    by_choice: ClassVar[bool] = True

    @classmethod
    def of(cls, services: "Services") -> Self:
        s = services
        return cls(s.db, s.users, s.lifetimes, s.queue, s.places, s.throttle)

    async def authorize(self, request: TokenRequest) -> Issue:
        device = await polling.look(self.db, request.required("device_code"))
        if device is None or device.client_id != request.client.id:
            raise InvalidGrant(NOT_VALID, audit="not this client's" if device else "unknown")
        hasty = await polling.asks_too_soon(self.db, device)
        if device.used and not hasty:
            await self._replayed(device)
        if device.used:  # at once: one whose answer was lost, or of many at a time, steals nothing
            raise InvalidGrant(NOT_VALID, audit="used a moment ago")
        if device.declined:
            raise AccessDenied
        if device.expired:
            raise ExpiredToken
        if hasty:  # which says that there is something to wait for (RFC 8628 §3.5)
            raise SlowDown
        if device.user_id is None:
            raise AuthorizationPending
        user = await self.users.get(device.user_id)
        if user is None or not user.active:
            raise InvalidGrant(NOT_VALID, audit="user disabled")
        await self._check_lockout(user)
        user = user.at(device.acr)
        request.admit(user)
        return await self._issue(request, device, user)

    async def _issue(self, request: TokenRequest, device: Device, user: UserSnapshot) -> Issue:
        audience = request.audience_among(device.resources)
        scope = request.left_of(device.scope or "", user, audience)
        place = await self.places.take(None, audience)

        def unit(work: Work) -> tuple[Begun, str | None] | None:
            if not polling.spend(work, device):
                return None
            return self._begin(work, request, device, scope, audience, place)

        begun = await self.db.write_plain(unit)
        if begun is None:
            raise InvalidGrant(NOT_VALID, audit="used, taken back or expired meanwhile")
        session, refresh_token = begun
        self.queue.put(
            "token.issued", subject=user.id, client_id=request.client.id,
            grant=self.grant_type, scope=scope, sid=session.id,
        )  # fmt: skip
        subject = Subject(user.id, user.username, user.roles, session)
        return Issue(subject, audience, scope, place, request.asked_at, refresh_token)

    def _begin(
        self,
        work: Work,
        request: TokenRequest,
        device: Device,
        scope: str,
        audience: str,
        place: Place,
    ) -> tuple[Begun, str | None]:
        assert device.user_id and device.authenticated_at and device.acr
        lifetimes = self.lifetimes.at(request.client.settings)
        begun = alone.begin(
            work,
            lifetimes,
            user_id=device.user_id,
            client_id=request.client.id,
            scope=scope,
            audience=audience,
            authenticated_at=device.authenticated_at,
            amr=list(device.amr),
            acr=device.acr,
            status_index=place.number,
            user_agent=request.user_agent,
            jkt=request.binding,
        )
        polling.note_session(work, device, begun.id)
        if RefreshToken.grant_type not in request.client.grants:
            return begun, None
        return begun, beginning.first_refresh_token(work, lifetimes.idle, begun)

    async def _check_lockout(self, user: UserSnapshot) -> None:
        """While guesses at the account's password are held up here, so is this: the device asks
        again."""
        with self.throttle.attempt(user.username, audit.origin.get().address) as attempt:
            try:
                await attempt.check(self.db)
            except TooManyRequests as locked:
                raise SlowDown(audit=locked.audit) from None

    async def _replayed(self, device: Device) -> None:
        """End what the first use of the code began."""

        def unit(session: Session) -> None:
            sid = polling.session_of(session, device)
            if sid is not None:
                lifecycle.end(session, sid, "device code replayed")
            audit.record(
                session, "device_code.replayed", outcome="refused",
                subject=device.user_id, client_id=device.client_id, sid=sid,
            )  # fmt: skip
            raise InvalidGrant(NOT_VALID, audit=f"replay, session {sid}")

        await self.db.write(unit)
