"""What a trusted issuer says of a user, for tokens (RFC 7523 §2.1).

The issuer says who it is; what the client may do for them is decided here as ever: the client's
scopes, the user's, and, unless the client is our own, what the user has agreed to. There is no
refresh token (RFC 7521 §4.1), and no ID token: nobody has signed in here.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sqlmodel import Session

from identity.authentication import foreign, once
from identity.authentication.foreign import Refused
from identity.authentication.issuers import TrustedIssuers
from identity.clock import now
from identity.dataclass import dataclass
from identity.directory.consents import Consents, key
from identity.directory.issuers.registry import IssuerSnapshot
from identity.directory.users import accounts, names
from identity.directory.users.table import User
from identity.errors import InvalidGrant, UnauthorizedClient
from identity.oauth.grants.request import Issue, TokenRequest
from identity.records import audit
from identity.store import Database
from identity.tokens.minting import Subject
from identity.tokens.sessions import beginning
from identity.tokens.sessions.beginning import Begun
from identity.tokens.sessions.lifecycle import Lifetimes
from identity.tokens.status.places import Place, Places

if TYPE_CHECKING:
    from identity.service.wiring import Services

NOT_VALID = "the assertion is not valid"
TYPES = ("authorization-grant+jwt",)
AHEAD = 3600.0
"""Seconds that an assertion may be good for."""
TAKES_A_SIGN_IN = frozenset({"openid", "offline_access"})


@dataclass(frozen=True)
class JwtBearer:
    db: Database
    issuers: TrustedIssuers
    consents: Consents
    lifetimes: Lifetimes
    places: Places
    grant_type: ClassVar[str] = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    form: ClassVar[Mapping[str, Any]] = {
        "assertion": {"type": "string", "description": "A JWT of a trusted issuer (RFC 7523)."}
    }
    example: ClassVar[Mapping[str, str]] = {"assertion": "eyJhbGciOi…"}
    for_itself: ClassVar[bool] = False
    logs_in: ClassVar[bool] = False
    by_choice: ClassVar[bool] = True

    @classmethod
    def of(cls, services: "Services") -> Self:
        s = services
        return cls(s.db, s.trusted_issuers, s.consents, s.lifetimes, s.places)

    async def authorize(self, request: TokenRequest) -> Issue:
        if not request.client.confidential:
            raise UnauthorizedClient("a public client cannot use assertions")
        text = request.required("assertion")
        try:
            issuer, claims = await self._claims(request, text)
        except Refused as refusal:
            raise InvalidGrant(NOT_VALID, audit=str(refusal)) from None
        place = await self.places.take(None, request.audience)
        user = await self.db.read(lambda session: _user(session, issuer, claims))
        agreed = await self._agreed(request, user.id)
        return await self.db.write(
            lambda session: self._begin(session, request, issuer, claims, user.id, agreed, place)
        )

    async def _claims(
        self, request: TokenRequest, text: str
    ) -> tuple[IssuerSnapshot, Mapping[str, Any]]:
        """Raises `Refused`."""
        assertion = foreign.read(text, now(), types=TYPES)
        issuer = await self.issuers.get(assertion.issuer)
        if issuer.user_match == "none":
            raise Refused("the issuer is not trusted to speak of users")
        claims = await self.issuers.claims(issuer, assertion, ahead=AHEAD)
        if claims.get("client_id", request.client.id) != request.client.id:
            raise Refused("the assertion was made for another client")
        jti, until = foreign.id_of(claims), datetime.fromtimestamp(claims["exp"], UTC)
        if not await once.first_use(self.db, "grant_assertion", issuer.id, jti, until=until):
            raise Refused("replayed: its jti has been used")
        return issuer, claims

    async def _agreed(self, request: TokenRequest, user_id: str) -> frozenset[str] | None:
        """The scopes that the user has agreed to; None: they need not be asked."""
        if request.client.settings.first_party:
            return None
        agreed = await self.consents.get(key(user_id, request.client.id))
        if agreed is None:
            raise InvalidGrant("the user has not agreed to what the client asks for")
        return agreed

    def _begin(
        self,
        session: Session,
        request: TokenRequest,
        issuer: IssuerSnapshot,
        claims: Mapping[str, Any],
        user_id: str,
        agreed: frozenset[str] | None,
        place: Place,
    ) -> Issue:
        known_at = now()
        user = _user(session, issuer, claims, lock=True)
        if user.id != user_id:
            raise InvalidGrant(NOT_VALID, audit="the user has another name by now")
        roles, held = accounts.rights_of(session, user.id, None)
        request.lockdown.check(held)
        allowed = held - TAKES_A_SIGN_IN
        scope = request.granted(allowed)
        if agreed is not None and not agreed.issuperset(scope.split()):
            raise InvalidGrant("the user has not agreed to all of these scopes")
        begun = beginning.start(
            session,
            self.lifetimes.at(request.client.settings),
            user_id=user.id,
            client_id=request.client.id,
            scope=scope,
            audience=request.audience,
            amr=[],
            status_index=place.number,
            user_agent=request.user_agent,
        )
        audit.record(
            session, "login", subject=user.id, client_id=request.client.id,
            sid=begun.id, scope=scope, issuer=issuer.issuer,
        )  # fmt: skip
        subject = Subject(user.id, user.username, roles, _as_told(begun, claims))
        return Issue(subject, request.audience, scope, place, known_at)


def _user(
    session: Session, issuer: IssuerSnapshot, claims: Mapping[str, Any], *, lock: bool = False
) -> User:
    """Whom the assertion names. Raises `InvalidGrant`."""
    named = claims.get(issuer.user_claim)
    user = _named(session, issuer.user_match, named) if isinstance(named, str) else None
    if user is None:
        raise InvalidGrant(NOT_VALID, audit="it names no user of ours")
    if issuer.user_match == "email" and not (
        user.email_verified and claims.get("email_verified") is True
    ):
        raise InvalidGrant(NOT_VALID, audit="the e-mail address is not verified on both sides")
    if lock:
        user = accounts.get(session, user.id, lock=True)
    if user.status != "active":
        raise InvalidGrant(NOT_VALID, audit="user disabled")
    if user.must_change_password:
        raise InvalidGrant(NOT_VALID, audit="password must be changed")
    return user


def _named(session: Session, match: str, named: str) -> User | None:
    if match == "id":
        return session.get(User, named)
    user = accounts.find_by_login(session, named)
    theirs = getattr(user, match) if user is not None else None
    # A username may look like somebody's address, and is not one.
    same = theirs is not None and names.login_key(theirs) == names.login_key(named)
    return user if same else None


def _as_told(begun: Begun, claims: Mapping[str, Any]) -> Begun:
    """`auth_time` of its tokens is when the user signed in there, as far as that is told."""
    told = claims.get("auth_time", claims.get("iat"))
    if type(told) not in (int, float) or not 0 <= told <= now():
        return begun
    return begun._replace(authenticated_at=datetime.fromtimestamp(told, UTC))
