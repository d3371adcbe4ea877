"""Whose pages these are: the brand, known to whatever is shown in the course of one request."""

from contextvars import ContextVar

from identity.directory.branding import current
from identity.directory.branding.current import PLAIN, Brand
from identity.errors import IdentityError
from identity.http.messages import Request
from identity.pages import fresh
from identity.service.wiring import Services

brand: ContextVar[Brand] = ContextVar("brand", default=PLAIN)


class Looks:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._last = PLAIN

    async def now(self, request: Request) -> Brand:
        """As it is by now; as it was last, where the database cannot be asked: the page that says
        so has to look like something."""
        try:
            await fresh.catch_up(self._services, request)
            self._last = await current.now_in_force(self._services.brands)
        except IdentityError:
            pass
        return self._last
