"""`identity database …`"""

from typing import Annotated

import typer

from identity.cli.frame import operating
from identity.cli.printing import remark, table

commands = typer.Typer(
    name="database", help="How PostgreSQL keeps what there is most of.", rich_markup_mode=None
)


@commands.command()
def partition(
    rows: Annotated[
        int, typer.Option(min=1_000_000, help="Audit events of a partition.")
    ] = 50_000_000,
) -> None:
    """Keep the audit's events in partitions, from now on; the service may run meanwhile.

    Worth it from some hundred million events on. There is no command that undoes it.
    """
    from identity.records.audit import partitions

    with operating() as operation:
        done = partitions.convert(operation.db, rows)
        with operation.look() as session:
            found = partitions.parts(session)
    if not done:
        remark("That has been done.")
    table(
        ("PARTITION", "FIRST ID", "BEFORE ID"),
        ((part.name, part.first or "", part.end or "") for part in found),
        none="",
    )
