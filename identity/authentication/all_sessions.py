"""Everybody's sessions: looked for, counted, and ended one or many at a time.

There are two kinds, and a filter is for one of them: `client`, a login at a client, and `browser`,
a person signed in here. Lists go by id, which begins with the time, newest first.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from identity.authentication import browser
from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.directory.access.authority import Held, beyond_roles
from identity.directory.users import accounts
from identity.directory.users.table import UserRole
from identity.errors import NotFound
from identity.store import select_of
from identity.tokens.sessions import lifecycle
from identity.tokens.sessions.table import BrowserSession, LoginSession

Kind = Literal["client", "browser"]
TABLES: dict[Kind, Any] = {"client": LoginSession, "browser": BrowserSession}
TOGETHER = 200
"""Sessions that one transaction ends."""
COUNTED = 10_000
"""Beyond so many a preview counts no further: it would hold up whoever waits for the database."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which sessions that have neither ended nor expired. None: whichever."""

    kind: Kind = "client"
    user_id: str | None = None
    client_id: str | None = None
    """A browser session is a client's where a session of the client hangs on it."""
    address: str | None = None
    since: datetime | None = None
    """Begun then or later."""
    until: datetime | None = None
    """Begun before."""
    ids: Sequence[str] | None = None


class Ended(NamedTuple):
    looked_at: int
    """0: none is left."""
    ended: int
    """Somebody else may have been quicker."""


def matching(wanted: Filter) -> SelectOfScalar[Any]:
    """Rows of `LoginSession` or `BrowserSession`, to be ordered by id."""
    return select(TABLES[wanted.kind]).where(*_conditions(wanted))


def find(session: Session, session_id: str) -> tuple[Kind, str] | None:
    """Which kind a live session is of, and whose it is."""
    for kind, table in TABLES.items():
        query = select_of(table.user_id).where(*_conditions(Filter(kind, ids=[session_id])))
        user_id: str | None = session.execute(query).scalar()
        if user_id is not None:
            return kind, user_id
    return None


def count(session: Session, wanted: Filter, held: Held) -> int:
    """How many `end_some` would end, `COUNTED` at the most."""
    some = _endable(session, wanted, held).limit(COUNTED).subquery()
    counted: int = session.execute(select_of(func.count()).select_from(some)).scalar_one()
    return counted


def end_some(
    session: Session, wanted: Filter, held: Held, reason: str, *, most: int = TOGETHER
) -> Ended:
    """End some of them, part of the caller's unit of work. Those of users who hold more than `held`
    stay."""
    ids = list(session.scalars(_endable(session, wanted, held).limit(most)))
    if not ids:
        return Ended(0, 0)
    if wanted.kind == "client":
        return Ended(len(ids), lifecycle.end_all(session, reason, ids=ids))
    return Ended(len(ids), sum(browser.end(session, each, reason) for each in ids))


def end_one(session: Session, session_id: str, held: Held, reason: str) -> None:
    """With a browser's end its sessions at clients, but for offline ones. `NotFound` where it is
    none or has ended, `Forbidden` where its user holds more than `held`."""
    found = find(session, session_id)
    if found is None:
        raise NotFound("there is no such session")
    kind, user_id = found
    accounts.guard(session, accounts.get(session, user_id), held)
    end_some(session, Filter(kind, ids=[session_id]), held, reason)


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    table = TABLES[wanted.kind]
    found: list[ColumnElement[bool]] = [
        col(table.ended_at).is_(None),
        col(table.expires_at) > utcnow(),
    ]
    if wanted.user_id is not None:
        found.append(col(table.user_id) == wanted.user_id)
    if wanted.client_id is not None:
        found.append(_of_client(wanted.kind, wanted.client_id))
    if wanted.address is not None:
        found.append(col(table.address) == wanted.address)
    if wanted.since is not None:
        found.append(col(table.created_at) >= wanted.since)
    if wanted.until is not None:
        found.append(col(table.created_at) < wanted.until)
    if wanted.ids is not None:
        found.append(col(table.id).in_(wanted.ids))
    return found


def _of_client(kind: Kind, client_id: str) -> ColumnElement[bool]:
    if kind == "client":
        return col(LoginSession.client_id) == client_id
    below = select_of(LoginSession.browser_session_id).where(
        col(LoginSession.client_id) == client_id,
        col(LoginSession.ended_at).is_(None),
        col(LoginSession.browser_session_id).is_not(None),
    )
    return col(BrowserSession.id).in_(below)


def _endable(session: Session, wanted: Filter, held: Held) -> Any:
    table = TABLES[wanted.kind]
    query = select_of(table.id).where(*_conditions(wanted))
    beyond: Collection[str] = beyond_roles(session, held)
    if beyond:
        theirs = select(UserRole.user_id).where(col(UserRole.role).in_(beyond))
        query = query.where(col(table.user_id).not_in(theirs))
    return query
