"""`identity clients …`"""

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Annotated

import typer

from identity.cli.confirming import Yes, sure
from identity.cli.operating import operating
from identity.cli.printing import AsJson, as_json, remark, table

if TYPE_CHECKING:
    from sqlmodel import Session

    from identity.clients.table import Status

commands = typer.Typer(name="clients", help="See and change clients.", rich_markup_mode=None)

ClientId = Annotated[str, typer.Argument(metavar="CLIENT_ID")]


@commands.command("list")
def list_(json: AsJson = False) -> None:
    """List the clients, oldest first."""
    from sqlmodel import col, select

    from identity.clients.table import Client, ClientSecret

    with operating() as operation, operation.look() as session:
        clients = session.exec(
            select(Client).order_by(col(Client.created_at), col(Client.id))
        ).all()
        secrets: dict[str, list[ClientSecret]] = defaultdict(list)
        for secret in session.exec(select(ClientSecret).order_by(col(ClientSecret.id))):
            secrets[secret.client_id].append(secret)
    hints = {client.id: [f"..{s.hint}" for s in secrets[client.id]] for client in clients}
    if json:
        as_json(
            [
                client.model_dump(mode="json", exclude={"version"})
                | {
                    "secrets": [
                        secret.model_dump(mode="json", exclude={"digest", "client_id"})
                        for secret in secrets[client.id]
                    ]
                }
                for client in clients
            ]
        )
        return
    table(
        ("CLIENT_ID", "NAME", "TYPE", "STATUS", "GRANTS", "SCOPES", "SECRETS"),
        (
            (c.id, c.name, c.type, c.status, c.grants, c.scopes, hints[c.id])
            for c in clients
        ),
        none="There are no clients yet; the first start of the service makes `first-party`.",
    )  # fmt: skip


@commands.command()
def create(
    client_id: ClientId,
    name: Annotated[str | None, typer.Option(help="For people to read.")] = None,
    public: Annotated[
        bool, typer.Option("--public", help="It cannot keep a secret, and gets none.")
    ] = False,
    grant: Annotated[
        list[str] | None,
        typer.Option(
            help="A grant type; may be repeated. By default client_credentials, with --public "
            "password and refresh_token."
        ),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="A scope it may ask for; may be repeated. *: all that its user holds."),
    ] = None,
    audience: Annotated[
        list[str] | None, typer.Option(help="A resource it may name; may be repeated.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Register a client. Its secret is printed, this once."""
    from identity.access.granting import ensure_built_in
    from identity.clients import accounts
    from identity.clock import now

    usual = ["password", "refresh_token"] if public else ["client_credentials"]
    with operating() as operation:
        with operation.change() as session:
            ensure_built_in(session)
            client = accounts.create(
                session,
                client_id=client_id,
                name=name or client_id,
                type="public" if public else "confidential",
                grants=grant or usual,
                scopes=scope or (["*"] if public else []),
                audiences=audience or [],
                known_grants=_known_grants(),
                held=None,
            )  # fmt: skip
            secret = None if public else accounts.add_secret(session, client, held=None).secret
        # An id taken again so soon after its deletion is good a moment later.
        time.sleep(max(0.0, client.created_at.timestamp() - now()))
    if json:
        shown = {"client_id": client.id} | ({"client_secret": secret} if secret else {})
        as_json(shown)
        return
    remark(f"Created the client {client.id}." + (" Its secret, shown this once:" if secret else ""))
    if secret:
        print(secret)


@commands.command("rotate-secret")
def rotate_secret(
    client_id: ClientId,
    overlap: Annotated[
        str,
        typer.Option(metavar="DURATION", help="How long the present secret stays good: 1h, 2d."),
    ] = "0",
    json: AsJson = False,
) -> None:
    """Print a new secret, this once. The one before dies at once, or after --overlap."""
    from datetime import timedelta

    from pydantic import TypeAdapter, ValidationError

    from identity import audit
    from identity.clients import accounts
    from identity.clock import utcnow
    from identity.settings import Duration

    remaining = timedelta(0)
    if overlap.strip() != "0":
        try:
            remaining = TypeAdapter(Duration).validate_python(overlap)
            until = utcnow() + remaining
        except (ValidationError, OverflowError):
            raise typer.BadParameter(
                "--overlap is a duration such as 900, 15m, 12h or 2d"
            ) from None
    with operating() as operation, operation.change() as session:
        client = accounts.get(session, client_id, lock=True)
        present = accounts.secrets_of(session, client.id)
        for row in present[:-1] if remaining else present:
            accounts.remove_secret(session, client, row.id, None)
        if remaining and present:
            last = present[-1]
            last.expires_at = min(last.expires_at or until, until)
            session.add(last)
            audit.record(
                session, "client.secret_expiring", subject=client.id,
                secret_id=last.id, expires_at=last.expires_at.isoformat(),
            )  # fmt: skip
        secret = accounts.add_secret(session, client, held=None).secret
    if json:
        as_json({"client_id": client_id, "client_secret": secret})
        return
    remark(f"The new secret of {client_id}, shown this once:")
    print(secret)
    if present:
        remark(f"The one before is good for {overlap}." if remaining else "The one before is dead.")


@commands.command()
def disable(client_id: ClientId) -> None:
    """Refuse a client from now on; its sessions and tokens end at once."""
    from identity.sessions import lifecycle

    with operating() as operation, operation.change() as session:
        _set_status(session, client_id, "disabled")
        ended = lifecycle.end_all(session, "client disabled", client_id=client_id)
    remark(f"{client_id} is disabled; sessions ended: {ended}.")


@commands.command()
def enable(client_id: ClientId) -> None:
    """Admit a disabled client again. Tokens from before stay dead."""
    with operating() as operation, operation.change() as session:
        _set_status(session, client_id, "active")
    remark(f"{client_id} is enabled.")


@commands.command()
def delete(client_id: ClientId, yes: Yes = False) -> None:
    """Delete a client for good; its sessions and tokens end at once."""
    from identity.clients import accounts
    from identity.sessions import lifecycle

    with operating() as operation:
        with operation.look() as session:
            accounts.get(session, client_id)
        sure(f"Delete the client {client_id} for good?", yes=yes)
        with operation.change() as session:
            client = accounts.get(session, client_id, lock=True)
            lifecycle.end_all(session, "client deleted", client_id=client.id)
            accounts.remove(session, client, None)
    remark(f"The client {client_id} is deleted.")


def _set_status(session: "Session", client_id: str, status: "Status") -> None:
    from identity.clients import accounts

    client = accounts.get(session, client_id, lock=True)
    accounts.update(session, client, {"status": status}, known_grants=_known_grants(), held=None)


def _known_grants() -> tuple[str, ...]:
    """What the registry in `grants.endpoint` holds; it needs a whole service to be made."""
    from identity.grants.client_credentials import ClientCredentials
    from identity.grants.password import Password
    from identity.grants.refresh_token import RefreshToken

    return tuple(grant.grant_type for grant in (Password, RefreshToken, ClientCredentials))
