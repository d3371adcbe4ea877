"""`serve` and `migrate`."""

from typing import Annotated

import typer

from identity.cli import serving
from identity.cli.printing import remark


def add_to(app: typer.Typer) -> None:
    app.command()(serve)
    app.command()(migrate)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port to listen on.", min=serving.PORTS[0], max=serving.PORTS[1]),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes behind the port.", min=serving.WORKERS[0], max=serving.WORKERS[1]
        ),
    ] = None,
) -> None:
    """Run the service.

    In development it migrates first, and at the first start makes the user `admin`. In production
    a database whose schema is behind refuses the start.
    """
    given = {"host": host, "port": port, "workers": workers}
    raise typer.Exit(serving.serve({name: v for name, v in given.items() if v is not None}))


def migrate(
    contract: Annotated[
        bool,
        typer.Option("--contract", help="Then let go of older versions, of which none runs now."),
    ] = False,
) -> None:
    """Bring the database to the schema of this version; safe to repeat."""
    from identity.settings import Settings
    from identity.store import contracting, migrating

    settings = Settings.load()
    before, after = migrating.upgrade(settings)
    if before == after:
        remark(f"The schema is up to date ({after}).")
    else:
        remark(f"Migrated from {before or 'nothing'} to {after}.")
    if contract:
        if contracting.contract(settings):
            remark("Older versions start no more, and writers no longer take turns.")
        else:
            remark("There is nothing to contract.")
