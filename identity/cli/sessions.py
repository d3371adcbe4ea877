"""`identity sessions …`: everybody's. Those of one user: `identity users sessions`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from identity.cli.confirming import Yes, sure
from identity.cli.frame import Operation, operating
from identity.cli.moments import moment
from identity.cli.printing import AsJson, as_json, ordered, remark, table

if TYPE_CHECKING:
    from sqlmodel import Session

    from identity.authentication.all_sessions import Filter

commands = typer.Typer(
    name="sessions", help="See and end sessions, whosever they are.", rich_markup_mode=None
)

Browsers = Annotated[
    bool, typer.Option("--browsers", help="People at browsers, rather than logins at clients.")
]
OfUser = Annotated[str | None, typer.Option("--user", help="Username, e-mail address or id.")]
AtClient = Annotated[str | None, typer.Option("--client", help="Client id, or its name.")]
FromAddress = Annotated[str | None, typer.Option("--address", help="Begun from this address.")]
Since = Annotated[str | None, typer.Option("--since", help="Begun then or later: 2h, 2026-11-24.")]


@commands.command("list")
def list_(
    browsers: Browsers = False,
    user: OfUser = None,
    client: AtClient = None,
    address: FromAddress = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, help="At the most so many.")] = 100,
    json: AsJson = False,
) -> None:
    """List live sessions, newest first."""
    from sqlmodel import col

    from identity.authentication import all_sessions

    with operating() as operation, operation.look() as session:
        wanted = _filter(session, browsers, user, client, address, since)
        key = col(all_sessions.TABLES[wanted.kind].id)
        query = all_sessions.matching(wanted).order_by(key.desc()).limit(limit)
        rows = [ordered(row) for row in session.exec(query).all()]
    if json:
        as_json([{n: v for n, v in row.items() if n != "digest"} for row in rows])
        return
    columns = ("id", "user_id", "client_id", "address", "created_at", "last_used_at", "user_agent")
    table(
        [name.upper().replace("_", " ") for name in columns],
        ([row.get(name) for name in columns] for row in rows),
        none="There are no such sessions.",
    )


@commands.command()
def end(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Only these.")] = None,
    browsers: Browsers = False,
    user: OfUser = None,
    client: AtClient = None,
    address: FromAddress = None,
    since: Since = None,
    yes: Yes = False,
) -> None:
    """End the sessions that all of this is true of, once you have seen how many they are."""
    from dataclasses import replace

    from identity.authentication import all_sessions
    from identity.service import stopping

    if not (ids or user or client or address or since):
        raise typer.BadParameter("say which: by ID, --user, --client, --address or --since")
    with operating() as operation:
        with operation.look() as session:
            wanted = _filter(session, browsers, user, client, address, since)
            wanted = replace(wanted, ids=ids or None)
            count = all_sessions.count(session, wanted, None)
        sure(f"End {count} sessions?", yes=yes)
        ended = _end(operation, stopping.ender(wanted, None, "ended by the operator"))
    remark(f"Sessions ended: {ended}.")


def _end(operation: Operation, unit: Any) -> int:
    total = 0
    while True:
        with operation.change() as session:
            ended = unit(session)
        if not ended.looked_at:
            return total
        total += ended.ended


def _filter(
    session: "Session",
    browsers: bool,
    user: str | None,
    client: str | None,
    address: str | None,
    since: str | None,
) -> "Filter":
    from identity.authentication.all_sessions import Filter
    from identity.cli.naming import find_client, find_user

    return Filter(
        kind="browser" if browsers else "client",
        user_id=find_user(session, user).id if user else None,
        client_id=find_client(session, client).id if client else None,
        address=address,
        since=moment(since, "--since") if since else None,
    )
