"""`serve` and `migrate`."""

from typing import Annotated, Any

import typer

from identity.cli.printing import remark


def add_to(app: typer.Typer) -> None:
    app.command()(serve)
    app.command()(migrate)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", min=0, max=65535)] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes behind the port.", min=1, max=64)
    ] = None,
) -> None:
    """Run the service.

    In development it migrates first, and at the first start makes the user `admin`. In production
    a database whose schema is behind refuses the start.
    """
    from identity import migrating
    from identity.bootstrap import first_start
    from identity.settings import Settings

    given: dict[str, Any] = {"host": host, "port": port, "workers": workers}
    settings = Settings.load(**{name: value for name, value in given.items() if value is not None})
    if not settings.production:
        migrating.upgrade(settings)
    welcome = first_start(settings)
    if welcome:
        print(welcome, flush=True)
    from identity.serving import serve

    raise typer.Exit(serve(settings) or 0)


def migrate() -> None:
    """Bring the database to the schema of this version; safe to repeat."""
    from identity import migrating
    from identity.settings import Settings

    before, after = migrating.upgrade(Settings.load())
    if before == after:
        remark(f"The schema is up to date ({after}).")
    else:
        remark(f"Migrated from {before or 'nothing'} to {after}.")
