"""A user's sessions: listing and ending them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlmodel import Session

    from identity.users.table import User

REASON = "ended by an administrator"


def live(session: "Session", user: "User") -> list[dict[str, Any]]:
    """As the API shows them, newest first."""
    from identity.sessions.lifecycle import live_of

    return [
        {
            "id": one.id,
            "client_id": one.client_id,
            "created_at": one.created_at,
            "last_used_at": one.last_used_at,
            "expires_at": one.expires_at,
            "address": one.address,
            "user_agent": one.user_agent,
            "scope": one.scope,
        }
        for one in live_of(session, user.id)
    ]


def end(session: "Session", user: "User", ids: list[str] | None) -> int:
    """End these, or all; how many. `NotFound` for one that is not the user's or has ended."""
    from identity.errors import NotFound
    from identity.sessions import lifecycle

    if ids is None:
        return lifecycle.end_all(session, REASON, user_id=user.id)
    known = {one.id for one in lifecycle.live_of(session, user.id)}
    for session_id in ids:
        if session_id not in known or not lifecycle.end(session, session_id, REASON):
            raise NotFound(f"{user.username} has no live session {session_id}")
    return len(ids)
