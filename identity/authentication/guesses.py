"""Guessing the codes that devices show: how many may be wrong, and for whom.

Whoever types one has signed in. Three counters, as those of passwords (`throttle`) and in the same
table: a user, a network, and all together, which ten thousand devices that wait at once and
thirty-four bits of a code make hopeless. A counter ends `LOGIN_LOCKOUT` after it began, or after it
reached its limit.
"""

from typing import Any

from sqlalchemy import bindparam
from sqlmodel import col

from identity.authentication.throttle import Counted, LoginFailure, Throttle
from identity.clock import utcnow
from identity.errors import TooManyRequests
from identity.opaque import digest
from identity.records.audit.origins import network_of
from identity.store import Database, Statement, Work, moment, select_of

IN_ALL = 100
"""How much more may be wrong in all than of one user or network."""


def _running() -> Any:
    keys: list[Any] = [bindparam("user"), bindparam("network"), bindparam("all")]
    return select_of(LoginFailure.key, LoginFailure.count, LoginFailure.expires_at).where(
        col(LoginFailure.key).in_(keys), col(LoginFailure.expires_at) > bindparam("now")
    )


_RUNNING = Statement(_running)


class Guesses:
    """Of one user at one address."""

    def __init__(self, throttle: Throttle, user_id: str, address: str | None) -> None:
        self._throttle = throttle
        network = network_of(address)
        self._told = {
            "user": Counted("user_code", user_id),
            "network": Counted("user_code", network=network),
            "all": Counted("user_code"),
        }
        self._keys = {
            "user": digest(f"user code\nuser\n{user_id}"),
            "network": digest(f"user code\nnetwork\n{network}"),
            "all": digest("user code\nall"),
        }
        each = throttle.limit
        self._limits = {"user": each, "network": each, "all": each * IN_ALL}

    async def check(self, db: Database) -> None:
        """Raises `TooManyRequests` while a counter is at its limit."""
        now = utcnow()
        rows = await db.query(_RUNNING, {**self._keys, "now": now})
        counted = {key: (count, moment(end)) for key, count, end in rows}
        for what, key in self._keys.items():
            count, end = counted.get(key, (0, now))
            if count >= self._limits[what]:
                seconds = int((end - now).total_seconds()) + 1
                raise TooManyRequests(seconds, audit=f"too many wrong user codes by {what}")

    def wrong(self, work: Work) -> None:
        """It was none: count it."""
        for what, key in sorted(self._keys.items()):
            self._throttle.count(work, key, self._limits[what], self._told[what])
