"""Which pages there are. A page is a module here and a line below: its address, and what it may be
asked by. Nothing of it is imported before it is first asked for (as `http.deferred`)."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from identity.directory.clients.grant_kinds import GrantKind
from identity.errors import Forbidden, IdentityError
from identity.http import cookies
from identity.http.messages import Request, Response
from identity.http.origins import from_elsewhere, origin_of
from identity.pages import load
from identity.pages.console.screens import SCREENS
from identity.service.interactions import Authorizations, Devices, Logouts
from identity.service.wiring import Services

if TYPE_CHECKING:
    from identity.pages.rendering import Rendering


class Entry(NamedTuple):
    path: str
    module: str
    methods: tuple[str, ...] = ("GET", "POST")


PAGES = (
    Entry("/sign-in", "signing_in"),
    Entry("/consent", "consent"),
    Entry("/sign-out", "signing_out"),
    Entry("/device", "device"),
    Entry("/account/factors", "account.factors"),
    Entry("/static/{name}", "static", ("GET",)),
    *(Entry(each.path, f"console.{each.module}") for each in SCREENS),
)


class Page(Protocol):
    async def get(self, request: Request) -> Response: ...
    async def post(self, request: Request) -> Response: ...


class House:
    """What pages share. `rendering` is there once the first of them has been imported."""

    authorizations: Authorizations
    logouts: Logouts
    devices: Devices
    grants: Sequence[GrantKind]
    """Those that a client can be registered for."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.origin = origin_of(services.settings.issuer)
        self._rendering: Rendering | None = None
        self._opening = asyncio.Lock()

    async def open(self, module: str) -> Page:
        """The page of this module, imported in a thread."""
        await asyncio.sleep(0)  # a thread is waited for in a task (`wire.eager`)
        async with self._opening:
            loaded = await asyncio.to_thread(load, module)
        page: Page = await loaded.page(self)
        return page

    async def rendering(self) -> "Rendering":
        if self._rendering is None:
            await asyncio.sleep(0)
            from identity.pages.rendering import Rendering

            self._rendering = Rendering(self.services.settings)
        return self._rendering

    async def refusing(self, request: Request, error: IdentityError) -> Response:
        """The page that says what is wrong, with the status of `error`."""
        return (await self.rendering()).error(request, error)

    async def signed_out(
        self, applications: Sequence[str], headers: Sequence[tuple[bytes, bytes]]
    ) -> Response:
        """The page after signing out, which names the applications that this has ended."""
        return (await self.rendering()).signed_out(applications, headers)


class Door:
    """The handler of one page's address."""

    def __init__(self, house: House, entry: Entry) -> None:
        self._house = house
        self._module = entry.module
        self._page: Page | None = None

    async def __call__(self, request: Request) -> Response:
        try:
            if self._page is None:
                self._page = await self._house.open(self._module)
            if request.scope["method"] in ("GET", "HEAD"):
                return await self._page.get(request)
            self._guard(request)
            return await self._page.post(request)
        except IdentityError as error:
            return await self._house.refusing(request, error)

    def _guard(self, request: Request) -> None:
        """That the form was one of ours: a cookie comes along whoever sends it. Browsers say where
        a form was, those that do not are none, and carry no cookie of ours."""
        elsewhere = from_elsewhere(request, self._house.origin)
        jar = self._house.services.cookies
        if elsewhere is None:
            elsewhere = jar.read(request, cookies.SESSION) is not None
        if elsewhere:
            raise Forbidden("This form was not sent from our own page.")
