"""From what stands in an address to what a client asks for.

A request may be spelled out, or pushed before (RFC 9126). Of one that was pushed the address has
nothing but its name: what a browser adds neither completes nor changes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from identity.authentication.marks import Mark, digest_of
from identity.directory.clients.registry import ClientSnapshot
from identity.errors import Conflict, InvalidRequestUri
from identity.http import cookies
from identity.http.messages import Request
from identity.oauth.authorize import request as requests
from identity.oauth.authorize.documents import Documents, is_document
from identity.oauth.authorize.request import Parameters, ReturnAddress
from identity.service.wiring import Services
from identity.tokens import pushed

NOT_GOOD = "this request has expired, or was never made: go back to the application"


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request whose answer has an address."""

    carried: Parameters
    """What stands in the address, and has to on the way back from a page."""
    mark: Mark | None
    asked: Parameters
    back: ReturnAddress
    pushed: str | None = None
    """The digest of the pushed request that it is."""


class Arrivals:
    def __init__(self, services: Services, documents: Documents) -> None:
        self._services = services
        self._documents = documents

    async def arrived(self, request: Request, pairs: Sequence[tuple[str, str]]) -> Arrived:
        """Raises what must be said on a page."""
        carried, mark_text = requests.without_mark(pairs)
        client = await self._client(requests.client_id(carried))
        name = requests.only(carried, "request_uri")
        if name is not None and name.startswith(pushed.URN):
            carried = (("client_id", client.id), ("request_uri", name))
            mark = self._mark(request, carried, mark_text)
            found = await self._pushed(name, client, mark)
            back = requests.addressed(found.parameters, client)
            return Arrived(carried, mark, found.parameters, back, found.digest)
        back = requests.addressed(carried, client)
        return Arrived(carried, self._mark(request, carried, mark_text), carried, back)

    async def _client(self, wanted: str) -> ClientSnapshot:
        await self._services.feed.catch_up()
        if is_document(wanted):
            return await self._documents.find(wanted)
        client = self._services.clients.at_hand(wanted)
        if client is None:
            client = await self._services.clients.get(wanted)
            # What is remembered besides shall be no older: a consent is withdrawn with what was
            # read here.
            await self._services.feed.catch_up()
        return requests.known(client)

    def _mark(self, request: Request, carried: Parameters, text: str | None) -> Mark | None:
        if text is None:
            return None
        known = self._services.cookies.read(request, cookies.BROWSER)
        return self._services.marks.open(text, digest_of(carried), known)

    async def _pushed(self, name: str, client: ClientSnapshot, mark: Mark | None) -> pushed.Pushed:
        """A mark says that somebody came with it in time."""
        found = await pushed.look(self._services.db, name)
        if found is None or found.client_id != client.id:
            why = "unknown" if found is None else "another client's"
            raise InvalidRequestUri(NOT_GOOD, audit=f"pushed request: {why}")
        if found.used:
            raise Conflict(pushed.ANSWERED)
        if not found.fresh and mark is None:
            raise InvalidRequestUri(NOT_GOOD, audit="pushed request: expired")
        return found
