"""What files say of clients that has to be looked up elsewhere, before the transaction."""

import asyncio
from collections.abc import Collection

from identity.authentication import sectors
from identity.cli.applying.files import Files
from identity.directory.clients.surroundings import Surroundings
from identity.errors import ValidationFailed
from identity.http.fetching import Fetcher
from identity.settings import Settings


def surroundings(settings: Settings, files: Files | None) -> Surroundings:
    """A list that cannot be read is left out: that is a mistake only where a client changes by
    it."""
    clients = files.entries["client"].values() if files else ()
    named = (entry.wanted.document.get("sector_identifier_uri") for entry in clients)
    addresses = sorted({address for address in named if address is not None})
    if not addresses:
        return Surroundings(settings.keys.offered)
    return asyncio.run(_look(settings, addresses))


async def _look(settings: Settings, addresses: Collection[str]) -> Surroundings:
    fetcher = Fetcher.of(settings)
    found: dict[str, Collection[str]] = {}
    try:
        for address in addresses:
            try:
                one = await sectors.surroundings(fetcher, settings, address, trusted=True)
            except ValidationFailed:
                continue
            found |= one.sectors
    finally:
        await fetcher.close()
    return Surroundings(settings.keys.offered, found)
