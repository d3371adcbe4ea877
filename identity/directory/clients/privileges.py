"""Which settings give a client more than `clients:write` gives whoever sets them (decision 40).

Asked of what the client would be, and of what it is: who may not give it may not touch it either.
"""

from identity.directory.access.authority import Held
from identity.directory.clients.settings import ClientSettings
from identity.errors import Forbidden

SEES_USERS = "users:read"


def check_settings(held: Held, settings: ClientSettings) -> None:
    """Raise `Forbidden` for what `held` may not give."""
    if held is None:
        return
    if settings.first_party and not held.holds_everything:
        raise Forbidden(
            "first_party takes every built-in scope, and you do not hold them all: nobody would be "
            "asked before the client acts for them"
        )
    if settings.token_exchange_impersonation and not held.holds_everything:
        raise Forbidden(
            "token_exchange_impersonation takes every built-in scope, and you do not hold them all"
        )
    if settings.claims and SEES_USERS not in held.scopes:
        raise Forbidden(
            f"claims takes the scope {SEES_USERS}: the client would be told users' attributes"
        )
