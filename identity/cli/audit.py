"""`identity audit …`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from identity.cli.frame import operating
from identity.cli.moments import Moment, moment
from identity.cli.naming import ids_of
from identity.cli.printing import AsJson, as_json, ordered, remark, table

if TYPE_CHECKING:
    from identity.records.audit import Place

commands = typer.Typer(
    name="audit", help="Read the audit trail and check its chain.", rich_markup_mode=None
)


@commands.command("list")
def list_(
    actor: Annotated[
        str | None, typer.Option(help="Who did it: a name or id, or a user of this machine.")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="To whom or what: a name or id.")] = None,
    event: Annotated[
        str | None, typer.Option(help="Which event; `key.*` or `key.` means all keys'.")
    ] = None,
    outcome: Annotated[
        Literal["success", "refused"] | None, typer.Option(help="How it ended.")
    ] = None,
    since: Moment = None,
    until: Moment = None,
    limit: Annotated[int, typer.Option(min=1, help="The latest so many.")] = 50,
    json: AsJson = False,
) -> None:
    """List what happened, the latest last."""
    from sqlmodel import col

    from identity.records.audit import AuditEvent
    from identity.records.audit.reading import matching

    if event and event.endswith("."):
        event += "*"
    query = matching(
        event=event, outcome=outcome,
        since=moment(since, "--since") if since else None,
        until=moment(until, "--until") if until else None,
    )  # fmt: skip
    query = query.order_by(col(AuditEvent.id).desc()).limit(limit)
    with operating() as operation, operation.look() as session:
        if actor:
            query = query.where(col(AuditEvent.actor).in_(ids_of(session, actor)))
        if subject:
            query = query.where(col(AuditEvent.subject).in_(ids_of(session, subject)))
        events = list(reversed(session.exec(query).all()))
    if json:
        as_json([ordered(one, mode="json") for one in events])
        return
    table(
        ("AT", "EVENT", "OUTCOME", "BY", "SUBJECT", "FROM", "DETAIL"),
        (
            (e.at, e.event, e.outcome, e.actor or e.actor_type, e.subject, e.address, e.detail)
            for e in events
        ),
        none="There are no such events.",
    )


@commands.command()
def archive(
    before: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="What happened before it, whatever IDENTITY_AUDIT_RETENTION says."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Move old events into signed files, in the folder of IDENTITY_AUDIT_ARCHIVE.

    Those older than IDENTITY_AUDIT_RETENTION, and sealed. `identity audit verify FILE…` checks the
    files; the chain in the database goes on where the last one ends.
    """
    from identity.clock import utcnow
    from identity.errors import Conflict
    from identity.records import audit
    from identity.records.audit.archiving import Archives, Broken
    from identity.service.opening import audit_keys

    with operating() as operation:
        settings = operation.settings.audit
        if before is None and settings.audit_retention is None:
            raise typer.BadParameter("IDENTITY_AUDIT_RETENTION is not set: say --before TIME")
        if before is not None:
            horizon = moment(before, "--before")
        else:
            assert settings.audit_retention is not None
            horizon = utcnow() - settings.audit_retention
        with operation.look() as session:
            keys = audit_keys(operation.master(session))
        made: list[audit.AuditArchive] = []
        try:
            made += Archives(operation.db, settings.audit_archive, keys).make(horizon)
        except Broken as why:
            raise Conflict(f"nothing is archived: {why}") from None
        if made:
            with operation.change() as session:
                audit.record(session, "audit.archived", files=[one.file for one in made])
    if json:
        as_json([one.model_dump(mode="json", include=_SHOWN) for one in made])
        return
    for one in made:
        print(settings.audit_archive / one.file)
    remark(f"Events archived: {sum(one.last - one.first + 1 for one in made)}.")


_SHOWN = {"first", "last", "continues", "digest", "file"}


@commands.command()
def verify(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="Archives, the oldest first, in place of the database.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(metavar="SEQ:DIGEST", help="A head from the logs, to be found in the chain."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Check that no event was changed, removed, reordered or cut off. Writes nothing.

    With FILEs these archives are checked, each on its own and that each continues the one before;
    it takes the master key and no database.

    The chain's head is printed: compare it with the heads in the logs ("audit sealed"), which
    whoever can change the database cannot change.
    """
    from identity.keys import master
    from identity.records import audit
    from identity.service.opening import audit_keys
    from identity.settings import SettingsError

    wanted = _head(head) if head else None
    if files:
        _verify_files(files, wanted, json=json)
    with operating() as operation, operation.look() as session:
        file = operation.settings.keys.keys_dir / master.FILE
        if operation.settings.keys.master_key is None and not file.exists():
            raise SettingsError(f"{file}: is missing, so the chain's signature cannot be checked")
        keys = audit_keys(operation.master(session))
        found = audit.verify(session, keys, wanted=wanted)
    faults = [fault.words for fault in found.faults]
    head_, archived, unsealed = found.head, found.archived, found.unsealed
    if json:
        as_json(
            {
                "ok": not faults, "faults": faults, "head": head_ and head_._asdict(),
                "unsealed": unsealed, "archived": archived and archived._asdict(),
            }
        )  # fmt: skip
    else:
        for words in faults:
            print(f"fault: {words}")
        print(f"head: {head_}" if head_ else "head: none, nothing is sealed yet")
        if archived:
            print(f"archived: {archived}")
        print(f"unsealed: {unsealed}")
        remark("The chain is broken." if faults else "The chain is whole.")
    raise typer.Exit(1 if faults else 0)


def _head(text: str) -> "Place":
    from identity.records.audit import Place

    place = Place.of(text)
    if place is None:
        raise typer.BadParameter("--head is SEQ:DIGEST, as the logs and this command print it")
    return place


def _verify_files(files: list[Path], wanted: "Place | None", *, json: bool) -> NoReturn:
    from identity.keys import master
    from identity.records.audit.archive import Stretch, examine
    from identity.service.opening import audit_keys
    from identity.settings import Settings

    keys = audit_keys(master.read(Settings.load()))
    faults: list[str] = []
    found: list[Stretch] = []
    heads: dict[int, str] = {}
    for path in files:
        with path.open("rb") as opened:
            examined = examine(opened, keys, [wanted[0]] if wanted else [])
        faults += [f"{path}: {words}" for words in examined.faults]
        heads |= examined.heads
        stretch = examined.stretch
        if stretch is None:
            continue
        if found and (stretch.first, stretch.continues) != (found[-1].last + 1, found[-1].digest):
            faults.append(f"{path}: does not continue event {found[-1].last}:{found[-1].digest}")
        found.append(stretch)
    if wanted is not None and heads.get(wanted[0]) != wanted[1].lower():
        faults.append(f"the head {wanted[0]} is not in these archives")
    if json:
        end = {"seq": found[-1].last, "digest": found[-1].digest} if found else None
        as_json({"ok": not faults, "faults": faults, "head": end,
                 "archives": [one._asdict() for one in found]})  # fmt: skip
    else:
        for words in faults:
            print(f"fault: {words}")
        for one in found:
            print(f"events: {one.first} to {one.last}")
        if found:
            print(f"continues: {found[0].first - 1}:{found[0].continues}")
            print(f"head: {found[-1].last}:{found[-1].digest}")
        remark("The archives are broken." if faults else "The archives are whole.")
    raise typer.Exit(1 if faults else 0)
