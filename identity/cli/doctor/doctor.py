"""`identity doctor`"""

from typing import Annotated

import typer

from identity.cli.printing import AsJson, as_json, cell, coloured


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask the service itself.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Say what is wrong with settings, database, keys and clock, and how to mend it.

    Changes nothing. Exit code 1 where anything is a problem; a note is none.
    """
    from identity.cli.doctor.checkup import examine

    findings = list(examine(ask_service=not offline))
    if json:
        as_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            level = coloured(f"{finding.level:7}")
            print(f"{level}  {finding.what:11}  {cell(finding.words)}")
            if finding.mend:
                print(f"{'':7}  {'':11}  -> {cell(finding.mend)}")
    raise typer.Exit(1 if any(finding.level == "problem" for finding in findings) else 0)
