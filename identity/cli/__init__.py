"""The `identity` command: what an operator does, on the database of the settings in force.

Commands act through the same functions as the HTTP API, whether or not the service runs; what
they change is audited and seen by every running process at once. Each command imports what it
needs when it runs, so that `--help` and `serve` do not pay for the others.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from identity.cli import audit, backup, clients, doctor, keys, roles, service, tokens, users
from identity.cli.mistakes import explain

app = typer.Typer(
    name="identity",
    help="An authentication and authorization service.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
service.add_to(app)
doctor.add_to(app)
for group in (
    users.commands, clients.commands, roles.commands, roles.scopes,
    keys.commands, tokens.commands, audit.commands,
):  # fmt: skip
    app.add_typer(group)
backup.add_to(app)


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


def run(args: Sequence[str]) -> int:
    """Run one command; its exit code: 0, 1 refused, 2 usage, 130 interrupted.

    A mistake becomes one line on stderr, never a traceback.
    """
    try:
        code = app(args=list(args), prog_name="identity", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough. Nothing may complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        code, words = explain(error)
        if words:
            print(words, file=sys.stderr)
        return code
    except KeyboardInterrupt:
        return 130
    return code if isinstance(code, int) else 0


def main() -> NoReturn:
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' advice to programmers, not to operators
    sys.exit(run(sys.argv[1:]))
