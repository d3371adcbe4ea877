"""Acts for which a token must be of a login that is fresh, and as sure as its user can make it."""

from identity.authentication import levels
from identity.errors import LoginTooOld
from identity.tokens.live import Live

TOO_OLD = (
    "The token lacks a scope, or its login is older than five minutes, or was by password alone "
    "though its user has a second factor; see `WWW-Authenticate`."
)


def check_stepped_up(live: Live, *, second_factor: bool) -> None:
    """`second_factor`: whether the user has one. Raises `LoginTooOld`, which says what to do."""
    claims = live.claims.claims
    acr, proven_at = claims.get("acr"), claims.get("auth_time", 0)
    if not levels.stepped_up(acr, proven_at, second_factor=second_factor):
        raise LoginTooOld(
            "it takes a new login" + (", with the second factor" if second_factor else ""),
            max_age=levels.STEP_UP,
            acr="aal2" if second_factor else None,
        )
