"""`/sign-out`: do you want to? A client may have asked (`/logout`); nobody signs another out."""

from identity.http.messages import Request, Response
from identity.pages import returning
from identity.pages.registry import House
from identity.pages.rendering import Rendering


class SigningOut:
    def __init__(self, house: House, rendering: Rendering) -> None:
        self._house = house
        self._rendering = rendering

    async def get(self, request: Request) -> Response:
        query = request.scope["query_string"].decode("latin-1")
        here = f"{self._rendering.base}/sign-out"
        return self._rendering.page("sign_out.html", action=f"{here}?{query}" if query else here)

    async def post(self, request: Request) -> Response:
        go_on = returning.to(request.query, self._rendering.base) if self._asked(request) else None
        return await self._house.logouts.confirmed(request, go_on)

    def _asked(self, request: Request) -> bool:
        """Whether a page of ours led here, and no client."""
        return b"to=" in request.scope["query_string"] and set(request.query) == {"to"}


async def page(house: House) -> SigningOut:
    return SigningOut(house, await house.rendering())
