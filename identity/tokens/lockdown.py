"""Lockdown: nobody signs in and nothing is issued, by any process, until it is lifted.

The state is one row. Each process remembers it, and the change feed keeps that true, so that a
request pays a look at a dictionary. Whoever holds the scope `lockdown:write` is let in all the
same, for somebody has to lift it; the operator at the command line needs no sign-in.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import literal, update
from sqlmodel import Field, Session, col, select

from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.directory.access.granting import LOCKDOWN
from identity.directory.clients.table import Client
from identity.directory.users import accounts
from identity.errors import LockedDown
from identity.records import audit
from identity.records.audit import origin
from identity.store import (
    Database,
    Statement,
    Stored,
    UtcDateTime,
    Work,
    changes,
    execute,
    insert_on_conflict,
    moment,
    select_of,
)
from identity.store.remembered import Remembered

NOUN: Final = "lockdown"
ONE: Final = 1
ANY_LEVEL: Final = "phr"


class Lockdown(Stored, table=True):
    """The one row. None of it says anything while it is not active."""

    __tablename__ = "lockdown"

    id: int = Field(default=ONE, primary_key=True)
    active: bool = False
    version: int = 0
    """Counts every change; the ETag."""
    since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    reason: str | None = None
    actor_type: str | None = None
    actor: str | None = None
    """Who began it, as the audit names them."""
    tokens_ended: bool = False
    """Whether what was issued before has died as well."""


@dataclass(frozen=True, slots=True)
class State:
    """The row as a process remembers it."""

    active: bool = False
    version: int = 0
    since: datetime | None = None
    reason: str | None = None
    actor_type: str | None = None
    actor: str | None = None
    tokens_ended: bool = False

    def admits(self, scopes: Collection[str]) -> bool:
        """Whether somebody who holds these may sign in and be given tokens now."""
        return not self.active or LOCKDOWN in scopes

    def check(self, scopes: Collection[str]) -> None:
        """Raises `LockedDown` unless it admits them."""
        if not self.admits(scopes):
            raise LockedDown()


OPEN: Final = State()
Lockdowns = Remembered[State]
_COLUMNS: tuple[Any, ...] = (
    Lockdown.active,
    Lockdown.version,
    Lockdown.since,
    Lockdown.reason,
    Lockdown.actor_type,
    Lockdown.actor,
    Lockdown.tokens_ended,
)
_STATE = Statement(lambda: select_of(*_COLUMNS).where(col(Lockdown.id) == literal(ONE)))


async def load(db: Database) -> State:
    rows = await db.query(_STATE, {})
    return _state(rows[0]) if rows else OPEN


async def now_in_force(lockdowns: Lockdowns) -> State:
    """The caller has awaited `feed.catch_up()`."""
    return lockdowns.at_hand("*") or await lockdowns.get("*") or OPEN


def look(work: Work) -> State:
    """As the database has it in this transaction."""
    rows = execute(work, _STATE, {}).fetchall()
    return _state(rows[0]) if rows else OPEN


def admit(work: Work, user_id: str, acr: str = ANY_LEVEL) -> None:
    """Raises `LockedDown` unless this user may sign in now, by the rights that they have at any
    level: how sure of them we will be shows only when they have. `acr`: by those at this one."""
    state = look(work)
    if state.active:
        state.check(accounts.rights_of(work, user_id, acr)[1])


# --- Beginning and lifting ------------------------------------------------------------------
# Each is part of the caller's unit of work.


def hold(session: Session) -> Lockdown:
    """The row, for this transaction alone."""
    new = insert_on_conflict(session, Lockdown).values(
        id=ONE, active=False, version=0, tokens_ended=False
    )
    session.execute(new.on_conflict_do_nothing())
    query = select(Lockdown).where(Lockdown.id == ONE).with_for_update()
    return session.exec(query.execution_options(populate_existing=True)).one()


def begin(session: Session, row: Lockdown, reason: str | None, *, end_tokens: bool) -> None:
    """From the commit on. With `end_tokens`, whatever was issued so far dies with it; the caller
    then ends the sessions behind it, which may be many (`service.stopping`). Begun again, it says
    what is new."""
    if not row.active:
        row.since = utcnow()
        row.tokens_ended = False
    who = origin.get()
    row.active, row.reason, row.actor_type, row.actor = True, reason, who.actor_type, who.actor
    if end_tokens:
        row.tokens_ended = True
        _end_tokens(session)
    _changed(session, row)
    audit.record(session, "lockdown.begun", reason=reason, tokens_ended=end_tokens)


def lift(session: Session, row: Lockdown) -> bool:
    """False where there was none."""
    if not row.active:
        return False
    since = row.since
    row.active, row.since, row.reason, row.tokens_ended = False, None, None, False
    row.actor_type = row.actor = None
    _changed(session, row)
    audit.record(session, "lockdown.lifted", since=since.isoformat() if since else None)
    return True


def _end_tokens(session: Session) -> None:
    """Every client's, which are all: few rows, whatever number of tokens and sessions."""
    # Tokens know whole seconds only.
    good_from = utcnow().replace(microsecond=0) + timedelta(seconds=1)
    ids = session.execute(update(Client).values(good_from=good_from).returning(col(Client.id)))
    for (client_id,) in ids.all():
        changes.record(session, "client.revoked", client_id)


def _changed(session: Session, row: Lockdown) -> None:
    row.version += 1
    session.add(row)
    session.flush()
    changes.record(session, f"{NOUN}.changed", "*")


def _state(row: Sequence[Any]) -> State:
    active, version, since, reason, actor_type, actor, tokens_ended = row
    return State(
        active=bool(active),
        version=version,
        since=moment(since) if since else None,
        reason=reason,
        actor_type=actor_type,
        actor=actor,
        tokens_ended=bool(tokens_ended),
    )
