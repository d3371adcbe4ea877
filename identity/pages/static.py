"""`/static/{name}`: the pages' own style and pictures, under an address that changes with them."""

import hashlib
from functools import cache
from pathlib import Path

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


@cache
def files() -> dict[str, Published]:
    found = {}
    for path in sorted(FOLDER.iterdir()):
        body = path.read_bytes()
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
    async def get(self, request: Request) -> Response:
        published = files().get(request.segment)
        if published is None:
            raise NotFound("there is no such file")
        return published.answer(request)

    async def post(self, request: Request) -> Response:
        raise MethodNotAllowed(["GET"])


async def page(_: House) -> Static:
    return Static()
