"""Which sessions a user has: those that have neither ended nor expired."""

from collections.abc import Sequence

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from identity.clock import utcnow
from identity.store.searching import contains
from identity.tokens.sessions.table import BrowserSession, LoginSession


def browsers_of(user_id: str) -> SelectOfScalar[BrowserSession]:
    """Where they are signed in with a browser."""
    return select(BrowserSession).where(
        BrowserSession.user_id == user_id,
        col(BrowserSession.ended_at).is_(None),
        BrowserSession.expires_at > utcnow(),
    )


def logins_of(
    user_id: str, client_id: str | None = None, words: str | None = None
) -> SelectOfScalar[LoginSession]:
    """Their logins at clients; at one alone where it is named, and where the client's id, the
    address or the device has `words` in it."""
    query = select(LoginSession).where(
        LoginSession.user_id == user_id,
        col(LoginSession.ended_at).is_(None),
        LoginSession.expires_at > utcnow(),
    )
    if client_id is not None:
        query = query.where(LoginSession.client_id == client_id)
    if words:
        looked_at = (LoginSession.client_id, LoginSession.address, LoginSession.user_agent)
        query = query.where(contains(words, *map(col, looked_at)))
    return query


def below(session: Session, browser_session_ids: Sequence[str]) -> dict[str, list[LoginSession]]:
    """The logins at clients that end with each of these, by client."""
    query = select(LoginSession).where(
        col(LoginSession.browser_session_id).in_(browser_session_ids),
        col(LoginSession.ended_at).is_(None),
        LoginSession.expires_at > utcnow(),
    )
    found: dict[str, list[LoginSession]] = {}
    for row in session.exec(query.order_by(col(LoginSession.client_id))):
        found.setdefault(row.browser_session_id or "", []).append(row)
    return found
