"""Under which addresses this database is served, for commands that were not told.

`identity serve --port 9000` knows its address, and the next command does not: so each start at
another one notes it. Notes are kept by issuer, for replicas on one machine may have several, and
the newest goes first. Nobody takes a note back, since a service that stopped still issued its
tokens under that name; whoever wants to know who runs now asks the addresses (`cli.asking`).
"""

from contextlib import suppress
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Field, Session, col, delete, select

from identity.clock import utcnow
from identity.errors import Unavailable
from identity.settings import Settings
from identity.store import Database, Stored, UtcDateTime, insert_on_conflict

KEPT = 8
"""Issuers that are remembered."""


class Served(Stored, table=True):
    """The latest start under this issuer."""

    __tablename__ = "served"

    issuer: str = Field(primary_key=True)
    host: str
    port: int
    at: datetime = Field(sa_type=UtcDateTime)


def note(session: Session, settings: Settings) -> None:
    """The service starts with these settings. A port that is yet to be chosen is no address."""
    if not settings.server.port and not settings.tokens.issuer:
        return
    newest_first = select(Served).order_by(col(Served.at).desc())
    last = session.exec(newest_first.limit(1)).first()
    server = settings.server
    if last and (last.issuer, last.host, last.port) == (settings.issuer, server.host, server.port):
        return
    values = {"host": server.host, "port": server.port, "at": utcnow()}
    noted = insert_on_conflict(session, Served).values(issuer=settings.issuer, **values)
    session.execute(noted.on_conflict_do_update(index_elements=["issuer"], set_=values))
    kept = [served.issuer for served in session.exec(newest_first.limit(KEPT))]
    session.execute(delete(Served).where(col(Served.issuer).not_in(kept)))


def as_served(db: Database, settings: Settings) -> list[Settings]:
    """`settings` under each address that was noted, newest first; as they are where they name
    the issuer themselves, or nothing is noted (yet: the schema may be behind)."""
    if settings.tokens.issuer is not None:
        return [settings]
    notes: list[Served] = []
    with suppress(SQLAlchemyError, Unavailable), Session(db.engine) as session:
        notes = list(session.exec(select(Served).order_by(col(Served.at).desc())))
    return [_under(settings, served) for served in notes] or [settings]


def _under(settings: Settings, served: Served) -> Settings:
    return settings.model_copy(
        update={
            "tokens": settings.tokens.model_copy(update={"issuer": served.issuer}),
            "server": settings.server.model_copy(update={"host": served.host, "port": served.port}),
        }
    )
