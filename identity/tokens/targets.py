"""For which resource a token is to be (RFC 8707)."""

from collections.abc import Collection, Mapping, Sequence
from urllib.parse import urlsplit

from identity.directory.access import granting
from identity.directory.clients.registry import ClientSnapshot
from identity.errors import InvalidTarget
from identity.tokens.subjects import is_pairwise


def target(
    named: str | None,
    asked: str | None,
    client: ClientSnapshot,
    own: Collection[str],
    scopes: Mapping[str, str | None],
) -> str | None:
    """The resource that a request names (§2), if the client may; where it names none, the one to
    which all scopes that it asks for belong, again if the client may. `own`: this service's
    audiences. `scopes`: as `granting.home_of_scopes` gives them."""
    if asked is None and client.default_scopes is not None:
        asked = " ".join(client.default_scopes)
    theirs = granting.resource_of(asked, scopes)
    resource = theirs if named is None else named
    if resource is None or resource in client.audiences or resource in own:
        return resource
    if granting.opens(client.scopes, asked, resource, scopes):
        return resource
    if named is None:
        return resource if client.builtin else None
    try:
        parts = urlsplit(resource)
        absolute = bool(parts.scheme) and "#" not in resource
    except ValueError:
        absolute = False
    if not absolute:
        raise InvalidTarget("resource must be an absolute URI without fragment")
    raise InvalidTarget("the client may not ask for tokens for this resource")


def may_still(
    client: ClientSnapshot, resource: str, own: Collection[str], scopes: Mapping[str, str | None]
) -> bool:
    """Whether a client that was given a resource by `target` could be given it now, whichever of
    its scopes it asked for then."""
    if resource in own or resource in client.audiences or client.builtin:
        return True
    return any(scopes.get(name) == resource for name in client.scopes)


def targets(
    named: Sequence[str],
    asked: str | None,
    client: ClientSnapshot,
    own: Collection[str],
    scopes: Mapping[str, str | None],
) -> tuple[str, ...]:
    """The same of a request that is granted before it is known for which of its resources each
    token is to be."""
    if is_pairwise(client):
        if not set(own).issuperset(named):
            raise InvalidTarget("a client with pairwise subjects gets tokens for us alone")
        return ()
    found = [target(each, asked, client, own, scopes) for each in named or (None,)]
    return tuple(dict.fromkeys(each for each in found if each is not None))


def at_token(
    named: str | None,
    asked: str | None,
    client: ClientSnapshot,
    own: Collection[str],
    scopes: Mapping[str, str | None],
    issuer: str,
) -> str | None:
    """`target` of a request for a token. Raises `InvalidTarget`."""
    if is_pairwise(client):
        if named not in (None, *own):
            raise InvalidTarget("a client with pairwise subjects gets tokens for us alone")
        return issuer
    return target(named, asked, client, own, scopes)
