"""Which claims of a user a scope releases (OpenID Connect Core §5.4)."""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import orjson

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


def released(
    user: UserSnapshot,
    scopes: Collection[str],
    mapped: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """What `scopes` release of the user, without what is not known. `mapped`: the client's setting
    `claims`, `{scope: {claim: attribute}}`."""
    shown = orjson.loads(user.shown)
    known = dict(_known(user, shown))
    said = {
        claim: known[claim]
        for scope, claims in SCOPES.items()
        if scope in scopes
        for claim in claims
        if claim in known
    }
    for scope, claims in (mapped or {}).items():
        if scope in scopes:
            said |= _mapped(shown["attributes"], claims)
    return said


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
