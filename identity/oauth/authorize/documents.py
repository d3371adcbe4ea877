"""Clients that are described at their own address (draft-ietf-oauth-client-id-metadata-document):
an https URL as `client_id`, and nobody has registered anything.

The document is fetched when a person comes with such a request, by the guarded fetcher, which
bounds and shares what it keeps. Nothing is written before that person has signed in and agreed.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from sqlmodel import Session

from identity.authentication import sectors
from identity.directory import uris
from identity.directory.clients import registrations, rules, self_described
from identity.directory.clients.grant_kinds import GrantKind
from identity.directory.clients.registry import ClientSnapshot
from identity.directory.clients.self_described import Described
from identity.directory.clients.settings import load
from identity.directory.clients.surroundings import Surroundings
from identity.directory.clients.table import Client
from identity.errors import IdentityError, InvalidClientMetadata, InvalidRequest, ValidationFailed
from identity.http.accepting import is_json
from identity.http.fetching import FetchFailed
from identity.service.wiring import Services
from identity.verifier.gate.encoding import json_object

LARGEST = 8 * 1024
"""Octets of a document; the draft recommends five thousand (§6.6)."""
LONGEST = 400
"""Characters of its address."""
_SHARED = ("client_secret", "client_secret_expires_at")
"""What nobody shares with whoever reads the document (§4.1)."""


class Documents:
    def __init__(self, services: Services, grants: Sequence[GrantKind]) -> None:
        self._services = services
        self._grants = grants
        self._known = [grant.grant_type for grant in grants]
        self._on = services.settings.registration.client_metadata_documents
        self._most = services.settings.registration.registration_most

    async def find(self, client_id: str) -> ClientSnapshot:
        """The client as its document has it now. `InvalidRequest` where it has none of use, an
        administrator has disabled it, or such clients are not welcome (any more)."""
        if not self._on:
            raise InvalidRequest("this client is not known here", audit="a document's address")
        known = await self._services.clients.get(client_id)
        if known is not None and not known.active:
            raise InvalidRequest("an administrator has disabled this client")
        described = await self._described(client_id)
        client = Client(id=client_id, type="public", name=described.name)
        try:
            around = await self._surroundings(described.settings)
            rules.choose(client, described.settings, around)
        except ValidationFailed as mistakes:
            raise _unusable(self_described.in_their_words(mistakes)) from None
        return ClientSnapshot(
            id=client_id,
            confidential=False,
            active=True,
            grants=frozenset(described.grants),
            scopes=frozenset(described.scopes),
            default_scopes=tuple(described.default_scopes),
            audiences=frozenset(),
            secrets=(),
            good_from=0,
            builtin=False,
            settings=load(client.settings),
            name=client.name,
            self_registered=True,
        )

    async def keep(self, client: ClientSnapshot) -> None:
        """A person has agreed: the client is one of ours from now on, as they were shown it. Raises
        `Forbidden` where an administrator has decided otherwise, `Overloaded`."""
        described = Described(
            name=client.name,
            type="public",
            grants=sorted(client.grants),
            scopes=sorted(client.scopes),
            default_scopes=list(client.default_scopes or ()),
            settings=client.settings.stored(),
        )

        around = await self._surroundings(described.settings)

        def unit(session: Session) -> None:
            registrations.keep_described(
                session, client.id, described,
                most=self._most, known_grants=self._grants, around=around,
            )  # fmt: skip

        await self._services.db.write(unit)
        await self._services.feed.catch_up()

    async def _surroundings(self, settings: Mapping[str, Any]) -> Surroundings:
        services, sector = self._services, settings.get("sector_identifier_uri")
        return await sectors.surroundings(
            services.fetcher, services.settings, sector, trusted=False, fresh=False
        )

    async def _described(self, client_id: str) -> Described:
        try:
            fetched = await self._services.fetcher.get(client_id, trusted=False, limit=LARGEST)
        except FetchFailed as failure:
            raise InvalidRequest(
                "the client's document cannot be read", audit=str(failure)
            ) from None
        # §4. At an address where anybody may put a text, as forges show files, nobody but its host
        # says that a text is a document.
        if not is_json(fetched.headers.get("content-type", "")):
            raise InvalidRequest("the client's document must be served as application/json")
        opened = await self._services.db.read(self_described.open_scopes)
        try:
            document = json_object(fetched.body)
            if document.get("client_id") != client_id:
                raise InvalidClientMetadata("client_id must be the document's own address")
            if shared := [name for name in _SHARED if name in document]:
                raise InvalidClientMetadata(f"{shared[0]} cannot be in a document")
            method = document.get("token_endpoint_auth_method", "none")
            if method != "none":
                raise InvalidClientMetadata("token_endpoint_auth_method must be none")
            return self_described.read(document, opened, self._known, public=True)
        except ValueError as mistake:
            raise InvalidRequest(f"the client's document: {mistake}") from None
        except IdentityError as mistake:
            raise _unusable(mistake) from None


def is_document(client_id: str) -> bool:
    """§3: https, with a path, nothing that a parser may see otherwise than we do. On the machine
    itself http will do, where the fetcher takes it."""
    if not client_id.startswith(("https://", "http://")) or len(client_id) > LONGEST:
        return False
    if uris.web_problem(client_id) is not None:
        return False
    path = urlsplit(client_id).path
    return path not in ("", "/") and not {".", ".."} & set(path.split("/"))


def _unusable(mistake: IdentityError) -> InvalidRequest:
    return InvalidRequest(f"the client's document: {mistake.detail}")
