"""`/language`: which language do you read? Chosen for this browser, whoever sits there."""

from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages import returning
from identity.pages.languages import COOKIE
from identity.pages.registry import House
from identity.pages.rendering import Rendering

A_YEAR = 365 * 24 * 3600


class Choosing:
    def __init__(self, house: House, rendering: Rendering) -> None:
        self._house = house
        self._rendering = rendering

    async def get(self, request: Request) -> Response:
        return self._rendering.page(
            "language.html",
            forms_stay=True,
            languages=self._house.languages.known,
            back=self._came_from(request),
        )

    async def post(self, request: Request) -> Response:
        form = await request.form()
        language = self._house.languages.named(form.get("language", ""))
        back = form.get("back", "")
        if not returning.is_ours(back, self._rendering.base):
            back = f"{self._rendering.base}/account"
        headers = []
        if language is not None:
            headers.append(self._house.services.cookies.set(COOKIE, language.tag, A_YEAR))
        return see_other(back, headers)

    def _came_from(self, request: Request) -> str:
        """The page of ours that led here, as far as the browser says."""
        address = (request.header(b"referer") or b"").decode("latin-1")
        origin = self._house.origin
        return address[len(origin) :] if address.startswith(f"{origin}/") else ""


async def page(house: House) -> Choosing:
    return Choosing(house, await house.rendering())
