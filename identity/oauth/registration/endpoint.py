"""`POST /register` (RFC 7591): a program registers itself as a client, and `/register/{client_id}`
(RFC 7592): it looks after itself.

With `IDENTITY_REGISTRATION=token` whoever registers brings a bearer token with the scope
`clients:write`, or the word of a trusted issuer. With `open` nobody needs one, and what they get is
a public client.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlmodel import Session

from identity.authentication import sectors
from identity.directory.clients import accounts, registrations, self_described
from identity.directory.clients.grant_kinds import GrantKind
from identity.directory.clients.registrations import Registered
from identity.directory.clients.self_described import MAY_SAY, Described
from identity.directory.clients.settings import load
from identity.directory.clients.surroundings import Surroundings
from identity.directory.clients.table import Client
from identity.errors import (
    InvalidClientMetadata,
    InvalidSoftwareStatement,
    InvalidToken,
    MissingToken,
    NotFound,
    PayloadTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
)
from identity.http.messages import Request, Response, json_response
from identity.oauth.registration import statements
from identity.oauth.registration.statements import SoftwareStatement
from identity.opaque import digest
from identity.records import audit
from identity.records.audit.origins import network_of
from identity.service.wiring import Services
from identity.settings import Settings
from identity.tokens.sessions import lifecycle
from identity.verifier.gate.encoding import json_object

SCOPE = "clients:write"
LARGEST = 16 * 1024
"""Octets of what anybody may have us keep."""
_OURS = ("registration_access_token", "registration_client_uri", "client_id_issued_at",
         "client_secret_expires_at")  # fmt: skip
"""What an update must not bring (RFC 7592 §2.2)."""


class Registration:
    def __init__(self, services: Services, grants: Sequence[GrantKind]) -> None:
        self._services = services
        self._grants = grants
        self._known = [grant.grant_type for grant in grants]
        settings = services.settings
        self._how = settings.registration.registration
        self._most = settings.registration.registration_most
        self._address = f"{settings.issuer.rstrip('/')}/register"

    async def register(self, request: Request) -> Response:
        self._check_on()
        trusted = await self._is_trusted(request)
        document = await _document(request)
        statement = await self._stated(document.get(statements.NAME))
        if not trusted and statement is None and self._how != "open":
            await self._services.bearer(request, SCOPE)  # which says what is missing
        network = None if trusted else network_of(request.address)
        said = _said_of(document, statement)
        around = await self._surroundings(said)

        def unit(session: Session) -> tuple[int, dict[str, Any]]:
            public = network is not None and statement is None
            made = registrations.register(
                session,
                self._described(session, said, public=public),
                most=self._most,
                network=network,
                known_grants=self._grants,
                around=around,
                statement=statement.text if statement else None,
            )
            return 201, self._information(made)

        return await self._answer(unit)

    async def look(self, request: Request) -> Response:
        """`GET /register/{client_id}`."""

        def unit(session: Session, found: Registered) -> tuple[int, dict[str, Any]]:
            return 200, self._information(found)

        return await self._managed(request, unit)

    async def update(self, request: Request) -> Response:
        """`PUT /register/{client_id}`: what is left out goes back to what it is by default."""
        document = await _document(request)
        statement = await self._still_stated(request, document)
        said = _said_of(document, statement)
        around = await self._surroundings(said)

        def unit(session: Session, found: Registered) -> tuple[int, dict[str, Any]]:
            _check_same(session, found.client, document)
            if found.statement is not None and statement is None:
                raise InvalidSoftwareStatement("the client's has changed meanwhile")
            changed = registrations.update(
                session,
                found,
                self._described(session, said, public=found.client.type == "public"),
                known_grants=self._grants,
                around=around,
                statement=statement.text if statement else None,
            )
            return 200, self._information(changed)

        return await self._managed(request, unit)

    async def remove(self, request: Request) -> Response:
        """`DELETE /register/{client_id}`."""

        def unit(session: Session, found: Registered) -> tuple[int, None]:
            lifecycle.end_all(session, "client deleted", client_id=found.client.id)
            accounts.remove(session, found.client, None)
            return 204, None

        return await self._managed(request, unit)

    # --- Steps ------------------------------------------------------------------------------

    def _check_on(self) -> None:
        if self._how == "off":
            raise NotFound("nobody can register here: IDENTITY_REGISTRATION is off")

    async def _is_trusted(self, request: Request) -> bool:
        """Whether it brings a token of who may register clients, and not nobody's word."""
        if request.header(b"authorization") is None:
            return False
        await self._services.bearer(request, SCOPE)
        return True

    async def _stated(self, text: Any) -> SoftwareStatement | None:
        if text is None:
            return None
        await self._services.feed.catch_up()
        return await statements.read(self._services.trusted_issuers, text)

    async def _still_stated(
        self, request: Request, document: Mapping[str, Any]
    ) -> SoftwareStatement | None:
        """What the client brings, or has brought: what is said of it there it cannot change."""
        text = document.get(statements.NAME)
        if text is None:
            client_id, token = request.segment, _presented(request)
            text = await self._services.db.read(
                lambda session: registrations.statement_of(session, client_id, token)
            )
        return await self._stated(text)

    async def _surroundings(self, said: Mapping[str, Any]) -> Surroundings:
        services, sector = self._services, said.get("sector_identifier_uri")
        try:
            return await sectors.surroundings(
                services.fetcher,
                services.settings,
                sector if isinstance(sector, str) and sector else None,
                trusted=False,
            )
        except ValidationFailed as mistakes:
            raise self_described.in_their_words(mistakes) from None

    def _described(
        self, session: Session, document: Mapping[str, Any], *, public: bool
    ) -> Described:
        opened = self_described.open_scopes(session)
        return self_described.read(document, opened, self._known, public=public)

    async def _managed(
        self,
        request: Request,
        act: Callable[[Session, Registered], tuple[int, dict[str, Any] | None]],
    ) -> Response:
        presented, client_id = _presented(request), request.segment
        self._check_on()

        def unit(session: Session) -> tuple[int, dict[str, Any] | None]:
            found = registrations.find(session, client_id, presented)
            audit.act_as("client", client_id)
            return act(session, found)

        return await self._answer(unit)

    async def _answer(
        self, unit: Callable[[Session], tuple[int, dict[str, Any] | None]]
    ) -> Response:
        status, document = await self._services.db.write(unit)
        if document is None:
            return Response(status, [], b"")
        return json_response(document, status, [(b"pragma", b"no-cache")])

    def _information(self, registered: Registered) -> dict[str, Any]:
        """RFC 7591 §3.2.1."""
        client = registered.client
        said = {
            "client_id": client.id,
            "client_id_issued_at": int(client.created_at.timestamp()),
            "client_name": client.name,
            "grant_types": client.grants,
            "scope": " ".join(client.scopes),
            **_said(client),
            "registration_client_uri": f"{self._address}/{client.id}",
            "registration_access_token": registered.token,
        }
        if registered.statement is not None:
            said[statements.NAME] = registered.statement
        if registered.secret is not None:
            said |= {"client_secret": registered.secret, "client_secret_expires_at": 0}
        return said


def addresses(settings: Settings) -> dict[str, str]:
    """What discovery says of it."""
    if settings.registration.registration == "off":
        return {}
    return {"registration_endpoint": f"{settings.issuer.rstrip('/')}/register"}


def _said(client: Client) -> dict[str, Any]:
    """Its settings, of those that it decides itself, with the defaults that matter to it."""
    chosen = load(client.settings)
    stored = {name: value for name, value in (client.settings or {}).items() if name in MAY_SAY}
    return {
        "id_token_signed_response_alg": chosen.id_token_signed_response_alg,
        "subject_type": chosen.subject_type,
        **stored,
        # RFC 7591 §2.1: the type `code` is there for the grant, and for no other.
        "response_types": chosen.response_types if "authorization_code" in client.grants else (),
    }


def _said_of(document: Mapping[str, Any], statement: SoftwareStatement | None) -> Mapping[str, Any]:
    """What a trusted issuer says wins (RFC 7591 §2.3)."""
    return document if statement is None else {**document, **statement.metadata}


def _presented(request: Request) -> str:
    """The registration access token. Raises `MissingToken`, `InvalidToken`."""
    scheme, _, token = (request.header(b"authorization") or b"").partition(b" ")
    if scheme.lower() != b"bearer":
        raise MissingToken("the client's registration access token is missing")
    presented = token.strip().decode("latin-1")
    if not presented.startswith(f"{registrations.PREFIX}_"):
        raise InvalidToken("this is no registration access token")
    return presented


async def _document(request: Request) -> dict[str, Any]:
    media_type = (request.header(b"content-type") or b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise UnsupportedMediaType("the Content-Type must be application/json")
    body = await request.body()
    if len(body) > LARGEST:
        raise PayloadTooLarge(f"at most {LARGEST} bytes")
    try:
        return json_object(body)
    except ValueError as mistake:
        raise InvalidClientMetadata(f"the body: {mistake}") from None


def _check_same(session: Session, client: Client, document: Mapping[str, Any]) -> None:
    """RFC 7592 §2.2: it says which client it is, and nothing of what we alone say."""
    if document.get("client_id") != client.id:
        raise InvalidClientMetadata("client_id must be the client's own")
    if any(name in document for name in _OURS):
        raise InvalidClientMetadata(f"an update must not bring {', '.join(_OURS)}")
    secret = document.get("client_secret")
    if secret is None:
        return
    known = {row.digest for row in accounts.secrets_of(session, client.id)}
    if not isinstance(secret, str) or digest(secret) not in known:
        raise InvalidClientMetadata("client_secret is not the client's; it cannot choose one")
