"""`identity apply` and `identity export`."""

import json as json_
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from identity.cli.confirming import Yes, sure
from identity.cli.frame import Operation, operating
from identity.cli.printing import AsJson, remark

if TYPE_CHECKING:
    from identity.cli.applying.files import Files
    from identity.cli.applying.kinds.kind import House
    from identity.cli.applying.planning import Plan, Way
    from identity.settings import Settings

WOULD_CHANGE = 3
"""Exit code of `--dry-run` where something is not as the files say."""


class _TakenBack(Exception):
    """So that nothing of a dry run stays."""


def add_to(app: typer.Typer) -> None:
    app.command()(apply)
    app.command()(export)


def apply(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", exists=True, dir_okay=False)
    ] = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Remove what an earlier apply of the same set has made, and the files have no "
            "longer. What somebody has changed since is left to them.",
        ),
    ] = False,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="Take over what was made by hand, or by another set. It is never pruned.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Do it all and take it back: 0, it is as the files say; 3, it is not; 1, it "
            "cannot be.",
        ),
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of a file, and do nothing.")
    ] = False,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Make resources, scopes, roles, clients, trusted issuers and policies as files say.

    Shows what is added, changed and removed, asks, and does all of it in one transaction, or
    nothing. What is as the files say stays untouched, so that they can be applied again.
    """
    from identity.cli.applying import files as reading
    from identity.cli.applying.mistakes import Mistaken
    from identity.cli.applying.planning import Way

    if schema:
        from identity.cli.applying import entries

        print(json_.dumps(entries.schema(), indent=2))
        return
    if not files:
        raise typer.BadParameter("name the files")
    try:
        wanted, way = reading.read(files), Way(prune, adopt)
        with operating() as operation:
            code = _apply(operation, wanted, way, dry_run=dry_run, yes=yes, json=json)
    except Mistaken as mistaken:
        _refuse(mistaken.lines())
    raise typer.Exit(code)


def export() -> None:
    """Print resources, scopes, roles, clients, trusted issuers and policies as a file for `identity
    apply`.

    Neither secrets are in it, nor clients that have registered themselves, nor what every first
    start makes.
    """
    from identity.cli.applying.exporting import export

    with operating() as operation, operation.look() as session:
        found = export(session, house(operation.settings).own_audiences)
    print(found.text, end="")
    if found.with_secrets:
        remark(f"Clients whose secrets are not in it: {found.with_secrets}.")
    if found.left_out:
        remark(f"Clients that have registered themselves, and are left out: {found.left_out}.")
    for name, audiences in found.unknown.items():
        remark(
            f"The client {name} has an audience that no scope belongs to any more, and another "
            f"database takes the file only without it: {' '.join(audiences)}"
        )


def _apply(
    operation: Operation, files: "Files", way: "Way", *, dry_run: bool, yes: bool, json: bool
) -> int:
    from identity.cli.applying import doing, showing
    from identity.cli.applying.planning import plan
    from identity.errors import Conflict

    ours = house(operation.settings, files)  # what it imports takes a while: not in the transaction
    agreed: Plan | None = None
    if not dry_run and not yes:
        with operation.look() as session:
            agreed = plan(session, files, way)
        showing.show(agreed, json=json)
        if agreed.visible:
            sure(f"Apply this to {operation.db.address}?", yes=False)
    made, good_from = None, 0.0
    try:
        with operation.change() as session:
            doing.prepare(session)
            made = plan(session, files, way)
            if agreed is not None and not made.same(agreed):
                raise Conflict("something has changed meanwhile: nothing was done, look again")
            moment = doing.carry_out(session, files, made, way, ours)
            good_from = moment.timestamp()
            if dry_run:
                raise _TakenBack
    except _TakenBack:
        pass
    assert made is not None
    if agreed is None:
        showing.show(made, json=json)
    showing.summary(made)
    if dry_run:
        return WOULD_CHANGE if made.visible else 0
    from identity.clock import now

    time.sleep(max(0.0, good_from - now()))
    return 0


def house(settings: "Settings", files: "Files | None" = None) -> "House":
    from identity.cli.applying.kinds.kind import House
    from identity.cli.applying.looking import surroundings
    from identity.oauth.grants import registry

    own = (settings.issuer, settings.audience)
    return House(settings.issuer, own, registry.GRANTS, surroundings(settings, files))


def _refuse(lines: list[str]) -> NoReturn:
    for line in lines:
        print(line, file=sys.stderr)
    raise typer.Exit(1)
