"""From what stands in an address to what a client asks for.

A request may be spelled out, pushed before (RFC 9126) or signed (RFC 9101). Of the last two the
address has one parameter beside `client_id`: what a browser adds neither completes nor changes it.
"""

from collections.abc import Sequence
from dataclasses import replace

from identity.authentication.marks import Mark, digest_of
from identity.clock import now
from identity.dataclass import dataclass
from identity.directory.clients.registry import ClientSnapshot
from identity.errors import Conflict, InvalidRequest, InvalidRequestUri
from identity.http import cookies
from identity.http.messages import Request
from identity.oauth.authorize import request as requests
from identity.oauth.authorize.documents import Documents, is_document
from identity.oauth.authorize.request import Parameters, ReturnAddress
from identity.oauth.authorize.request_objects import RequestObjects, signs
from identity.service.wiring import Services
from identity.tokens import pushed

NOT_GOOD = "this request has expired, or was never made: go back to the application"


@dataclass(frozen=True, slots=True)
class Carried:
    """What stands in the address, and has to on the way back from a page."""

    parameters: Parameters
    marked: Parameters
    """What a mark is of."""
    mark: Mark | None

    @property
    def digest(self) -> bytes:
        return digest_of(self.marked)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request whose answer has an address."""

    carried: Carried
    asked: Parameters
    back: ReturnAddress
    pushed: str | None = None
    """The digest of the pushed request that it is."""
    signed: bool = False


class Arrivals:
    def __init__(self, services: Services, documents: Documents) -> None:
        self._services = services
        self._documents = documents
        self._objects = RequestObjects.of(services)

    async def arrived(self, request: Request, pairs: Sequence[tuple[str, str]]) -> Arrived:
        """Raises what must be said on a page."""
        parameters, mark = requests.without_mark(pairs)
        client = await self._client(requests.client_id(parameters))
        text = requests.only(parameters, "request")
        name = requests.only(parameters, "request_uri")
        if text is not None and name is not None:
            raise InvalidRequest("request and request_uri exclude each other")
        if name is not None and name.startswith(pushed.URN):
            return await self._pushed(request, name, client, mark)
        if signs(client) and text is not None:
            parameters = (("client_id", client.id), ("request", text))
            return await self._signed(request, parameters, text, client, mark)
        if signs(client) and name is not None and client.settings.request_uris:
            text = await self._objects.fetched(name, client)
            parameters = (("client_id", client.id), ("request_uri", name))
            return await self._signed(request, parameters, text, client, mark)
        back = requests.addressed(parameters, client)
        return Arrived(self._carried(request, parameters, mark), parameters, back)

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

    async def _pushed(
        self, request: Request, name: str, client: ClientSnapshot, mark: str | None
    ) -> Arrived:
        carried = self._carried(request, (("client_id", client.id), ("request_uri", name)), mark)
        found = await pushed.look(self._services.db, name)
        if found is None or found.client_id != client.id:
            why = "unknown" if found is None else "another client's"
            raise InvalidRequestUri(NOT_GOOD, audit=f"pushed request: {why}")
        if found.used:
            raise Conflict(pushed.ANSWERED)
        if not found.fresh and carried.mark is None:  # which says that somebody came in time
            raise InvalidRequestUri(NOT_GOOD, audit="pushed request: expired")
        back = requests.addressed(found.parameters, client)
        return Arrived(carried, found.parameters, back, pushed=found.digest)

    async def _signed(
        self,
        request: Request,
        parameters: Parameters,
        text: str,
        client: ClientSnapshot,
        mark: str | None,
    ) -> Arrived:
        # Of one that lies elsewhere, too, the mark is that of its text: another one later is
        # another request, which nobody has looked at.
        carried = self._carried(request, parameters, mark, (*parameters, ("request", text)))
        seen = carried.mark.first_seen if carried.mark is not None else now()
        asked = await self._objects.opened(text, client, seen)
        return Arrived(carried, asked, requests.addressed(asked, client), signed=True)

    def _carried(
        self,
        request: Request,
        parameters: Parameters,
        text: str | None,
        marked: Parameters | None = None,
    ) -> Carried:
        carried = Carried(parameters, marked or parameters, None)
        if text is None:
            return carried
        known = self._services.cookies.read(request, cookies.BROWSER)
        mark = self._services.marks.open(text, carried.digest, known)
        return replace(carried, mark=mark)
