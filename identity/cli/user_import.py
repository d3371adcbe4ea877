"""`identity users import FILE`, and the files that `identity users create --from` takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from identity.cli.frame import Operation, operating
from identity.cli.printing import as_json, facts, remark

if TYPE_CHECKING:
    from identity.service.importing.batches import Batch, Import

Format = Annotated[
    str | None,
    typer.Option("--format", help="csv, jsonl, keycloak, auth0 or firebase, where it is not seen."),
]


def add_to(commands: typer.Typer) -> None:
    commands.command("import")(import_)


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.csv|.jsonl|.json", exists=True, dir_okay=False)
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be.")] = False,
    update: Annotated[
        bool,
        typer.Option("--update", help="Bring users who exist into line; passwords stay."),
    ] = False,
    format_: Format = None,
    hash_config: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Firebase's hash parameters, as its console has them."
        ),
    ] = None,
    no_roles: Annotated[
        bool, typer.Option("--no-roles", help="Leave out the roles that the file gives.")
    ] = False,
) -> None:
    """Create the users of a file, with the password hashes of the system they come from.

    Columns (CSV) or members (JSONL): username, and optionally email, name, password_hash, roles,
    status (active, disabled), email_verified, and the members of a profile. Exports of Keycloak (a
    realm), Auth0 and Firebase are read as they are. Users who exist stay as they are, so that a
    file can be imported again; bad rows are reported by line, the others are imported.
    """
    from identity.service.importing import exports
    from identity.service.importing.batches import Import

    parameters = exports.firebase_parameters(hash_config) if hash_config else None
    with operating() as operation:
        work = Import(operation.db, update=update, dry_run=dry_run, without_roles=no_roles)
        for _ in _batches(operation, work, file, format_, parameters):
            pass
    report = work.report
    facts(report.counts())
    if report.differing and not update:
        remark(f"{report.differing} exist and differ from the file; --update changes them.")
    if dry_run:
        remark("This was a dry run: nothing was changed.")
    raise typer.Exit(1 if report.bad else 0)


def create_from(file: Path, form: str | None, *, generate: bool, json: bool) -> None:
    """Create the users of `file` who are not there yet. What is printed are the one-time
    passwords made up for them, each as soon as it counts."""
    from identity.cli.secrets import made_up
    from identity.service.importing.batches import Import

    with operating() as operation:
        rounds = operation.settings.passwords.bcrypt_rounds
        work = Import(
            operation.db,
            rounds=rounds,
            make_password=made_up if generate else None,
            one_time=operation.settings.passwords.one_time_password_ttl,
        )
        handed: dict[str, str] = {}
        told: list[dict[str, object]] = []
        for batch in _batches(operation, work, file, form):
            handed.update(batch.passwords)
            told += [{"line": bad.line, "reason": bad.reason} for bad in batch.bad]
            if not json:
                for username, password in batch.passwords:
                    print(f"{username}\t{password}", flush=True)
    report = work.report
    if json:
        as_json(dict(report.counts()) | {"passwords": handed, "bad_rows": told})
    else:
        remark("; ".join(f"{name}: {number}" for name, number in report.counts()) + ".")
        if handed:
            remark("The passwords must be changed before the first login: POST /password.")
    raise typer.Exit(1 if report.bad else 0)


def _batches(
    operation: Operation,
    work: "Import",
    file: Path,
    form: str | None,
    parameters: str | None = None,
) -> "Iterator[Batch]":
    """Each once it is stored; its bad rows have been told."""
    from identity.cli.progress import Progress
    from identity.directory.access.granting import ensure_built_in
    from identity.service.importing.reading import FORMATS

    if form is not None and form not in FORMATS:
        raise typer.BadParameter(f"--format is one of {', '.join(FORMATS)}")
    if not work.dry_run:
        with operation.change() as session:
            ensure_built_in(session)
    progress = Progress(file)
    for batch in work.run(file, form, parameters):
        for bad in batch.bad:
            progress.say(f"{file}:{bad.line}: {bad.reason}")
        progress.show(batch.position, work.report.rows)
        yield batch
    progress.end()
