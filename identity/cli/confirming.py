"""Asking before what cannot be undone. Every command that destroys something takes `Yes`, and
calls `sure` between finding what is meant and touching it."""

import sys
from typing import Annotated

import typer

from identity.cli.printing import remark

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
YesAfterKid = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
"""Where an argument may begin with a hyphen, there are no short options."""


def sure(question: str, *, yes: bool) -> None:
    """Go on only if somebody says so: `--yes`, or whoever sits at the terminal. A script that
    says neither has made a mistake of usage."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise typer.BadParameter(f"{question} There is no terminal to ask on: say --yes")
    if not typer.confirm(question, err=True):
        remark("Nothing was changed.")
        raise typer.Exit(1)
