"""`identity users sessions`"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from identity.cli.frame import operating
from identity.cli.naming import UserName, find_user
from identity.cli.printing import AsJson, as_json, remark, table

if TYPE_CHECKING:
    from sqlmodel import Session

    from identity.directory.users.table import User

REASON = "ended by an administrator"


def add_to(commands: typer.Typer) -> None:
    commands.command()(sessions)


def sessions(
    user: UserName,
    end: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="End this one, known by its id; may be repeated."),
    ] = None,
    end_all: Annotated[bool, typer.Option("--end-all", help="End all of them.")] = False,
    json: AsJson = False,
) -> None:
    """List a user's live sessions, newest first, or end some."""
    if end and end_all:
        raise typer.BadParameter("--end and --end-all exclude each other")
    if end or end_all:
        with operating() as operation, operation.change() as session:
            found = find_user(session, user)
            ended = _end(session, found, end)
        remark(f"Sessions of {found.username} ended: {ended}.")
        return
    with operating() as operation, operation.look() as session:
        found = find_user(session, user)
        live = _live(session, found)
    if json:
        as_json(live)
        return
    table(
        ("ID", "CLIENT", "SINCE", "LAST USED", "UNTIL", "FROM", "USER AGENT", "SCOPE"),
        (tuple(one.values()) for one in live),
        none=f"{found.username} has no live session.",
    )


def _live(session: "Session", user: "User") -> list[dict[str, Any]]:
    """As the API shows them, newest first."""
    from identity.tokens.sessions.lifecycle import live_of

    return [
        {
            "id": one.id,
            "client_id": one.client_id,
            "created_at": one.created_at,
            "last_used_at": one.last_used_at,
            "expires_at": one.expires_at,
            "address": one.address,
            "user_agent": one.user_agent,
            "scope": one.scope,
        }
        for one in live_of(session, user.id)
    ]


def _end(session: "Session", user: "User", ids: list[str] | None) -> int:
    """End these, or all; how many. `NotFound` for one that is not the user's or has ended."""
    from identity.errors import NotFound
    from identity.tokens.sessions import lifecycle

    if ids is None:
        return lifecycle.end_all(session, REASON, user_id=user.id)
    known = {one.id for one in lifecycle.live_of(session, user.id)}
    for session_id in ids:
        if session_id not in known or not lifecycle.end(session, session_id, REASON):
            raise NotFound(f"{user.username} has no live session {session_id}")
    return len(ids)
