"""Who acts at the administration and self-service routes, and what they may hand out."""

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.openapi.models import OAuthFlowAuthorizationCode, OAuthFlowPassword, OAuthFlows
from fastapi.security import OAuth2, SecurityScopes

from identity.api.bodies import check_query
from identity.api.stepping_up import check_stepped_up
from identity.authentication.bearer import BearerAuthentication
from identity.dataclass import dataclass
from identity.directory.access.authority import Authority, Standing
from identity.directory.access.granting import ACCOUNT, ALL, held_for_granting
from identity.directory.users.snapshot import UserSnapshot
from identity.errors import (
    Forbidden,
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
)
from identity.http import messages
from identity.service.wiring import Services
from identity.tokens.live import Live

_TICK = {ALL: "Everything that you may do, administration too. Without it: your own account"}
# Tells the OpenAPI page where its Authorize button logs in: below the issuer's path (`openapi`).
_scheme = OAuth2(
    flows=OAuthFlows(
        password=OAuthFlowPassword(tokenUrl="token", refreshUrl="token", scopes=_TICK),
        authorizationCode=OAuthFlowAuthorizationCode(
            authorizationUrl="authorize", tokenUrl="token", refreshUrl="token", scopes=_TICK
        ),
    ),
    scheme_name="OAuth2", auto_error=False,
    description="Username and password of a user; or, with PKCE, the code that somebody gets who "
    "signs in at our own page, where a second factor can be asked for.",
)  # fmt: skip


async def bearer(
    needed: SecurityScopes, request: Request, _: Annotated[str | None, Depends(_scheme)]
) -> Live:
    """FastAPI dependency: `Annotated[Live, Security(bearer, scopes=["users:read"])]`."""
    authenticate: BearerAuthentication = request.app.state.services.bearer
    try:
        return await authenticate(messages.Request(request.scope, request.receive), *needed.scopes)
    except InvalidRequest as ambiguous:
        raise authenticate.ours(InvalidToken(ambiguous.detail)) from None


@dataclass(frozen=True, slots=True)
class Acting:
    services: Services
    live: Live

    @property
    def held(self) -> Authority:
        """What the bearer may grant to others."""
        user = self.live.user
        return Authority(
            scopes=held_for_granting(self.live.scopes, user.scopes if user else ()),
            roles=frozenset(user.roles if user else ()),
            own_audiences=self.own_audiences,
        )

    @property
    def own_audiences(self) -> frozenset[str]:
        """This service's, which every client may name."""
        settings = self.services.settings
        return frozenset((settings.issuer, settings.audience))

    def standing(self, scope: str) -> Standing:
        """What the bearer may hand out by then; raises `Forbidden` once they may not go on."""

        async def held() -> Authority:
            live = await self.services.live.still(self.live)
            if live is None or scope not in live.scopes:
                raise Forbidden("whoever asked may not do this any more")
            return Acting(self.services, live).held

        return held

    def check_stepped_up(self) -> None:
        """The same of whoever acts here; a client that acts for itself has nothing to prove."""
        if self.live.user is not None:
            check_stepped_up(self.live, second_factor=self.live.user.second_factor)

    def address(self, path: str) -> str:
        """`path` of this service as a URL, for `Location`."""
        return self.services.settings.issuer.rstrip("/") + path


async def acting(request: Request, live: Annotated[Live, Security(bearer)]) -> Acting:
    """`Annotated[Acting, Security(acting, scopes=["users:read"])]`.

    Whoever may not ask at all hears that first; then what they asked has to make sense.
    """
    check_query(request)
    return Acting(request.app.state.services, live)


@dataclass(frozen=True, slots=True)
class ActingUser:
    services: Services
    live: Live
    user: UserSnapshot


async def acting_user(actor: Annotated[Acting, Security(acting)]) -> ActingUser:
    if actor.live.user is None:
        raise Forbidden("the token is a client's own, there is no user behind it")
    if not actor.live.sees_account:
        raise InsufficientScope(f"the token lacks the scope {ACCOUNT}", scope=ACCOUNT)
    return ActingUser(actor.services, actor.live, actor.live.user)


Me = Annotated[ActingUser, Security(acting_user)]
"""The user behind the token, to be told of their own affairs."""
ChangingMe = Annotated[ActingUser, Security(acting_user, scopes=[ACCOUNT])]
"""The same, to change them."""
