"""Which grants there are: the `/token` form, the metadata, what a client may be registered for and
what the command line knows all come from here."""

from identity.oauth.grants.authorization_code import AuthorizationCode
from identity.oauth.grants.client_credentials import ClientCredentials
from identity.oauth.grants.device_code import DeviceCode
from identity.oauth.grants.jwt_bearer import JwtBearer
from identity.oauth.grants.password import Password
from identity.oauth.grants.refresh_token import RefreshToken
from identity.oauth.grants.request import Grant
from identity.oauth.grants.token_exchange import TokenExchange

GRANTS: tuple[type[Grant], ...] = (
    Password,
    RefreshToken,
    ClientCredentials,
    AuthorizationCode,
    DeviceCode,
    TokenExchange,
    JwtBearer,
)

CHOOSE_RESOURCE: frozenset[type[Grant]] = frozenset({TokenExchange})
"""Those that judge by themselves for which resource a token may be."""

AGREED_RESOURCE: frozenset[type[Grant]] = frozenset({AuthorizationCode, DeviceCode, RefreshToken})
"""Those whose token is for a resource that was granted before: they compare with that, for a token
request does not say again by which scopes it was come by."""
