"""`/clients`: registering OAuth2 clients and handing out their secrets."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, Security
from sqlmodel import Session, col, select

from identity.api.actor import Acting, acting
from identity.api.bodies import JsonRoute, PathId, Text
from identity.api.clients.schemas import (
    ClientCreated,
    ClientOut,
    ClientPatch,
    NewClient,
    NewSecretBody,
    SecretOut,
    SecretShown,
)
from identity.api.clients.settings import chosen
from identity.api.merge_patch import IfMatch, etag, merge_patch
from identity.api.paging import Page, Paged, Search, listed
from identity.api.problems import administrative
from identity.clock import utcnow
from identity.directory.clients import accounts
from identity.directory.clients.listing import matching
from identity.directory.clients.table import Client, ClientSecret, Status
from identity.errors import ValidationFailed
from identity.service.administration import clients as administration

Reader = Annotated[Acting, Security(acting, scopes=["clients:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["clients:write"])]

router = APIRouter(prefix="/clients", tags=["Clients"], route_class=JsonRoute)


@router.get("", operation_id="list_clients", summary="List clients", responses=administrative())
async def list_clients(
    actor: Reader,
    window: Paged,
    q: Search = None,
    status: Status | None = None,
    grant: Annotated[
        Text | None, Query(max_length=200, description="One that they may use.")
    ] = None,
) -> Page[ClientOut]:
    """By id. `q` is looked for in ids and names."""
    query = matching(q=q, status=status, grant=grant)

    def unit(session: Session) -> Page[ClientOut]:
        clients, following = window.take(session, query, Client.id)
        secrets: dict[str, list[ClientSecret]] = {client.id: [] for client in clients}
        theirs = select(ClientSecret).where(col(ClientSecret.client_id).in_(secrets))
        for secret in session.exec(theirs.order_by(col(ClientSecret.id))):
            secrets[secret.client_id].append(secret)
        return Page(items=[ClientOut.of(c, secrets[c.id]) for c in clients], next=following)

    return await listed(actor.services.db, unit)


@router.post(
    "", status_code=201, operation_id="create_client", summary="Register a client",
    responses=administrative(409, body=True),
)  # fmt: skip
async def create_client(
    request: Request, actor: Writer, body: NewClient, response: Response
) -> ClientCreated:
    """Nobody can give a client scopes that they do not hold themselves, audiences of which they
    hold no scope, or settings by which it may more than they."""
    named = body.named()
    if "name" not in named:
        raise ValidationFailed([("/name", "Field required")])
    around = await administration.surroundings(actor.services, chosen(body))

    def unit(session: Session) -> tuple[Client, ClientCreated]:
        client = accounts.create(
            session,
            client_id=body.id,
            **named,
            type=body.type,
            default_scopes=body.default_scopes,
            audiences=body.audiences,
            chosen=chosen(body),
            known_grants=request.app.state.grants,
            own_audiences=actor.own_audiences,
            around=around,
            held=actor.held,
        )
        secret = None
        if accounts.takes_secret(client):
            secret = accounts.add_secret(session, client, held=actor.held).secret
        secrets = accounts.secrets_of(session, client.id)
        shown = ClientCreated.of(client, secrets, client_id=client.id, client_secret=secret)
        return client, shown

    client, created = await actor.services.db.write(unit)
    await asyncio.sleep(max(0.0, (client.created_at - utcnow()).total_seconds()))
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
    """A JSON merge patch; lists are replaced as a whole, null sets a default again. Takes effect at
    once, also for tokens already issued. Disabling ends the client's sessions, and taking an
    audience away those for that audience."""
    around = await administration.surroundings(actor.services, body.members(), client_id)

    def unit(session: Session) -> ClientOut:
        client = administration.change(
            session,
            client_id,
            body.members() | body.named(),
            known_grants=request.app.state.grants,
            own_audiences=actor.own_audiences,
            around=around,
            held=actor.held,
            if_match=if_match,
        )
        return _shown(session, client, response)

    return await actor.services.db.write(unit)


@router.delete(
    "/{client_id}", status_code=204, operation_id="delete_client", summary="Delete a client",
    responses=administrative(404, 409, 412),
)  # fmt: skip
async def delete_client(actor: Writer, client_id: PathId, if_match: IfMatch = None) -> None:
    """Its sessions and tokens die at once."""
    await actor.services.db.write(
        lambda session: administration.delete(session, client_id, actor.held, if_match)
    )


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
        new = accounts.add_secret(session, client, held=actor.held, expires_at=expires_at)
        return SecretShown(secret=new.secret, **dict(SecretOut.of(new.row)))

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
    return ClientOut.of(client, accounts.secrets_of(session, client.id))
