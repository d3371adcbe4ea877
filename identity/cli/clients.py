"""`identity clients …`"""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from identity.cli import client_settings
from identity.cli.confirming import Yes, sure
from identity.cli.frame import operating
from identity.cli.naming import ClientName, find_client
from identity.cli.printing import AsJson, as_json, cell, facts, remark, table

if TYPE_CHECKING:
    from sqlmodel import Session

    from identity.directory.clients.table import Client, Status

commands = typer.Typer(name="clients", help="See and change clients.", rich_markup_mode=None)

ClientId = Annotated[str, typer.Argument(metavar="CLIENT_ID")]


@commands.command("list")
def list_(
    search: Annotated[
        str | None, typer.Option("--search", "-q", help="Part of an id or name.")
    ] = None,
    status: Annotated[str | None, typer.Option(help="active or disabled.")] = None,
    grant: Annotated[str | None, typer.Option(help="Only who may use this grant.")] = None,
    json: AsJson = False,
) -> None:
    """List the clients, oldest first."""
    from identity.cli.client_view import list_clients

    if status not in (None, "active", "disabled"):
        raise typer.BadParameter("--status is active or disabled")
    if grant is not None:
        from identity.oauth.grants import registry

        if grant not in (known := [kind.grant_type for kind in registry.GRANTS]):
            raise typer.BadParameter(f"--grant is one of {', '.join(known)}")
    with operating() as operation, operation.look() as session:
        clients = list_clients(session, search=search, status=status, grant=grant)
    if json:
        as_json(clients)
        return
    table(
        ("CLIENT_ID", "NAME", "TYPE", "STATUS", "GRANTS", "SCOPES", "SECRETS"),
        (
            (c["id"], c["name"], c["type"], c["status"], c["grants"], c["scopes"],
             [f"..{secret['hint']}" for secret in c["secrets"]])
            for c in clients
        ),
        none="There are no such clients; the first start of the service makes `first-party`.",
    )  # fmt: skip


@commands.command()
def show(client: ClientName, json: AsJson = False) -> None:
    """Show one client: what it may, which settings are not the defaults, and how old its secrets
    are. The secrets themselves are not kept."""
    from identity.cli.client_view import view

    with operating() as operation, operation.look() as session:
        found = find_client(session, client)
        shown = view(session, found)
    if json:
        as_json(shown)
        return
    secrets = shown.pop("secrets")
    of_their_own = {"grant_types", *client_settings.shown(found)} - {*(found.settings or ())}
    facts((name, value) for name, value in shown.items() if name not in of_their_own)
    for secret in secrets:
        until = f", good until {cell(secret['expires_at'])}" if secret["expires_at"] else ""
        used = f", last used {cell(secret['last_used_at'])}" if secret["last_used_at"] else ""
        print(f"secret ..{secret['hint']} of {cell(secret['created_at'])}{until}{used}")


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
            help="A grant type; may be repeated. By default those by which a client acts for "
            "itself, with --public those by which a user logs in."
        ),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="A scope it may ask for; may be repeated. *: all that its user holds."),
    ] = None,
    default_scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What a request that names no scope asks for; may be repeated. By default all "
            "its scopes that are not administrative."
        ),
    ] = None,
    audience: Annotated[
        list[str] | None, typer.Option(help="A resource it may name; may be repeated.")
    ] = None,
    set_: client_settings.Set = None,
    json: AsJson = False,
) -> None:
    """Register a client. Its secret is printed, this once.

    Tokens are signed by IDENTITY_SIGNING_ALGORITHM, ES256 by default. Where the library of an
    audience knows only RS256, IDENTITY_AUDIENCE_ALGORITHMS=AUDIENCE=RS256 signs its tokens by that.
    """
    from identity.clock import now
    from identity.directory.access.granting import ensure_built_in
    from identity.directory.clients import accounts
    from identity.oauth.grants import registry

    chosen = client_settings.chosen(set_ or ())
    usual = [
        kind.grant_type
        for kind in registry.GRANTS
        if kind.for_itself is not public and not kind.by_choice
    ]
    with operating() as operation:
        around = client_settings.surroundings(operation, chosen)
        with operation.change() as session:
            ensure_built_in(session)
            client = accounts.create(
                session,
                client_id=client_id,
                name=name or client_id,
                type="public" if public else "confidential",
                grants=grant or usual,
                scopes=scope or (["*"] if public else []),
                default_scopes=default_scope or None,
                audiences=audience or [],
                chosen=chosen,
                known_grants=registry.GRANTS,
                own_audiences=(operation.settings.issuer, operation.settings.audience),
                around=around,
                held=None,
            )  # fmt: skip
            secret = None
            if accounts.takes_secret(client):
                secret = accounts.add_secret(session, client, held=None).secret
        # An id taken again so soon after its deletion is good a moment later.
        time.sleep(max(0.0, client.created_at.timestamp() - now()))
    if json:
        shown = {"client_id": client.id} | ({"client_secret": secret} if secret else {})
        as_json(shown)
        return
    remark(f"Created the client {client.id}." + (" Its secret, shown this once:" if secret else ""))
    if secret:
        print(secret)


@commands.command()
def update(
    client: ClientName,
    name: Annotated[str | None, typer.Option(help="Another name for people.")] = None,
    grant: Annotated[
        list[str] | None, typer.Option(help="Instead of the grants it has; may be repeated.")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Instead of the scopes it has; may be repeated. An empty one: none."),
    ] = None,
    audience: Annotated[
        list[str] | None,
        typer.Option(help="Instead of the audiences it has; may be repeated. An empty one: none."),
    ] = None,
    set_: client_settings.Set = None,
    unset: client_settings.Unset = None,
) -> None:
    """Change what a client is called, what it may, and its settings. Tokens lose at once what it
    loses."""
    from identity.oauth.grants import registry
    from identity.tokens.sessions import of_clients

    given = {"name": name, "grants": grant, "scopes": scope, "audiences": audience}
    fields: dict[str, Any] = {
        key: [one for one in value if one] if isinstance(value, list) else value
        for key, value in given.items()
        if value is not None
    }
    fields |= client_settings.chosen(set_ or (), unset or ())
    if not fields:
        words = "say what is to change: --name, --grant, --scope, --audience, --set, --unset"
        raise typer.BadParameter(words)
    with operating() as operation:
        around = client_settings.surroundings(operation, fields, client)
        with operation.change() as session:
            found = find_client(session, client, lock=True)
            of_clients.update(
                session,
                found,
                fields,
                known_grants=registry.GRANTS,
                own_audiences=(operation.settings.issuer, operation.settings.audience),
                around=around,
                held=None,
            )
    remark(f"The client {found.id} is changed.")


@commands.command("rotate-secret")
def rotate_secret(
    client: ClientName,
    overlap: Annotated[
        str,
        typer.Option(metavar="DURATION", help="How long the present secret stays good: 1h, 2d."),
    ] = "0",
    json: AsJson = False,
) -> None:
    """Print a new secret, this once. The one before dies at once, or after --overlap."""
    from datetime import timedelta

    from pydantic import TypeAdapter, ValidationError

    from identity.clock import utcnow
    from identity.directory.clients import accounts
    from identity.records import audit
    from identity.setting_types import Duration

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
        found = find_client(session, client, lock=True)
        present = accounts.secrets_of(session, found.id)
        for row in present[:-1] if remaining else present:
            accounts.remove_secret(session, found, row.id, None)
        if remaining and present:
            last = present[-1]
            last.expires_at = min(last.expires_at or until, until)
            session.add(last)
            audit.record(
                session, "client.secret_expiring", subject=found.id,
                secret_id=last.id, expires_at=last.expires_at.isoformat(),
            )  # fmt: skip
        secret = accounts.add_secret(session, found, held=None).secret
    if json:
        as_json({"client_id": found.id, "client_secret": secret})
        return
    remark(f"The new secret of {found.id}, shown this once:")
    print(secret)
    if present:
        remark(f"The one before is good for {overlap}." if remaining else "The one before is dead.")


@commands.command()
def disable(client: ClientName) -> None:
    """Refuse a client from now on; its sessions and tokens end at once."""
    from identity.tokens.sessions import lifecycle

    with operating() as operation, operation.change() as session:
        found = _set_status(session, client, "disabled")
        ended = lifecycle.end_all(session, "client disabled", client_id=found.id)
    remark(f"{found.id} is disabled; sessions ended: {ended}.")


@commands.command()
def enable(client: ClientName) -> None:
    """Admit a disabled client again. Tokens from before stay dead."""
    with operating() as operation, operation.change() as session:
        found = _set_status(session, client, "active")
    remark(f"{found.id} is enabled.")


@commands.command()
def delete(client: ClientName, yes: Yes = False) -> None:
    """Delete a client for good; its sessions and tokens end at once."""
    from identity.directory.clients import accounts
    from identity.tokens.sessions import of_clients

    with operating() as operation:
        with operation.look() as session:
            client_id = find_client(session, client).id
        sure(f"Delete the client {client_id} for good?", yes=yes)
        with operation.change() as session:
            found = accounts.get(session, client_id, lock=True)
            of_clients.remove(session, found, None)
    remark(f"The client {client_id} is deleted.")


def _set_status(session: "Session", client: str, status: "Status") -> "Client":
    from identity.directory.clients import accounts
    from identity.oauth.grants import registry

    found = find_client(session, client, lock=True)
    accounts.update(session, found, {"status": status}, known_grants=registry.GRANTS, held=None)
    return found
