"""What a client may have of a user who is there to agree to it."""

from collections.abc import Collection, Mapping, Sequence

from identity.directory.access import granting
from identity.directory.clients.registry import ClientSnapshot
from identity.directory.users.snapshot import UserSnapshot
from identity.tokens.subjects import is_pairwise


def granted_scopes(
    client: ClientSnapshot,
    user: UserSnapshot,
    asked: str | None,
    scopes: Mapping[str, str | None],
    resource: str | None,
) -> tuple[str, ...]:
    """`resource`: the one that the request is for, None for this service or several. Raises
    `InvalidScope`."""
    names = granting.granted(
        asked,
        home=scopes,
        client=client.scopes,
        holder=user.scopes,
        audience=resource,
        default=client.default_scopes,
    )
    if is_pairwise(client):
        names = tuple(name for name in names if name in granting.OPENID)
    if "refresh_token" in client.grants:
        return names
    return tuple(name for name in names if name != "offline_access")


def at_token(
    client: ClientSnapshot,
    holder: Collection[str] | None,
    asked: str | None,
    scopes: Mapping[str, str | None],
    resource: str | None,
    default_audience: str,
    *,
    default: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """What a request for a token ends up with. `holder`: the user's scopes, None without one;
    `default`: what is asked for where the request does not say, the client's own if None. Raises
    `InvalidScope`."""
    return granting.granted(
        asked,
        home=scopes,
        client=client.scopes,
        holder=holder,
        audience=resource if resource != default_audience else None,
        default=client.default_scopes if default is None else default,
    )
