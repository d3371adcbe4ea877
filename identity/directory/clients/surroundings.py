"""What a client's settings demand of the world around the directory. Whoever makes or changes a
client finds it out before the unit of work that does so."""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, get_args

from identity.directory.clients.settings import ClientSettings
from identity.setting_types import Algorithm

Problem = tuple[str, str]
SIGNED_BY_US: Final = (
    "id_token_signed_response_alg",
    "userinfo_signed_response_alg",
    "authorization_signed_response_alg",
)


class Surroundings(NamedTuple):
    algorithms: Collection[str] = ("ES256", "RS256")
    """Those that this service has keys of, for what it tells clients."""
    sectors: Mapping[str, Collection[str]] = MappingProxyType({})
    """What documents at `sector_identifier_uri` list, by their address."""


UNSEEN: Final = Surroundings()


def taken_for_granted(chosen: Mapping[str, Any]) -> Surroundings:
    """As if all were as these settings want it: for whoever looks later."""
    sector, redirects = chosen.get("sector_identifier_uri"), chosen.get("redirect_uris") or ()
    return Surroundings(get_args(Algorithm), {sector: redirects} if sector else {})


def problems(
    before: ClientSettings, chosen: ClientSettings, around: Surroundings
) -> Iterator[Problem]:
    """Of what differs from `before`: what was good once stays."""
    yield from _algorithms(before, chosen, around)
    yield from _sector(before, chosen, around)


def _algorithms(
    before: ClientSettings, chosen: ClientSettings, around: Surroundings
) -> Iterator[Problem]:
    for name in SIGNED_BY_US:
        algorithm = getattr(chosen, name)
        if algorithm not in (None, getattr(before, name), *around.algorithms):
            there = ", ".join(around.algorithms)
            words = f"must be one of {there}: this service has no other keys"
            yield f"/{name}", f"{words} (IDENTITY_ID_TOKEN_ALGORITHMS)"


def _sector(
    before: ClientSettings, chosen: ClientSettings, around: Surroundings
) -> Iterator[Problem]:
    """OpenID Connect Registration §5: who answers for the sector lists whom it has in it."""
    sector, redirects = chosen.sector_identifier_uri, chosen.redirect_uris
    if sector is None or (sector, redirects) == (
        before.sector_identifier_uri,
        before.redirect_uris,
    ):
        return
    listed = around.sectors.get(sector)
    if listed is None:
        yield "/sector_identifier_uri", "has not been looked at: try again"
        return
    for n, uri in enumerate(redirects):
        if uri not in listed:
            yield f"/redirect_uris/{n}", "is not in the list at sector_identifier_uri"
