"""A code for tokens (RFC 6749 §4.1.3, RFC 7636 §4.6)."""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sqlmodel import Session

from identity.dataclass import dataclass
from identity.directory.clients.registry import ClientSnapshot
from identity.directory.details import DetailTypes
from identity.errors import InvalidGrant
from identity.oauth.grants.refresh_token import RefreshToken
from identity.oauth.grants.request import DETAILS, Issue, TokenRequest
from identity.records import audit
from identity.records.audit import AuditQueue
from identity.store import Database
from identity.tokens import codes
from identity.tokens.codes import Code
from identity.tokens.live import Users
from identity.tokens.minting import Subject
from identity.tokens.sessions import lifecycle, redeeming
from identity.tokens.sessions.lifecycle import Lifetimes
from identity.tokens.status.places import Places
from identity.verifier.gate.encoding import b64url_encode

if TYPE_CHECKING:
    from identity.service.wiring import Services

NOT_VALID = "the code is not valid"
OFFLINE = "offline_access"


@dataclass(frozen=True)
class AuthorizationCode:
    db: Database
    users: Users
    lifetimes: Lifetimes
    queue: AuditQueue
    places: Places
    details: DetailTypes
    grant_type: ClassVar[str] = "authorization_code"
    form: ClassVar[Mapping[str, Any]] = {
        "code": {"type": "string"},
        "redirect_uri": {
            "type": "string",
            "format": "uri",
            "description": "As the authorization request named it.",
        },
        "code_verifier": {"type": "string", "description": "Of PKCE (RFC 7636)."},
        "authorization_details": DETAILS,
    }
    example: ClassVar[Mapping[str, str]] = {
        "code": "ac_…",
        "redirect_uri": "https://app.example.com/callback",
        "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    }
    for_itself: ClassVar[bool] = False
    logs_in: ClassVar[bool] = False
    by_choice: ClassVar[bool] = True

    @classmethod
    def of(cls, services: "Services") -> Self:
        s = services
        return cls(s.db, s.users, s.lifetimes, s.queue, s.places, s.detail_types)

    async def authorize(self, request: TokenRequest) -> Issue:
        code = await codes.look(self.db, request.required("code"))
        if code is None:
            raise InvalidGrant(NOT_VALID, audit="unknown")
        _check_bound(code, request.client, request.form)
        if code.dpop_jkt not in (None, request.proven.jkt):
            raise InvalidGrant("the code is bound to another key than the DPoP proof's")
        if code.used:
            await self._replayed(code)
        audience = request.audience_among(code.resources)
        user = await self.users.get(code.user_id)
        if user is None or not user.active:
            raise InvalidGrant(NOT_VALID, audit="user disabled")
        user = user.at(code.acr)
        request.admit(user)
        scope = request.left_of(code.scope, user, audience)
        had = self.details.still(code.authorization_details, request.client)
        details = self.details.narrowed(request.form.get("authorization_details"), had)
        place = await self.places.take(None, audience)

        begun = await redeeming.redeem(
            self.db, self.lifetimes.at(request.client.settings), code,
            scope=scope, audience=audience, offline=OFFLINE in scope.split(),
            refreshes=RefreshToken.grant_type in request.client.grants,
            status_index=place.number, user_agent=request.user_agent, jkt=request.binding,
        )  # fmt: skip
        if begun is None:
            await self._replayed(code)
            raise InvalidGrant(NOT_VALID, audit="expired")
        session, refresh_token = begun
        self.queue.put(
            "token.issued", subject=user.id, client_id=request.client.id,
            grant=self.grant_type, scope=scope, sid=session.id,
        )  # fmt: skip
        subject = Subject(user.id, user.username, user.roles, session)
        return Issue(
            subject, audience, scope, place, request.asked_at, refresh_token,
            nonce=code.nonce, claims=code.claims, details=details,
        )  # fmt: skip

    async def _replayed(self, code: Code) -> None:
        """End what the first use of a code began. Returns where it was never used."""

        def unit(session: Session) -> None:
            sid = codes.session_of(session, code)
            if sid is None:
                return
            lifecycle.end(session, sid, "authorization code replayed")
            audit.record(
                session, "code.replayed", outcome="refused",
                subject=code.user_id, client_id=code.client_id, sid=sid,
            )  # fmt: skip
            raise InvalidGrant(NOT_VALID, audit=f"replay, session {sid}")

        await self.db.write(unit)


def _check_bound(code: Code, client: ClientSnapshot, form: Mapping[str, str]) -> None:
    """That whoever sends the code is who it was made for. Nothing is spent before."""
    if code.client_id != client.id:
        raise InvalidGrant(NOT_VALID, audit="another client's")
    redirect_uri = form.get("redirect_uri")
    if redirect_uri != code.redirect_uri and not (
        code.redirect_uri is None and redirect_uri in client.settings.redirect_uris
    ):
        raise InvalidGrant("redirect_uri is not the authorization request's")
    verifier = form.get("code_verifier")
    if code.code_challenge is None:
        if verifier is not None:  # RFC 9700 §4.8.2: a challenge was taken out on the way
            raise InvalidGrant("code_verifier came, but the request had no code_challenge")
        return
    if verifier is None:
        raise InvalidGrant("code_verifier is missing")
    digest = b64url_encode(sha256(verifier.encode()).digest())
    if not 43 <= len(verifier) <= 128 or not hmac.compare_digest(
        digest, code.code_challenge.encode()
    ):
        raise InvalidGrant("code_verifier is not the one of the code_challenge")
