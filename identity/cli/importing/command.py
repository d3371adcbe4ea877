"""`identity users import FILE`"""

from pathlib import Path
from typing import Annotated

import typer

from identity.cli.frame import operating
from identity.cli.printing import facts, remark


def add_to(commands: typer.Typer) -> None:
    commands.command("import")(import_)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv|.jsonl", exists=True, dir_okay=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be.")] = False,
    update: Annotated[
        bool,
        typer.Option("--update", help="Bring users who exist into line; passwords stay."),
    ] = False,
) -> None:
    """Create the users of a file, with the password hashes of the system they come from.

    Columns (CSV) or members (JSONL): username, and optionally email, name, password_hash, roles,
    status (active, disabled), email_verified. Users who exist stay as they are, so that a file can
    be imported again; bad rows are reported by line, the others are imported.
    """
    from identity.cli.importing.batches import Import
    from identity.cli.progress import Progress
    from identity.directory.access.granting import ensure_built_in

    with operating() as operation:
        if not dry_run:
            with operation.change() as session:
                ensure_built_in(session)
        progress = Progress(file)
        work = Import(operation.db, update=update, dry_run=dry_run)
        for batch in work.run(file):
            for bad in batch.bad:
                progress.say(f"{file}:{bad.line}: {bad.reason}")
            progress.show(batch.position, work.report.rows)
        progress.end()
    report = work.report
    facts(report.counts())
    if report.differing and not update:
        remark(f"{report.differing} exist and differ from the file; --update changes them.")
    if dry_run:
        remark("This was a dry run: nothing was changed.")
    raise typer.Exit(1 if report.bad else 0)
