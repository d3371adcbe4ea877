"""What a client may have of a user who is there to agree to it."""

from collections.abc import Mapping

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
