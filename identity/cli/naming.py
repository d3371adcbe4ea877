"""Whom a name means that somebody typed: one user or client, or a refusal that says who it may be.

Completion for shells comes from the same names.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlmodel import Session

    from identity.directory.clients.table import Client
    from identity.directory.users.table import User

OFFERED = 50
"""Names that a shell is offered at the most."""


def find_user(session: "Session", text: str, *, lock: bool = False) -> "User":
    """By id, username or e-mail address; `NotFound`. An id means its user alone, even if somebody
    has it for a username: nobody would be found by it otherwise."""
    from identity.directory.users import accounts
    from identity.directory.users.table import User
    from identity.errors import NotFound

    found = session.get(User, text) or accounts.find_by_login(session, text)
    if found is None:
        raise NotFound(f"there is no user {text}")
    return accounts.get(session, found.id, lock=True) if lock else found


def find_client(session: "Session", text: str, *, lock: bool = False) -> "Client":
    """By id, or by a name that one client alone has. `NotFound`, or `Conflict` as above."""
    from sqlmodel import col, or_, select

    from identity.directory.clients import accounts
    from identity.directory.clients.table import Client
    from identity.errors import NotFound

    query = select(Client).where(or_(col(Client.id) == text, col(Client.name) == text))
    candidates = session.exec(query.order_by(Client.id).limit(10)).all()
    same = [client for client in candidates if client.id == text]
    if not candidates:
        raise NotFound(f"there is no client {text}")
    if not same:
        _only_one(text, {client.id: client.name for client in candidates})
    return accounts.get(session, (same or candidates)[0].id, lock=lock)


def ids_of(session: "Session", text: str) -> list[str]:
    """All that an event's actor or subject may be called: `text` itself, and the ids of the user
    and the clients of that name."""
    from sqlmodel import select

    from identity.directory.clients.table import Client
    from identity.directory.users import accounts

    user = accounts.find_by_login(session, text)
    clients = session.exec(select(Client.id).where(Client.name == text))
    return list(dict.fromkeys([text, *([user.id] if user else []), *clients]))


def _only_one(text: str, candidates: dict[str, str]) -> None:
    from identity.errors import Conflict

    if len(candidates) > 1:
        told = ", ".join(f"{id_} ({name})" for id_, name in candidates.items())
        raise Conflict(f"{text} may be any of {told}: say which by its id")


# --- Completion -----------------------------------------------------------------------------


def _completed(ask: "Callable[[Session, str], list[str]]") -> Callable[[str], list[str]]:
    """What `ask` finds, or nothing: a shell that completes has no use for an error."""

    def complete(incomplete: str) -> list[str]:
        from identity.cli.frame import operating

        with suppress(Exception), operating() as operation, operation.look() as session:
            return ask(session, incomplete)
        return []

    return complete


def _usernames(session: "Session", begun: str) -> list[str]:
    from identity.directory.users.table import User

    return _beginning(session, User.username, begun)


def _client_ids(session: "Session", begun: str) -> list[str]:
    from identity.directory.clients.table import Client

    return _beginning(session, Client.id, begun)


def _role_names(session: "Session", begun: str) -> list[str]:
    from identity.directory.access.table import Role

    return _beginning(session, Role.name, begun)


def _beginning(session: "Session", column: str, begun: str) -> list[str]:
    """`column`: as a model has it, whose type says what its values are."""
    from sqlmodel import col, select

    query = select(column).where(col(column).startswith(begun, autoescape=True))
    return list(session.exec(query.order_by(column).limit(OFFERED)))


UserName = Annotated[
    str,
    typer.Argument(
        metavar="USER",
        help="Username, e-mail address or id.",
        autocompletion=_completed(_usernames),
    ),
]
ClientName = Annotated[
    str,
    typer.Argument(
        metavar="CLIENT",
        help="Client id, or its name.",
        autocompletion=_completed(_client_ids),
    ),
]
RoleName = Annotated[str, typer.Argument(metavar="ROLE", autocompletion=_completed(_role_names))]
