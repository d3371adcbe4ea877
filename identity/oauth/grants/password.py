"""A username and password for tokens (RFC 6749 §4.3); see docs/decisions on why it is here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from identity.authentication.levels import BY_PASSWORD, BY_PASSWORD_AND_CODE
from identity.authentication.password import PasswordLogin, Proven, due
from identity.authentication.second_factor import SecondFactor
from identity.clock import now
from identity.dataclass import dataclass
from identity.directory.users import accounts
from identity.errors import InvalidGrant, UnauthorizedClient
from identity.oauth.grants.refresh_token import RefreshToken
from identity.oauth.grants.request import Issue, TokenRequest
from identity.records import audit
from identity.records.metrics import Metrics
from identity.store import Database, Work
from identity.tokens.minting import Subject
from identity.tokens.sessions import beginning
from identity.tokens.sessions.lifecycle import Lifetimes
from identity.tokens.status.places import Place, Places

if TYPE_CHECKING:
    from identity.service.wiring import Services

MUST_CHANGE = "the password must be changed first: POST /password"


@dataclass(frozen=True)
class Password:
    db: Database
    login: PasswordLogin
    second_factor: SecondFactor
    lifetimes: Lifetimes
    metrics: Metrics
    places: Places
    allowed: bool
    grant_type: ClassVar[str] = "password"
    form: ClassVar[Mapping[str, Any]] = {
        "username": {"type": "string", "description": "Username or e-mail address."},
        "password": {"type": "string", "format": "password"},
        "otp": {
            "type": "string",
            "description": "For whoever has a second factor: its code, or a recovery code. Without "
            "it `invalid_grant` comes with `factors`, the kinds of which one is needed.",
        },
    }
    example: ClassVar[Mapping[str, str]] = {"username": "ada", "password": "correct horse battery"}
    for_itself: ClassVar[bool] = False
    logs_in: ClassVar[bool] = True
    by_choice: ClassVar[bool] = False

    @classmethod
    def of(cls, services: "Services") -> Self:
        s = services
        allowed = s.settings.sessions.password_grant
        return cls(s.db, s.login, s.second_factor, s.lifetimes, s.metrics, s.places, allowed)

    async def authorize(self, request: TokenRequest) -> Issue:
        if not self.allowed:
            raise UnauthorizedClient("the password grant is switched off")
        username, password = request.required("username"), request.required("password")
        proven = await self.login.prove(username, password)
        user, code = proven.user, request.form.get("otp")
        audit.act_as("user", user.id)
        if due(user) != "second factor":
            code = None
        elif code is None:
            raise await self.second_factor.required(user.id, request.client.id)
        place = await self.places.take(None, request.audience)
        with self.second_factor.refusals_noted(user.id, request.client.id):
            issue = await self.db.write_plain(
                lambda work: self._log_in(work, request, proven, place, code)
            )
        self.metrics.login("success")
        return issue

    def _log_in(
        self, work: Work, request: TokenRequest, proven: Proven, place: Place, code: str | None
    ) -> Issue:
        user, client, known_at = proven.user, request.client, now()
        proof = BY_PASSWORD
        if code is not None:
            self.login.admit(work, user)  # or the code would be spent for nothing
            self.second_factor.prove(work, user.id, code)
            proof = BY_PASSWORD_AND_CODE
        self.login.settle(work, proven)
        if due(user) == "new password":
            audit.record(
                work, "login", outcome="refused", subject=user.id, client_id=client.id,
                why="password must be changed",
            )  # fmt: skip
            raise InvalidGrant(MUST_CHANGE)
        roles, held = accounts.rights_of(work, user.id, proof.acr)
        scope = request.granted(held)
        lifetimes = self.lifetimes.at(client.settings)
        begun = beginning.start(
            work,
            lifetimes,
            user_id=user.id,
            client_id=client.id,
            scope=scope,
            audience=request.audience,
            amr=list(proof.amr),
            acr=proof.acr,
            status_index=place.number,
            user_agent=request.user_agent,
            jkt=request.binding,
        )
        audit.record(work, "login", subject=user.id, client_id=client.id, sid=begun.id, scope=scope)
        refresh_token = None
        if RefreshToken.grant_type in client.grants:
            refresh_token = beginning.first_refresh_token(work, lifetimes.idle, begun)
        subject = Subject(user.id, user.username, roles, begun)
        return Issue(subject, request.audience, scope, place, known_at, refresh_token)
