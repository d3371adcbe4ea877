"""`/account/data`: all that is known of oneself, to take along, and the way out."""

import orjson

from identity.http.messages import Request, Response
from identity.pages.account.own import ALONE, FINE, Errors, OwnPage
from identity.pages.registry import House
from identity.service import own_account
from identity.service.interactions import Person


class Data(OwnPage):
    name, fresh = "data", True

    async def show(
        self, request: Request, person: Person, errors: Errors = FINE, *, status: int = 200
    ) -> Response:
        return self.page(request, person, status=status, errors=errors)

    async def act(self, request: Request, person: Person, form: dict[str, str]) -> Response:
        """Asked by a form, so that no page elsewhere makes a browser fetch it."""
        if form.get("act") != "download":
            return self.back()
        found = await self.services.db.read(lambda s: own_account.data(s, person.user.id))
        self.services.queue.put("user.data_downloaded", subject=person.user.id)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-disposition", b'attachment; filename="account.json"'),
            ALONE,
        ]
        return Response(200, headers, orjson.dumps(found, option=orjson.OPT_INDENT_2))


async def page(house: House) -> Data:
    return Data(house, await house.rendering())
