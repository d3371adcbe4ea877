"""Why a user cannot log in: whether it is locked, and what failed last; `identity users unlock`."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer

from identity.cli.frame import Operation, operating
from identity.cli.naming import UserName, find_user
from identity.cli.printing import remark

if TYPE_CHECKING:
    from sqlmodel import Session

    from identity.directory.users.table import User

ADDRESSES = 1_000
"""Addresses of the latest failures that are looked at."""


def add_to(commands: typer.Typer) -> None:
    commands.command()(unlock)


def unlock(user: UserName) -> None:
    """Let a user who failed too often try again at once."""
    with operating() as operation, operation.change() as session:
        found = find_user(session, user, lock=True)
        _unlock(operation, session, found)
    remark(f"{found.username} is not locked.")


def state_of(operation: Operation, session: "Session", user: "User") -> dict[str, Any]:
    """Beside what the API shows: password, lockout, last failure, live sessions."""
    from identity.authentication import blocks
    from identity.tokens.sessions.lifecycle import live_of

    limit = operation.settings.throttle.login_max_failures
    locks = blocks.locks_of(session, _names(user), failing_from(operation, session, user), limit)
    return {
        "password": _password_state(user),
        "locked": [{"address": address, "until": until} for address, until in locks],
        "last_failure": _last_failure(session, user),
        "sessions": len(live_of(session, user.id)),
    }


def _password_state(user: "User") -> str:
    from identity.clock import utcnow

    if user.password_hash is None:
        return "none"
    if not user.must_change_password:
        return "set"
    expires = user.password_expires_at
    if expires is None:
        return "must be changed"
    if expires <= utcnow():
        return "one-time password, expired: set another by `identity users set-password`"
    return f"must be changed until {expires:%Y-%m-%d %H:%M} UTC"


def _unlock(operation: Operation, session: "Session", user: "User") -> int:
    """Let the user try again at once; how many counters were forgotten."""
    from identity.authentication import blocks, totp
    from identity.records import audit

    totp.forgive(session, user.id)
    count = blocks.unlock(session, _names(user), failing_from(operation, session, user))
    audit.record(session, "user.unlocked", subject=user.id, counters=count)
    return count


def failing_from(operation: Operation, session: "Session", user: "User") -> list[str | None]:
    """Where logins of this user have failed, as long as that can still count."""
    from sqlmodel import col, select

    from identity.clock import utcnow
    from identity.records.audit import AuditEvent

    # A counter begins with its first failure and may be locked once more at its end.
    since = utcnow() - 2 * operation.settings.throttle.login_lockout - timedelta(hours=1)
    query = select(AuditEvent.address).where(*_refused(user), AuditEvent.at >= since)
    return list(session.exec(query.order_by(col(AuditEvent.id).desc()).limit(ADDRESSES)))


def _last_failure(session: "Session", user: "User") -> dict[str, Any] | None:
    from sqlmodel import col, select

    from identity.records.audit import AuditEvent

    query = select(AuditEvent).where(*_refused(user)).order_by(col(AuditEvent.id).desc())
    last = session.exec(query.limit(1)).first()
    if last is None:
        return None
    return {"at": last.at, "address": last.address, "why": last.detail.get("why")}


def _refused(user: "User") -> tuple[Any, ...]:
    from identity.records.audit import AuditEvent

    return (
        AuditEvent.event == "login",
        AuditEvent.outcome == "refused",
        AuditEvent.subject == user.id,
    )


def _names(user: "User") -> list[str]:
    return [name for name in (user.username, user.email) if name]
