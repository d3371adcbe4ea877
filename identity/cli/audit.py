"""`identity audit …`"""

from typing import Annotated, Any, Literal

import typer

from identity.cli.frame import operating
from identity.cli.moments import Moment, moment
from identity.cli.naming import ids_of
from identity.cli.printing import AsJson, as_json, ordered, remark, table

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
def verify(
    head: Annotated[
        str | None,
        typer.Option(metavar="SEQ:DIGEST", help="A head from the logs, to be found in the chain."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Check that no event was changed, removed, reordered or cut off. Writes nothing.

    The chain's head is printed: compare it with the heads in the logs ("audit sealed"), which
    whoever can change the database cannot change.
    """
    from sqlmodel import col, func, select

    from identity.keys import master
    from identity.records import audit
    from identity.records.audit import AuditEvent, AuditHead
    from identity.service.wiring import audit_keys
    from identity.settings import SettingsError

    wanted = _head(head) if head else None
    with operating() as operation, operation.look() as session:
        file = operation.settings.keys.keys_dir / master.FILE
        if operation.settings.keys.master_key is None and not file.exists():
            raise SettingsError(f"{file}: is missing, so the chain's signature cannot be checked")
        keys = audit_keys(operation.master(session))
        faults = [fault.words for fault in audit.verify(session, keys)]
        if wanted is not None:
            faults += _not_in_chain(session, *wanted)
        last = session.get(AuditHead, 1)
        unsealed = session.exec(select(func.count()).where(col(AuditEvent.seq).is_(None))).one()
    where = {"seq": last.seq, "digest": last.digest} if last else None
    if json:
        as_json({"ok": not faults, "faults": faults, "head": where, "unsealed": unsealed})
    else:
        for words in faults:
            print(f"fault: {words}")
        print(f"head: {last.seq}:{last.digest}" if last else "head: none, nothing is sealed yet")
        print(f"unsealed: {unsealed}")
        remark("The chain is broken." if faults else "The chain is whole.")
    raise typer.Exit(1 if faults else 0)


def _head(text: str) -> tuple[int, str]:
    seq, _, digest = text.partition(":")
    if not (seq.isascii() and seq.isdigit() and len(seq) < 19 and digest):
        raise typer.BadParameter("--head is SEQ:DIGEST, as the logs and this command print it")
    return int(seq), digest


def _not_in_chain(session: Any, seq: int, digest: str) -> list[str]:
    from sqlmodel import select

    from identity.records.audit import AuditEvent

    found = session.exec(select(AuditEvent.digest).where(AuditEvent.seq == seq)).first()
    if found is None:
        return [f"the chain does not reach the head {seq}: it was cut off"]
    if found != digest.lower():
        return [f"event {seq} is not the one of that head: the chain was written anew"]
    return []
