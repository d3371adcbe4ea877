"""Guessing passwords, slowed: how many logins may fail, and for whom.

Three counters:

- account and address together: `LOGIN_MAX_FAILURES`, so that whoever attacks an account locks out
  himself, not its owner;
- an account from everywhere, ten times that: slows an attack from many addresses;
- an address for all accounts, ten times that: slows one password tried on many accounts.

The two totals do not hold up an account at an address from which it has logged in before, so
its owner, or the users of a shared gateway, keep working while the attack goes on.

A counter starts with its first failure and ends `LOGIN_LOCKOUT` later; reaching its limit, it
locks for `LOGIN_LOCKOUT` from then on. Attempts during a lock are refused and change nothing.
Whether an account exists makes no difference, for names are counted as they were typed.

Only failures are written, after the password was compared: right passwords given at once are no
attack. So that wrong ones given at once cannot pass a limit, each takes its turn first, in the
hashing thread: what this process compares, or found wrong and has not written yet, counts too.
Other processes can exceed a limit by the number of their hashing threads, no more.
"""

import hashlib
import math
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, NamedTuple

from sqlalchemy import bindparam, case, delete, false, literal, null, select, union_all
from sqlmodel import Field, Session, col

from identity.clock import utcnow
from identity.errors import TooManyRequests
from identity.records.audit.origins import network_of
from identity.settings import ThrottleSettings
from identity.store import (
    Database,
    Statement,
    StatementBy,
    Stored,
    UtcDateTime,
    Work,
    delete_some,
    execute,
    insert_for,
    moment,
    value_of,
)
from identity.store.statements import DialectName

TOTAL_FACTOR = 10
"""How much more an account, or an address, may fail in total than the two together."""
REMEMBERED = timedelta(days=180)
"""How long an address stays known to an account that no longer logs in from it."""


class LoginFailure(Stored, table=True):
    """A counter. `key`: digest of what is counted; after `expires_at` it counts for nothing. What
    that is stands beside it for administrators (`blocks`), but for names that are nobody's: what
    was typed there may be a password."""

    __tablename__ = "login_failure"

    key: str = Field(primary_key=True)
    count: int
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    kind: str | None = None
    user_id: str | None = None
    network: str | None = None
    locked: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """It has reached its limit."""


class Counted(NamedTuple):
    """What a counter counts."""

    kind: str
    user_id: str | None = None
    network: str | None = None


class KnownAddress(Stored, table=True):
    """An account has logged in from an address. `key`: digest of the two."""

    __tablename__ = "known_address"

    key: str = Field(primary_key=True)
    seen_at: datetime = Field(sa_type=UtcDateTime, index=True)


def _running() -> Any:
    pair: Any = bindparam("pair")
    keys = [pair, bindparam("account"), bindparam("address")]
    counted = select(col(LoginFailure.key), col(LoginFailure.count), col(LoginFailure.expires_at))
    known = select(literal("known"), null(), col(KnownAddress.seen_at))
    return union_all(
        counted.where(
            col(LoginFailure.key).in_(keys), col(LoginFailure.expires_at) > bindparam("now")
        ),
        known.where(col(KnownAddress.key) == pair),
    )


def _remember(dialect: DialectName) -> Any:
    new = insert_for(dialect, KnownAddress).values(
        {KnownAddress.key: bindparam("pair"), KnownAddress.seen_at: bindparam("now")}
    )
    seen: Any = col(KnownAddress.seen_at)
    return new.on_conflict_do_update(
        index_elements=[KnownAddress.key], set_={seen: new.excluded[seen.key]}
    )


def _count(dialect: DialectName) -> Any:
    count: Any = col(LoginFailure.count)
    ends: Any = col(LoginFailure.expires_at)
    now, limit = value_of(ends, "now"), value_of(count, "limit")
    new = insert_for(dialect, LoginFailure).values(
        {
            LoginFailure.key: bindparam("key"),
            count: 1,
            ends: bindparam("end"),
            LoginFailure.kind: bindparam("kind"),
            LoginFailure.user_id: bindparam("user_id"),
            LoginFailure.network: bindparam("network"),
            LoginFailure.locked: limit <= 1,
        }
    )
    over = ends <= now
    told = ("kind", "user_id", "network")
    return new.on_conflict_do_update(
        index_elements=[LoginFailure.key],
        set_={
            count: case((over, 1), else_=count + 1),
            ends: case((over | (count + 1 >= limit), new.excluded[ends.key]), else_=ends),
            "locked": case((over, limit <= 1), else_=count + 1 >= limit),
            **{name: new.excluded[name] for name in told},
        },
        where=over | (count < limit),
    )


_RUNNING = Statement(_running)
_FORGIVE = Statement(lambda: delete(LoginFailure).where(col(LoginFailure.key) == bindparam("pair")))
_REMEMBER = StatementBy(_remember)
_COUNT = StatementBy(_count)


class _Count:
    """What this process knows of a counter while attempts at it are under way."""

    __slots__ = ("attempts", "comparing", "failed", "written")

    def __init__(self) -> None:
        self.attempts = self.comparing = self.failed = self.written = 0


class Attempt:
    """One login under way, for an account (a login name as typed) from an address (IP text).

    with throttle.attempt(login, address) as attempt:
        await attempt.check(db)
        with attempt.turn():                    # in the hashing thread
            if wrong: attempt.wrong = True
        await db.write_plain(... attempt.failed(work) or attempt.succeeded(work) ...)
    """

    def __init__(self, throttle: "Throttle", account: str, address: str | None) -> None:
        name, place = account_key(account), network_of(address)
        self._throttle = throttle
        self._place = place
        self._pair = key_of("pair", name, place)
        self._totals = {"account": key_of("account", name), "address": key_of("address", place)}
        self._left: dict[str, int] = {}
        self._known_before: dict[str, int] = {}
        self.wrong = False
        self.known = False
        """The account has logged in from the address before; `check` finds out."""

    async def check(self, db: Database) -> None:
        """Raises TooManyRequests while a counter is at its limit."""
        limit, totals = self._throttle.limit, self._totals
        keys = {"pair": self._pair, "account": totals["account"], "address": totals["address"]}
        rows = await db.query(_RUNNING, {**keys, "now": utcnow()})
        counted = {key: (count, moment(end)) for key, count, end in rows}
        self.known = counted.pop("known", None) is not None
        count, end = counted.get(self._pair, (0, None))
        if end is not None and count >= limit:
            raise _refusal(end, "account and address")
        left = {self._pair: limit - count}
        for what, key in self._totals.items():
            count, end = counted.get(key, (0, None))
            if end is not None and count >= limit * TOTAL_FACTOR:
                if not self.known:
                    raise _refusal(end, what)
            else:
                left[key] = limit * TOTAL_FACTOR - count
        self._left = left

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The comparison itself. Raises TooManyRequests if it might be a guess too many."""
        throttle = self._throttle
        with throttle.lock:
            counts = [throttle.counts[key] for key in self._left]
            for (key, left), count in zip(self._left.items(), counts, strict=True):
                if count.failed - self._known_before[key] + count.comparing >= left:
                    raise TooManyRequests(1, audit="too many failed logins at once")
            for count in counts:
                count.comparing += 1
        try:
            yield
        finally:
            with throttle.lock:
                for count in counts:
                    count.comparing -= 1
                    count.failed += self.wrong

    def failed(self, work: Work, user_id: str | None = None) -> None:
        """The password was wrong: count it. `user_id`: whose the name is."""
        limit, place = self._throttle.limit, self._place
        told = {
            "account": Counted("account", user_id),
            "address": Counted("address", network=place),
        }
        self._throttle.count(work, self._pair, limit, Counted("pair", user_id, place))
        for what, key in self._totals.items():
            self._throttle.count(work, key, limit * TOTAL_FACTOR, told[what])

    def succeeded(self, work: Work) -> None:
        """The password was right: forget what failed before here, and remember the address.

        The totals stay. Reset, they could be kept low by logging in to an account of one's own
        between guesses.
        """
        execute(work, _FORGIVE, {"pair": self._pair})
        execute(work, _REMEMBER, {"pair": self._pair, "now": utcnow()})

    def __enter__(self) -> "Attempt":
        with self._throttle.lock:
            for key in (self._pair, *self._totals.values()):
                count = self._throttle.counts.setdefault(key, _Count())
                count.attempts += 1
                self._known_before[key] = count.written
        return self

    def __exit__(self, *_: object) -> None:
        with self._throttle.lock:
            for key in self._known_before:
                count = self._throttle.counts[key]
                count.attempts -= 1
                count.written += self.wrong
                if not count.attempts:
                    del self._throttle.counts[key]


class Throttle:
    """One a process. `prune` is a unit of work; the rest is for `Attempt`."""

    def __init__(self, settings: ThrottleSettings) -> None:
        self.limit = settings.login_max_failures
        self._lockout = settings.login_lockout
        self.lock = Lock()
        self.counts: dict[str, _Count] = {}

    def attempt(self, account: str, address: str | None) -> Attempt:
        return Attempt(self, account, address)

    def prune(self, session: Session) -> int:
        """Delete some of what no longer counts; how many rows that were."""
        now = utcnow()
        ended = delete_some(session, LoginFailure, col(LoginFailure.expires_at) <= now)
        faded = delete_some(session, KnownAddress, col(KnownAddress.seen_at) <= now - REMEMBERED)
        return ended + faded

    def count(self, work: Work, key: str, limit: int, what: Counted) -> None:
        """Count one up, in one statement; what is locked already stays as it is."""
        now = utcnow()
        values = {"key": key, "limit": limit, "now": now, "end": now + self._lockout}
        execute(work, _COUNT, values | what._asdict())


def _refusal(locked_until: datetime, what: str) -> TooManyRequests:
    seconds = math.ceil((locked_until - utcnow()).total_seconds())
    return TooManyRequests(seconds, audit=f"too many failed logins by {what}")


def key_of(*parts: str) -> str:
    """A counter's key: its kind, and what it counts."""
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def account_key(name: str) -> str:
    """One counter for all spellings that might reach one account."""
    return unicodedata.normalize("NFKC", name).strip().casefold()
