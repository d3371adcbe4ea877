"""Whom a token may speak of: every id that a user or a client has ever had, and which it was.

A service that keeps things by `sub` must never hand a user's to a client of the same id (RFC 9068
§5, RFC 9700 §4.15), nor what a deleted user has left to whoever takes the id. So an id is a user's
or a client's for ever: rows are never deleted, and two at once meet at the primary key.
"""

from string import hexdigits
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import String
from sqlmodel import Field, Session, col, select

from identity.directory.clients.table import Client
from identity.directory.users.table import User
from identity.errors import Conflict
from identity.store import Stored, insert_on_conflict

SubjectType = Literal["user", "client"]


class Subject(Stored, table=True):
    __tablename__ = "subject"

    id: str = Field(primary_key=True)
    type: SubjectType = Field(sa_type=String)


_OTHERS: dict[str, Any] = {"user": Client.id, "client": User.id}
"""An older version that shares the database leaves no row with the ids that it gives."""


def claim(session: Session, subject_id: str, type_: SubjectType) -> None:
    """Take the id for a user, or for a client, which may have had it before. `Conflict` where it
    is or was one of the other kind; whoever claims it at the same time waits for our commit."""
    claimed = insert_on_conflict(session, Subject).values(id=subject_id, type=type_)
    claimed = claimed.on_conflict_do_update(
        index_elements=["id"], set_={"type": col(Subject.type)}
    ).returning(col(Subject.type))
    owner = session.execute(claimed).scalar_one()
    if owner != type_ or _has(session, _OTHERS[type_], subject_id):
        raise Conflict(f"the {type_} id is taken")


def spelling(subject_id: str) -> str:
    """The id itself; of a UUID, whose spellings many databases do not tell apart, the one in which
    users' ids are made."""
    digits = subject_id.replace("-", "")
    if len(digits) != 32 or not set(digits) <= set(hexdigits):
        return subject_id
    return str(UUID(digits))


def shared(session: Session) -> list[str]:
    """Ids of clients that are, or were, a user's, in whatever spelling: of before this was looked
    at."""
    was_user = select(Subject.id).where(Subject.type == "user")
    respelt = [(each, spelling(each)) for each in session.exec(select(Client.id))]
    also = [
        each
        for each, as_user in respelt
        if as_user != each
        and (
            _has(session, User.id, as_user)
            or session.exec(was_user.where(Subject.id == as_user)).first()
        )
    ]
    both = select(Client.id).where(
        col(Client.id).in_(select(User.id)) | col(Client.id).in_(was_user)
    )
    return sorted({*session.exec(both), *also})


def _has(session: Session, column: Any, subject_id: str) -> bool:
    return session.exec(select(column).where(column == subject_id)).first() is not None
