"""What belongs to the demonstration, by its kind and its id or name. Nothing else tells."""

from typing import Literal

from sqlmodel import Field, Session, col, select

from identity.store import Stored

Kind = Literal["itself", "at", "user", "client", "role", "scope"]
"""`at`: when all of it had been made, in ISO 8601. What bears the same name since is not of it."""


class Demonstration(Stored, table=True):
    __tablename__ = "demonstration"

    kind: str = Field(primary_key=True)
    ref: str = Field(primary_key=True)


def mark(session: Session, kind: Kind, ref: str) -> None:
    session.add(Demonstration(kind=kind, ref=ref))


def marked(session: Session, kind: Kind) -> list[str]:
    query = select(Demonstration.ref).where(Demonstration.kind == kind)
    return list(session.exec(query.order_by(col(Demonstration.ref))))
