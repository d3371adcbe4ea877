"""Who answers for the sector of a client with pairwise subjects: the document at its
`sector_identifier_uri`, a list of redirect URIs (OpenID Connect Registration §5)."""

from typing import Final

import orjson

from identity.directory import uris
from identity.directory.clients.surroundings import Surroundings
from identity.errors import ValidationFailed
from identity.http.fetching import Fetcher, FetchFailed
from identity.settings import Settings

MOST: Final = 1000
"""Redirect URIs of a sector."""
WHERE: Final = "/sector_identifier_uri"


async def surroundings(
    fetcher: Fetcher, settings: Settings, sector: str | None, *, trusted: bool, fresh: bool = True
) -> Surroundings:
    """`sector`: the `sector_identifier_uri` of a client that is to be made or changed. `trusted`:
    an administrator wrote it down. `fresh`: what is kept will not do. Raises `ValidationFailed`
    where it leads to no list."""
    algorithms = settings.keys.offered
    # What is wrong with an address is said with all else that is.
    if sector is None or uris.web_problem(sector, local=False) is not None:
        return Surroundings(algorithms)
    listed = await _listed(fetcher, sector, trusted=trusted, fresh=fresh)
    return Surroundings(algorithms, {sector: listed})


async def _listed(fetcher: Fetcher, sector: str, *, trusted: bool, fresh: bool) -> frozenset[str]:
    try:
        fetched = await fetcher.get(sector, trusted=trusted, fresh=fresh)
    except FetchFailed as failure:
        words = f"cannot be read: {failure}" if trusted else "cannot be read"
        raise ValidationFailed([(WHERE, words)]) from None
    try:
        found = orjson.loads(fetched.body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, list) or not all(isinstance(uri, str) for uri in found):
        raise ValidationFailed([(WHERE, "must lead to a JSON list of redirect URIs")])
    if len(found) > MOST:
        raise ValidationFailed([(WHERE, f"leads to a list of more than {MOST}")])
    return frozenset(found)
