"""What ends tokens of a session shows in the status lists too: their places are noted when it
happens, in the same transaction, for the session may be gone before anybody asks."""

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import literal, union_all
from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.directory.users.table import UserRole
from identity.keys.rotation import longest_life
from identity.store import Work, changes
from identity.store import insert_on_conflict as insert
from identity.tokens.exchanged import ExchangedToken, revoke_of_client
from identity.tokens.sessions.table import Family, LoginSession, RefreshToken
from identity.tokens.status.table import RevokedPlace
from identity.verifier.gate.claims import MAX_LEEWAY

TOGETHER = 500  # ids of one statement
SKEW = timedelta(seconds=2 * MAX_LEEWAY)


def show_ended(session: Session, session_ids: Collection[str]) -> None:
    """These sessions have just ended."""
    for ids in _parts(session_ids):
        _note(session, col(LoginSession.id).in_(ids), LoginSession.id)


def show_narrowed(work: Work) -> None:
    """A `before_commit` hook: of users and clients that lost something, the tokens issued so far.

    A role that lost something is told as its users; users without a live token are not told.
    """
    pending = changes.pending(work)
    roles = [ref for kind, ref in pending if kind == "role.narrowed"]
    users = [ref for kind, ref in pending if kind == "user.narrowed"]
    clients = [ref for kind, ref in pending if kind == "client.narrowed"]
    if not (roles or users or clients):
        return
    assert isinstance(work, Session)  # a login, which needs none, takes nothing away
    session = work
    now = utcnow()
    live = (
        col(LoginSession.ended_at).is_(None),
        col(LoginSession.access_expires_at) > now - SKEW,
    )
    holders: set[str] = set()
    if roles:
        query = select(LoginSession.user_id).where(*live).distinct()
        query = query.join(UserRole, col(UserRole.user_id) == LoginSession.user_id)
        holders.update(session.exec(query.where(col(UserRole.role).in_(roles))))
    for ids in _parts(users):
        query = select(LoginSession.user_id).where(*live).distinct()
        holders.update(session.exec(query.where(col(LoginSession.user_id).in_(ids))))
    for role in roles:
        del pending["role.narrowed", role]
    for user_id in users:
        del pending["user.narrowed", user_id]
    for user_id in sorted(holders):
        changes.record(session, "user.narrowed", user_id)
        _note(session, col(LoginSession.user_id) == user_id, literal(user_id))
    for client_id in clients:
        _note(session, col(LoginSession.client_id) == client_id, literal(client_id), got=False)
        revoke_of_client(session, client_id)


def _note(session: Session, mine: Any, ref: Any, *, got: bool = True) -> None:
    """The places of all tokens of these sessions that may be alive. `got`: those too that others
    got for them."""
    since = utcnow() - longest_life(session) - SKEW
    until = LoginSession.access_expires_at
    first = select(LoginSession.status_index, ref, until).where(
        mine, col(LoginSession.status_index).is_not(None), LoginSession.created_at > since
    )
    later = (
        select(RefreshToken.status_index, ref, until)
        .join(LoginSession)
        .where(mine, col(RefreshToken.status_index).is_not(None), RefreshToken.issued_at > since)
    )
    of_code = (
        select(Family.status_index, ref, until)
        .join(LoginSession)
        .where(mine, col(Family.status_index).is_not(None), Family.created_at > since)
    )
    for_others = (
        select(ExchangedToken.place, ref, ExchangedToken.expires_at)
        .join(LoginSession, col(LoginSession.id) == col(ExchangedToken.session_id))
        .where(mine, col(ExchangedToken.expires_at) > utcnow() - SKEW)
    )
    found = (first, later, of_code, for_others) if got else (first, later, of_code)
    noted = insert(session, RevokedPlace).from_select(
        ["place", "ref", "expires_at"], union_all(*found)
    )
    session.execute(noted.on_conflict_do_nothing())


def _parts(ids: Collection[str]) -> Iterator[list[str]]:
    listed = list(ids)
    for start in range(0, len(listed), TOGETHER):
        yield listed[start : start + TOGETHER]
