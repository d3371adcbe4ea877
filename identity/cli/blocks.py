"""`identity blocks …`"""

from dataclasses import asdict
from typing import Annotated

import typer

from identity.cli.frame import operating
from identity.cli.printing import AsJson, as_json, remark, table

commands = typer.Typer(
    name="blocks", help="See and release who failed too often.", rich_markup_mode=None
)
ALL = 1_000_000


@commands.command("list")
def list_(
    address: Annotated[str | None, typer.Option(help="Only those at this address.")] = None,
    json: AsJson = False,
) -> None:
    """List accounts and addresses that are held up by failed logins, as every process sees it."""
    from identity.authentication import blocks

    with operating() as operation, operation.look() as session:
        found = blocks.listed(session, address=address, most=ALL)
    if json:
        as_json([asdict(block) for block in found])
        return
    table(
        ("ID", "WHAT", "USERNAME", "ADDRESS", "FAILURES", "UNTIL"),
        ((b.id, b.kind, b.username, b.address, b.failures, b.until) for b in found),
        none="Nobody is held up.",
    )


@commands.command()
def release(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="As `list` shows it.")],
) -> None:
    """Let whoever is held up try again at once."""
    from identity.authentication import blocks

    with operating() as operation, operation.change() as session:
        for block_id in ids:
            blocks.release(session, block_id, None)
    remark(f"Released: {len(ids)}.")
