"""Which claims of a user a scope releases (OpenID Connect Core §5.4)."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from identity.directory.clients.registry import ClientSnapshot
from identity.directory.users.claim_names import may_map_to
from identity.directory.users.snapshot import UserSnapshot

SCOPES: Final[Mapping[str, tuple[str, ...]]] = {
    "profile": (
        "name", "given_name", "family_name", "preferred_username", "picture", "locale", "zoneinfo",
        "updated_at",
    ),
    "email": ("email", "email_verified"),
    "phone": ("phone_number", "phone_number_verified"),
    "address": ("address",),
    "groups": ("groups",),
}  # fmt: skip
"""What each releases; other scopes release what a client's `claims` say and nothing else."""


CLAIMS: Final[Mapping[str, str]] = {
    claim: scope for scope, claims in SCOPES.items() for claim in claims
}
"""What releases each."""


def released(
    user: UserSnapshot,
    scopes: Collection[str],
    mapped: Mapping[str, Mapping[str, str]] | None = None,
    names: Collection[str] = (),
) -> dict[str, Any]:
    """What `scopes` release of the user, without what is not known. `mapped`: the client's setting
    `claims`, `{scope: {claim: attribute}}`. `names`: single claims besides."""
    shown = orjson.loads(user.shown)
    known = dict(_known(user, shown))
    said = {
        claim: known[claim]
        for scope, claims in SCOPES.items()
        for claim in claims
        if claim in known and (scope in scopes or claim in names)
    }
    for scope, claims in (mapped or {}).items():
        if scope in scopes:
            said |= _mapped(shown["attributes"], claims)
    return said


def scopes_of(names: Iterable[str]) -> tuple[str, ...]:
    """What would release these claims, each once."""
    return tuple(dict.fromkeys(CLAIMS[name] for name in names if name in CLAIMS))


def asked_for(
    claims: Mapping[str, Sequence[str]] | None, place: str, client: ClientSnapshot
) -> list[str]:
    """Single claims that a code was granted for `place`, if the client may have them still."""
    if not claims:
        return []
    names = claims.get(place, ())
    return [name for name in names if name in CLAIMS and client.may_hold(CLAIMS[name])]


def _known(user: UserSnapshot, shown: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """§5.1: what has no value is left out, and never null."""
    yield "preferred_username", user.username
    yield "updated_at", int(datetime.fromisoformat(shown["updated_at"]).timestamp())
    yield "groups", list(user.roles)
    for name in ("name", "given_name", "family_name", "picture", "locale", "zoneinfo", "address"):
        if shown[name]:
            yield name, shown[name]
    for name in ("email", "phone_number"):
        if shown[name]:
            yield name, shown[name]
            yield f"{name}_verified", shown[f"{name}_verified"]


def _mapped(attributes: Mapping[str, Any], claims: Mapping[str, str]) -> dict[str, Any]:
    """What a protocol means by a name is not told by an attribute, whatever is stored."""
    return {
        claim: attributes[attribute]
        for claim, attribute in claims.items()
        if attribute in attributes and may_map_to(claim)
    }
