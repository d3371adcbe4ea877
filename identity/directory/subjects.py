"""Whom a token may speak of: every id that a user or a client has ever had, and which it was.

A service that keeps things by `sub` must never hand a user's to a client of the same id (RFC 9068
§5, RFC 9700 §4.15), nor what a deleted user has left to whoever takes the id. So an id is a user's
or a client's for ever: rows are never deleted, and two at once meet at the primary key.
"""

from string import hexdigits
from typing import Literal
from uuid import UUID

from sqlalchemy import String, text
from sqlmodel import Field, Session, SQLModel, col

from identity.errors import Conflict
from identity.store import insert_on_conflict

SubjectType = Literal["user", "client"]


class Subject(SQLModel, table=True):
    __tablename__ = "subject"

    id: str = Field(primary_key=True)
    type: SubjectType = Field(sa_type=String)


_OTHERS = {
    "user": "SELECT 1 FROM client WHERE id = :id",
    "client": "SELECT 1 FROM user_account WHERE id = :id",
}
"""An older version that shares the database leaves no row with the ids that it gives."""


def claim(session: Session, subject_id: str, type_: SubjectType) -> None:
    """Take the id for a user, or for a client, which may have had it before. `Conflict` where it
    is or was one of the other kind; whoever claims it at the same time waits for our commit."""
    claimed = insert_on_conflict(session, Subject).values(id=subject_id, type=type_)
    claimed = claimed.on_conflict_do_update(
        index_elements=["id"], set_={"type": col(Subject.type)}
    ).returning(col(Subject.type))
    owner = session.execute(claimed).scalar_one()
    if owner != type_ or session.execute(text(_OTHERS[type_]), {"id": subject_id}).first():
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
    ids = session.execute(text("SELECT id FROM client")).scalars()
    respelt = [(each, spelling(each)) for each in ids if spelling(each) != each]
    users = text(
        "SELECT 1 FROM user_account WHERE id = :id "
        "UNION SELECT 1 FROM subject WHERE id = :id AND type = 'user'"
    )
    also = [each for each, as_user in respelt if session.execute(users, {"id": as_user}).first()]
    both = text(
        "SELECT c.id FROM client c WHERE EXISTS (SELECT 1 FROM user_account u WHERE u.id = c.id) "
        "OR EXISTS (SELECT 1 FROM subject s WHERE s.id = c.id AND s.type = 'user') ORDER BY c.id"
    )
    return sorted({*session.execute(both).scalars(), *also})
