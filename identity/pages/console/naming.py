"""What ids are called: lists show people's names and clients', and keep the id within reach."""

from collections.abc import Iterable

from sqlmodel import Session, col, select

from identity.directory.clients.table import Client
from identity.directory.users.accounts import find_by_login, get
from identity.directory.users.table import User
from identity.pages.console.desk import Desk, Query


async def user(desk: Desk, query: Query) -> User:
    """Whose id the page's address has. Raises `NotFound`."""
    return await desk.services.db.read(lambda session: get(session, query.get("id", "")))


def user_id(session: Session, named: str | None) -> str | None:
    """Of whom an address names by their id, or by what they sign in with; None: nobody is named.
    Somebody's id may be another's username, and means whose id it is."""
    if not named:
        return None
    user = session.get(User, named[:200]) or find_by_login(session, named[:256])
    return user.id if user else named[:200]


def users(session: Session, ids: Iterable[str | None]) -> dict[str, str]:
    """Usernames by id, of those that are still there."""
    wanted = {each for each in ids if each}
    if not wanted:
        return {}
    return dict(session.exec(select(User.id, User.username).where(col(User.id).in_(wanted))).all())


def clients(session: Session, ids: Iterable[str | None]) -> dict[str, str]:
    """Names by id, of those that are still there; the id itself where one has no name."""
    wanted = {each for each in ids if each}
    if not wanted:
        return {}
    found = session.exec(select(Client.id, Client.name).where(col(Client.id).in_(wanted))).all()
    return {client_id: name or client_id for client_id, name in found}


def client_ids(session: Session, most: int) -> list[str]:
    """For a box that proposes some."""
    return list(session.exec(select(Client.id).order_by(Client.id).limit(most)))
