"""A session that hangs on no browser session, of a person who has signed in with one: a device
that they have allowed goes on when they sign out where they did so. What ends all that the person
has ends it as well."""

from datetime import datetime

from sqlalchemy import bindparam
from sqlmodel import col

from identity.directory.users.table import User
from identity.errors import InvalidGrant
from identity.store import Statement, Work, execute, select_of
from identity.tokens.sessions import beginning, joining
from identity.tokens.sessions.beginning import Begun
from identity.tokens.sessions.lifecycle import Lifetimes

_HOLD = Statement(
    lambda: (
        select_of(User.id)
        .where(col(User.id) == bindparam("user_id"), col(User.status) == "active")
        .with_for_update(read=True)
    )  # so that it stays as it is until we commit
)


def begin(
    work: Work,
    lifetimes: Lifetimes,
    *,
    user_id: str,
    client_id: str,
    scope: str,
    audience: str,
    authenticated_at: datetime,
    amr: list[str],
    acr: str,
    status_index: int,
    user_agent: str | None,
    jkt: str | None = None,
) -> Begun:
    """`jkt`: what its refresh tokens are bound to. `InvalidGrant` where user or client is
    gone or disabled by now."""
    if not execute(work, _HOLD, {"user_id": user_id}).fetchall():
        raise InvalidGrant("the grant is not valid any more", audit="user gone or disabled")
    begun = beginning.start(
        work,
        lifetimes,
        user_id=user_id,
        client_id=client_id,
        scope=scope,
        audience=audience,
        amr=amr,
        acr=acr,
        status_index=status_index,
        user_agent=user_agent,
        jkt=jkt,
    )
    family_id = joining.add_family(
        work, begun.id, scope=scope, audience=audience, authenticated_at=authenticated_at,
        amr=amr, acr=acr, status_index=status_index, jkt=jkt,
    )  # fmt: skip
    return begun._replace(authenticated_at=authenticated_at, family_id=family_id)
