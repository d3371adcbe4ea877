"""Access tokens that were got for others (RFC 8693), and what each of them ends with.

One of a user ends with the session of the token that it was got for. A client's own token has no
session: what was got for it ends with it by its `jti`, and with what was got for that in turn.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, exists, insert, select
from sqlmodel import Field, Session, col

from identity.clock import utcnow
from identity.directory.clients.table import Client
from identity.directory.users.table import User
from identity.store import (
    BIG,
    Database,
    Statement,
    Stored,
    UtcDateTime,
    Work,
    changes,
    delete_some,
    execute,
    insert_on_conflict,
    select_of,
    value_of,
)
from identity.tokens.sessions.table import LoginSession
from identity.tokens.table import RevokedToken


class ExchangedToken(Stored, table=True):
    __tablename__ = "exchanged_token"

    jti: str = Field(primary_key=True)
    place: int = Field(sa_type=BIG)
    """In the status lists."""
    session_id: str | None = Field(default=None, index=True)
    parent: str | None = Field(default=None, index=True)
    """The `jti` that it was got for, where there is no session."""
    principal: str | None = Field(default=None, index=True)
    """The client that it speaks of, where there is no session."""
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


_COLUMNS: tuple[Any, ...] = (
    ExchangedToken.jti,
    ExchangedToken.place,
    ExchangedToken.session_id,
    ExchangedToken.parent,
    ExchangedToken.principal,
    ExchangedToken.expires_at,
)
_VALUES = [value_of(column, column.key) for column in _COLUMNS]


def _of_user() -> Any:
    living = (
        select_of(*_VALUES)
        .select_from(LoginSession, User, Client)
        .where(
            col(LoginSession.id) == bindparam("session_id"),
            col(LoginSession.ended_at).is_(None),
            col(User.id) == bindparam("user_id"),
            col(User.status) == "active",
            col(Client.id) == bindparam("client_id"),
            col(Client.status) == "active",
        )
        .with_for_update(read=True)
    )
    return insert(ExchangedToken).from_select([*_COLUMNS], living)


_OF_USER = Statement(_of_user)
"""If session, user and client live; on PostgreSQL they do until we commit: whoever ends the session
finds this one."""


def _clients() -> Any:
    both: list[Any] = [bindparam("client_id"), bindparam("principal")]
    active = select_of(Client.id).where(col(Client.id).in_(both), col(Client.status) == "active")
    return active.with_for_update(read=True)


_CLIENTS = Statement(_clients)
_OF_CLIENT = Statement(
    lambda: insert(ExchangedToken).from_select(
        [*_COLUMNS],
        select_of(*_VALUES).where(~exists().where(col(RevokedToken.jti) == bindparam("parent"))),
    )
)
"""After `_CLIENTS`, and as a statement of its own: whoever revokes the parent holds its client, and
what they have committed is seen by what begins when they have."""


async def record(
    db: Database,
    *,
    jti: str,
    place: int,
    expires_at: float,
    client_id: str,
    user_id: str | None = None,
    session_id: str | None = None,
    parent: str | None = None,
    principal: str | None = None,
) -> bool:
    """Before the token is given to anybody, durable; False where what it hangs on has ended.
    `expires_at`: Unix time. A session and its user, or a parent and its client."""
    values = {
        "jti": jti,
        "place": place,
        "session_id": session_id,
        "parent": parent,
        "principal": principal,
        "expires_at": datetime.fromtimestamp(expires_at, UTC),
        "client_id": client_id,
        "user_id": user_id,
    }
    if session_id is not None:
        return await db.apply(sqlite=[_OF_USER], postgresql=_OF_USER, values=values)

    def unit(work: Work) -> bool:
        living = execute(work, _CLIENTS, values).fetchall()
        both = {client_id, principal} == {each for (each,) in living}
        return both and execute(work, _OF_CLIENT, values).rowcount == 1

    return await db.write_plain(unit)


def hold(session: Session, principal: str) -> None:
    """Until the caller commits nothing is got for this client's own tokens."""
    session.execute(select_of(Client.id).where(col(Client.id) == principal).with_for_update())


def revoke_children(session: Session, jti: str) -> None:
    """What was got for this token, which is revoked. The caller holds its client."""
    parents = [jti]
    while parents:
        parents = _revoke(session, col(ExchangedToken.parent).in_(parents))


def revoke_of_client(session: Session, principal: str) -> None:
    """Whatever was got for this client's own tokens; it has been disabled, deleted or narrowed."""
    _revoke(session, col(ExchangedToken.principal) == principal)


def _revoke(session: Session, theirs: Any) -> list[str]:
    living = select(ExchangedToken).where(theirs, col(ExchangedToken.expires_at) > utcnow())
    found = list(session.scalars(living))
    _note(session, found)
    return [each.jti for each in found]


def _note(session: Session, tokens: Iterable[ExchangedToken]) -> None:
    for each in tokens:
        revoked = insert_on_conflict(session, RevokedToken).values(
            jti=each.jti, revoked_at=utcnow(), expires_at=each.expires_at, status_index=each.place
        )
        session.execute(revoked.on_conflict_do_nothing())
        changes.record(session, "token.revoked", each.jti)


def prune(session: Session) -> int:
    return delete_some(session, ExchangedToken, col(ExchangedToken.expires_at) < utcnow())
