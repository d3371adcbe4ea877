"""`/static/{name}`: the pages' own style and pictures, under an address that changes with them.

What a brand brings is here too, by the digest of what it is: under a name there is this or
nothing, so no cache can hold anything else under it.
"""

import hashlib
import re
from functools import cache
from pathlib import Path

from identity.directory.branding.current import now_in_force
from identity.errors import MethodNotAllowed, NotFound
from identity.http.conditional import Published
from identity.http.messages import Request, Response
from identity.pages.registry import House

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
A_YEAR = 365 * 24 * 3600
_LOGO = re.compile(r"logo-([0-9a-f]{24})\.webp")


_BETWEEN = re.compile(rb"/\*.*?\*/|\s+", re.DOTALL)
_AROUND = re.compile(rb" ?([{};,]) ?")


def lean(css: bytes) -> bytes:
    """Without what only its readers need: a page with all that it loads is to be small."""
    return _AROUND.sub(rb"\1", _BETWEEN.sub(b" ", css)).strip()


@cache
def files() -> dict[str, Published]:
    found = {}
    for path in sorted(FOLDER.iterdir()):
        body = path.read_bytes()
        body = lean(body) if path.suffix == ".css" else body
        etag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
        found[path.name] = Published(body, etag, TYPES[path.suffix], A_YEAR)
    return found


@cache
def version() -> str:
    """Of all files together."""
    hashed = hashlib.sha256()
    for path in sorted(FOLDER.iterdir()):
        hashed.update(path.read_bytes())
    return hashed.hexdigest()[:12]


class Static:
    def __init__(self, house: House) -> None:
        self._services = house.services

    async def get(self, request: Request) -> Response:
        name = request.segment
        published = files().get(name)
        if published is None and name.startswith("brand-"):
            published = await self._sheet(name)
        if published is None and (logo := _LOGO.fullmatch(name)):
            published = await self._logo(name, logo[1])
        if published is None:
            raise NotFound("there is no such file")
        return published.answer(request)

    async def _sheet(self, name: str) -> Published | None:
        await self._services.feed.catch_up()
        brand = await now_in_force(self._services.brands)
        if name != brand.sheet_file:
            return None
        return Published(brand.sheet, f'"{name}"', TYPES[".css"], A_YEAR)

    async def _logo(self, name: str, digest: str) -> Published | None:
        await self._services.feed.catch_up()
        image = await self._services.logos.get(digest)
        return Published(image, f'"{name}"', b"image/webp", A_YEAR) if image else None

    async def post(self, request: Request) -> Response:
        raise MethodNotAllowed(["GET"])


async def page(house: House) -> Static:
    return Static(house)
