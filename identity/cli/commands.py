"""The commands, as typer knows them."""

from typing import Annotated

import typer

from identity.cli import (
    audit,
    backup,
    blocks,
    branding,
    clients,
    database,
    demo,
    issuers,
    keys,
    lockdown,
    mail,
    roles,
    service,
    sessions,
    stats,
    tokens,
    users,
)
from identity.cli.applying import command as applying
from identity.cli.doctor import doctor

app = typer.Typer(
    name="identity",
    help="An authentication and authorization service.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
service.add_to(app)
doctor.add_to(app)
for group in (
    users.commands, clients.commands, issuers.commands, roles.commands, roles.scopes,
    keys.commands, tokens.commands, audit.commands, lockdown.commands, blocks.commands,
    sessions.commands, mail.commands, database.commands, branding.commands,
):  # fmt: skip
    app.add_typer(group)
applying.add_to(app)
backup.add_to(app)
stats.add_to(app)
demo.add_to(app)


def _version(asked: bool) -> None:
    if asked:
        from identity import __version__

        print(f"identity {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Say which version."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)
