"""Deleting one's own account: wished for, waited for, undone by whoever logs in meanwhile
(`password.settle`), and done by housekeeping. Each function is part of the caller's unit of work.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, null, update
from sqlmodel import Session, col, select

from identity.clock import utcnow
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.errors import Conflict
from identity.records import audit
from identity.store import Statement, Work, changes, execute
from identity.tokens.sessions import lifecycle

BATCH = 20
"""Accounts that go in one transaction; much may hang on each."""
REASON = "account deleted by its user"


def ask(session: Session, user: User, grace: timedelta) -> datetime | None:
    """All sessions end now, and the account goes after `grace`; when, None where it is gone. The
    caller has locked the user's row. `Conflict` for the last administrator who can log in."""
    accounts.keep_an_admin(session, user)
    lifecycle.end_all(session, REASON, user_id=user.id)
    if not grace:
        accounts.remove(session, user, None)
        return None
    due = user.deletion_due_at = utcnow() + grace
    accounts.touch(session, user)
    audit.record(session, "user.deletion_requested", subject=user.id, due_at=due.isoformat())
    return due


def _undo() -> Any:
    waits = col(User.deletion_due_at).is_not(None)
    return (
        update(User)
        .where(col(User.id) == bindparam("id"), waits)
        .values({User.deletion_due_at: null()})
    )


_UNDO = Statement(_undo)


def undo(work: Work, user_id: str) -> bool:
    """For whoever comes in by something else than a password. False where nothing was to be
    undone."""
    if execute(work, _UNDO, {"id": user_id}).rowcount != 1:
        return False
    changes.record(work, "user.changed", user_id)
    audit.record(work, "user.deletion_undone", subject=user_id)
    return True


def complete(session: Session) -> int:
    """Delete up to `BATCH` accounts whose time has come; how many were looked at. One that has
    become the last administrator's meanwhile stays."""
    due = (
        select(User)
        .where(col(User.deletion_due_at) <= utcnow())
        .order_by(col(User.deletion_due_at))
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    users = session.exec(due).all()
    for user in users:
        try:
            accounts.keep_an_admin(session, user)
        except Conflict as last:
            user.deletion_due_at = None
            accounts.touch(session, user)
            audit.record(session, "user.deletion_undone", subject=user.id, why=last.detail)
            continue
        lifecycle.end_all(session, REASON, user_id=user.id)
        accounts.remove(session, user, None)
    return len(users)
