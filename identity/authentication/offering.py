"""A second factor is offered once: to whoever signs in on our pages by a password alone."""

from sqlalchemy import bindparam, update
from sqlmodel import col

from identity.clock import utcnow
from identity.directory.users.table import User
from identity.store import Statement, Work, execute

_OFFER = Statement(
    lambda: (
        update(User)
        .where(
            col(User.id) == bindparam("id"),
            col(User.second_factor).is_(False),
            col(User.factor_offered_at).is_(None),
        )
        .values({User.factor_offered_at: bindparam("now")})
    )
)


def first(work: Work, user_id: str) -> bool:
    """Whether it is to be offered now: true once, however many sign in at the same time. Part of
    the caller's unit of work."""
    return execute(work, _OFFER, {"id": user_id, "now": utcnow()}).rowcount == 1
