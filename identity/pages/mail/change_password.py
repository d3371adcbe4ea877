"""`/.well-known/change-password`: where password managers look for the page that changes one."""

from identity.errors import MethodNotAllowed
from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.pages.registry import PAGES, House

CHOICES = ("/account/password", "/reset-password")
"""The first of these that there is."""


class ChangePassword:
    def __init__(self, house: House, base: str) -> None:
        there = [entry.path for entry in PAGES]
        mails = house.services.mails.on
        found = [each for each in CHOICES if each in there and (mails or "reset" not in each)]
        self._to = base + next(iter(found), "/sign-in")

    async def get(self, request: Request) -> Response:
        return see_other(self._to)

    async def post(self, request: Request) -> Response:
        raise MethodNotAllowed(["GET"])


async def page(house: House) -> ChangePassword:
    return ChangePassword(house, (await house.rendering()).base)
