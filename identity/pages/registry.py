"""Which pages there are. A page is a module here and a line below: its address, and what it may be
asked by. Nothing of it is imported before it is first asked for (as `http.deferred`)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

import orjson

from identity.directory.clients.grant_kinds import GrantKind
from identity.errors import Forbidden, IdentityError, NotFound
from identity.http import cookies
from identity.http.accepting import prefers_page
from identity.http.messages import Request, Response
from identity.http.origins import from_elsewhere, origin_of
from identity.pages import catalogues, fresh, load
from identity.pages.console.screens import SCREENS
from identity.pages.languages import COOKIE, ENGLISH, Languages, Speech, speech
from identity.pages.looks import Looks, brand
from identity.pages.words import _
from identity.service.interactions import Authorizations, Devices, Logouts
from identity.service.people import looking
from identity.service.wiring import Services

if TYPE_CHECKING:
    from identity.pages.rendering import Rendering


class Entry(NamedTuple):
    path: str
    module: str
    methods: tuple[str, ...] = ("GET", "POST")
    speaks: bool = True
    """Whether it says anything in anybody's language."""


PAGES = (
    Entry("/sign-in", "signing_in"),
    Entry("/consent", "consent"),
    Entry("/sign-out", "signing_out"),
    Entry("/device", "device"),
    Entry("/reset-password", "mail.reset_password"),
    Entry("/verify-email", "mail.verify_email"),
    Entry("/invitation", "mail.invitation"),
    Entry("/enrolment", "enrolment"),
    Entry("/sign-up", "mail.sign_up"),
    Entry("/account/offer", "account.offer"),
    Entry("/.well-known/change-password", "mail.change_password", ("GET",), speaks=False),
    Entry("/dev/mail", "mail.dev_mail", ("GET",)),
    Entry("/account/passkeys", "account.passkeys"),
    Entry("/.well-known/passkey-endpoints", "well_known", ("GET",), speaks=False),
    Entry("/.well-known/webauthn", "well_known", ("GET",), speaks=False),
    Entry("/language", "language"),
    Entry("/account", "account.overview"),
    Entry("/account/profile", "account.profile"),
    Entry("/account/email", "account.email"),
    Entry("/account/password", "account.password"),
    Entry("/account/factors", "account.factors"),
    Entry("/account/notices", "account.notices"),
    Entry("/account/sessions", "account.sessions"),
    Entry("/account/applications", "account.applications"),
    Entry("/account/history", "account.history"),
    Entry("/account/not-me", "account.not_me"),
    Entry("/account/data", "account.data"),
    Entry("/account/delete", "account.deletion"),
    *(Entry(each.path, f"console.{each.module}") for each in SCREENS),
    Entry("/static/{name}", "static", ("GET",), speaks=False),
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
        self.languages = Languages.of(production=services.settings.production)
        self.looks = Looks(services)
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
        rendering = await self.rendering()
        async with self.speaking(request):
            return rendering.error(request, error)

    async def lost(self, request: Request, error: IdentityError) -> Response | None:
        """The same for people, where there is no such address, or it cannot be asked like that;
        None for a program."""
        if not prefers_page(request.header(b"accept")):
            return None
        if isinstance(error, NotFound):
            words = _("There is no page at this address. It may be mistyped or out of date.")
        else:
            words = _("This address is not for browsers, or not to be asked in this way.")
        error.detail = words
        return await self.refusing(request, error)

    async def signed_out(
        self,
        request: Request,
        applications: Sequence[str],
        headers: Sequence[tuple[bytes, bytes]],
    ) -> Response:
        """The page after signing out, which names the applications that this has ended."""
        rendering = await self.rendering()
        async with self.speaking(request):
            return rendering.signed_out(applications, headers)

    @asynccontextmanager
    async def speaking(self, request: Request) -> AsyncIterator[None]:
        """In the language of whoever asks, as the brand is by now; what goes wrong in finding out
        is said by what asks the database next."""
        before = speech.set(await self._speech(request))
        looked = brand.set(await self.looks.now(request))
        try:
            await catalogues.ready(speech.get().language)
            yield
        finally:
            brand.reset(looked)
            speech.reset(before)

    async def _speech(self, request: Request) -> Speech:
        jar, languages = self.services.cookies, self.languages
        language = languages.asked_for(request) or languages.first_of(jar.read(request, COOKIE))
        accepted = languages.accepted(request.header(b"accept-language")) or ENGLISH
        if jar.read(request, cookies.SESSION) is None:
            return Speech(language or accepted)
        try:
            await fresh.catch_up(self.services, request)
            person = await looking(self.services, request)
        except IdentityError:
            return Speech(language or accepted)
        shown = orjson.loads(person.user.shown) if person else {}
        own = languages.first_of(shown.get("locale"))
        return Speech(language or own or accepted, shown.get("zoneinfo"))


class Door:
    """The handler of one page's address."""

    def __init__(self, house: House, entry: Entry) -> None:
        self._house = house
        self._module = entry.module
        self._speaks = entry.speaks
        self._page: Page | None = None

    async def __call__(self, request: Request) -> Response:
        if not self._speaks:
            return await self._answer(request)
        async with self._house.speaking(request):
            return await self._answer(request)

    async def _answer(self, request: Request) -> Response:
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
        a form was (Fetch Metadata, or `Origin` where they are older); those that say nothing are
        none, and carry no cookie of ours. Every page is behind this door, and nothing else that is
        told anything by POST goes by the session's cookie."""
        elsewhere = from_elsewhere(request, self._house.origin)
        if elsewhere is None:
            jar = self._house.services.cookies
            carried = (jar.read(request, each) for each in (cookies.SESSION, cookies.BROWSER))
            elsewhere = any(cookie is not None for cookie in carried)
        if elsewhere:
            raise Forbidden(_("This form was not sent from our own page."))
