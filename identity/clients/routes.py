"""`/clients`: registering OAuth2 clients and handing out their secrets."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from anyio import sleep
from fastapi import APIRouter, Request, Response, Security
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session, col, select

from identity.acting import Acting, acting
from identity.clients import accounts
from identity.clients.accounts import NewSecret
from identity.clients.table import Client, ClientSecret, ClientType, Status
from identity.clock import utcnow
from identity.errors import ValidationFailed
from identity.inputs import Body, JsonRoute, Line, Moment, PathId, Text
from identity.paging import Page, Paged, Search, contains, listed
from identity.patching import IfMatch, Patch, check_unchanged, etag, merge_patch, omitted
from identity.problems import administrative
from identity.sessions import lifecycle

Reader = Annotated[Acting, Security(acting, scopes=["clients:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["clients:write"])]

TEN_YEARS = 10 * 366 * 24 * 3600

Grants = Annotated[
    list[Line],
    Field(
        max_length=20,
        description="Grants it may use. Without any it can introspect and revoke, no more.",
        examples=[["client_credentials"]],
    ),
]
Scopes = Annotated[
    list[Line],
    Field(
        max_length=500,
        description="Scopes it may ask for; `*`: whatever the user behind a request holds.",
        examples=[["introspect"]],
    ),
]
Audiences = Annotated[
    list[Line],
    Field(
        max_length=100,
        description="Resources it may name (RFC 8707), besides the default audience: absolute "
        "URIs, or other words without spaces and `#`.",
        examples=[["https://orders.example.com"]],
    ),
]


class NewClient(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "Nightly report", "grants": ["client_credentials"], "scopes": []},
                {"name": "Shop", "type": "public", "grants": ["password"], "scopes": ["*"]},
            ]
        }
    )

    id: Annotated[Text, Field(max_length=64)] | None = Field(
        default=None, description="The `client_id`; made up when left out.", examples=["report"]
    )
    name: Line
    type: ClientType = "confidential"
    grants: Grants = Field(default_factory=list)
    scopes: Scopes = Field(default_factory=list)
    audiences: Audiences = Field(default_factory=list)


class ClientPatch(Patch):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "disabled"}]})

    name: Line = Field(default_factory=omitted)
    status: Status = Field(default_factory=omitted)
    grants: Grants = Field(default_factory=omitted)
    scopes: Scopes = Field(default_factory=omitted)
    audiences: Audiences = Field(default_factory=omitted)


class NewSecretBody(Body):
    model_config = ConfigDict(
        title="NewSecret", json_schema_extra={"examples": [{"expires_in": 7_776_000}]}
    )

    expires_in: int | None = Field(default=None, ge=1, le=TEN_YEARS, description="Seconds.")
    expires_at: Moment | None = None

    def moment(self) -> datetime | None:
        if self.expires_in is not None and self.expires_at is not None:
            raise ValidationFailed([("/expires_at", "give expires_in or expires_at, not both")])
        if self.expires_in is not None:
            return utcnow() + timedelta(seconds=self.expires_in)
        return self.expires_at


class SecretOut(BaseModel):
    """What is left of a secret once it was shown."""

    id: str
    hint: str = Field(description="Its last four characters.", examples=["x9Qc"])
    created_at: datetime
    expires_at: datetime | None


class SecretShown(SecretOut):
    secret: str = Field(description="Shown this once.", examples=["cs_…"])

    @classmethod
    def once(cls, new: NewSecret) -> "SecretShown":
        return cls(secret=new.secret, **_secret(new.row).model_dump())


class ClientOut(BaseModel):
    id: str
    name: str
    type: ClientType
    status: Status
    grants: list[str]
    scopes: list[str]
    audiences: list[str]
    builtin: bool
    secrets: list[SecretOut]
    created_at: datetime
    updated_at: datetime


class ClientCreated(ClientOut):
    client_id: str = Field(description="The `id` once more, under the protocol's name.")
    client_secret: str | None = Field(
        description="Of a confidential client its first secret, shown this once.",
        examples=["cs_…"],
    )


router = APIRouter(prefix="/clients", tags=["Clients"], route_class=JsonRoute)


@router.get("", operation_id="list_clients", summary="List clients", responses=administrative(422))
async def list_clients(actor: Reader, window: Paged, q: Search = None) -> Page[ClientOut]:
    """By id. `q` is looked for in ids and names."""

    def unit(session: Session) -> Page[ClientOut]:
        query = select(Client)
        if q:
            query = query.where(contains(q, Client.id, Client.name))
        clients, following = window.take(session, query, Client.id)
        secrets: dict[str, list[ClientSecret]] = {client.id: [] for client in clients}
        theirs = select(ClientSecret).where(col(ClientSecret.client_id).in_(secrets))
        for secret in session.exec(theirs.order_by(col(ClientSecret.id))):
            secrets[secret.client_id].append(secret)
        return Page(
            items=[ClientOut(**_members(c, secrets[c.id])) for c in clients], next=following
        )

    return await listed(actor.services.db, unit)


@router.post(
    "", status_code=201, operation_id="create_client", summary="Register a client",
    responses=administrative(409, body=True),
)  # fmt: skip
async def create_client(
    request: Request, actor: Writer, body: NewClient, response: Response
) -> ClientCreated:
    """Nobody can give a client scopes that they do not hold themselves."""

    def unit(session: Session) -> tuple[Client, ClientCreated]:
        client = accounts.create(
            session,
            client_id=body.id,
            name=body.name,
            type=body.type,
            grants=body.grants,
            scopes=body.scopes,
            audiences=body.audiences,
            known_grants=request.app.state.grant_types,
            held=actor.held,
        )
        secret = None
        if client.type == "confidential":
            secret = accounts.add_secret(session, client, held=actor.held).secret
        members = _members(client, accounts.secrets_of(session, client.id))
        return client, ClientCreated(client_id=client.id, client_secret=secret, **members)

    client, created = await actor.services.db.write(unit)
    await sleep((client.created_at - utcnow()).total_seconds())
    response.headers["etag"] = etag(client.version)
    response.headers["location"] = actor.address(f"/clients/{client.id}")
    return created


@router.get(
    "/{client_id}", operation_id="get_client", summary="Show a client",
    responses=administrative(404),
)  # fmt: skip
async def get_client(actor: Reader, client_id: PathId, response: Response) -> ClientOut:
    return await actor.services.db.read(
        lambda session: _shown(session, accounts.get(session, client_id), response)
    )


@router.patch(
    "/{client_id}", operation_id="update_client", summary="Change, disable or enable a client",
    responses=administrative(404, 412, body=True), openapi_extra=merge_patch(ClientPatch),
)  # fmt: skip
async def update_client(
    request: Request,
    actor: Writer,
    client_id: PathId,
    body: ClientPatch,
    response: Response,
    if_match: IfMatch = None,
) -> ClientOut:
    """A JSON merge patch; lists are replaced as a whole. Takes effect at once, also for tokens
    already issued. Disabling ends the client's sessions."""

    def unit(session: Session) -> ClientOut:
        client = accounts.get(session, client_id, lock=True)
        check_unchanged(if_match, client.version)
        accounts.update(
            session,
            client,
            body.members(),
            known_grants=request.app.state.grant_types,
            held=actor.held,
        )
        if client.status == "disabled":
            lifecycle.end_all(session, "client disabled", client_id=client.id)
        return _shown(session, client, response)

    return await actor.services.db.write(unit)


@router.delete(
    "/{client_id}", status_code=204, operation_id="delete_client", summary="Delete a client",
    responses=administrative(404, 409, 412),
)  # fmt: skip
async def delete_client(actor: Writer, client_id: PathId, if_match: IfMatch = None) -> None:
    """Its sessions and tokens die at once."""

    def unit(session: Session) -> None:
        client = accounts.get(session, client_id, lock=True)
        check_unchanged(if_match, client.version)
        accounts.guard(client, actor.held)
        lifecycle.end_all(session, "client deleted", client_id=client.id)
        accounts.remove(session, client, actor.held)

    await actor.services.db.write(unit)


@router.post(
    "/{client_id}/secrets", status_code=201, operation_id="create_client_secret",
    summary="Make another secret",
    responses=administrative(404, 409, body=True, s409="Two are live, or the client is public."),
)  # fmt: skip
async def create_secret(
    actor: Writer, client_id: PathId, body: NewSecretBody | None = None
) -> SecretShown:
    """Two may overlap, so that a client can change over without a gap."""
    expires_at = body.moment() if body else None

    def unit(session: Session) -> SecretShown:
        client = accounts.get(session, client_id, lock=True)
        return SecretShown.once(
            accounts.add_secret(session, client, held=actor.held, expires_at=expires_at)
        )

    return await actor.services.db.write(unit)


@router.delete(
    "/{client_id}/secrets/{secret_id}", status_code=204, operation_id="delete_client_secret",
    summary="Delete a secret", responses=administrative(404),
)  # fmt: skip
async def delete_secret(actor: Writer, client_id: PathId, secret_id: PathId) -> None:
    """Nobody authenticates with it from now on. Tokens already issued live on."""

    def unit(session: Session) -> None:
        client = accounts.get(session, client_id, lock=True)
        accounts.remove_secret(session, client, secret_id, actor.held)

    await actor.services.db.write(unit)


def _shown(session: Session, client: Client, response: Response) -> ClientOut:
    response.headers["etag"] = etag(client.version)
    return ClientOut(**_members(client, accounts.secrets_of(session, client.id)))


def _members(client: Client, secrets: list[ClientSecret]) -> dict[str, Any]:
    return {**client.model_dump(), "secrets": [_secret(row) for row in secrets]}


def _secret(row: ClientSecret) -> SecretOut:
    return SecretOut.model_validate(row, from_attributes=True)
