"""Guessing passwords, slowed: how many logins may fail, and for whom.

An attempt is counted before its password is hashed and given back when it succeeds, so guesses
made in parallel cannot pass a limit: they find it reached. Three counters:

- account and address together: `LOGIN_MAX_FAILURES`, so that whoever attacks an account locks out
  himself, not its owner;
- an account from everywhere, ten times that: slows an attack from many addresses;
- an address for all accounts, ten times that: slows one password tried on many accounts.

The two totals do not hold up an account at an address from which it has logged in before, so
its owner, or the users of a shared gateway, keep working while the attack goes on.

A counter starts with its first failure and ends `LOGIN_LOCKOUT` later; reaching its limit, it
locks for `LOGIN_LOCKOUT` from then on. Attempts during a lock are refused and change nothing.
Whether an account exists makes no difference, for names are counted as they were typed.
"""

import hashlib
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address
from typing import Any, cast

from sqlalchemy import CursorResult, Table, case, delete, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Field, Session, SQLModel

from identity.clock import utcnow
from identity.db import UtcDateTime
from identity.errors import TooManyRequests
from identity.settings import ThrottleSettings

TOTAL_FACTOR = 10
"""How much more an account, or an address, may fail in total than the two together."""
REMEMBERED = timedelta(days=180)
"""How long an address stays known to an account that no longer logs in from it."""


class LoginFailure(SQLModel, table=True):
    """A counter. `key`: digest of what is counted; after `expires_at` it counts for nothing."""

    __tablename__ = "login_failure"

    key: str = Field(primary_key=True)
    count: int
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


class KnownAddress(SQLModel, table=True):
    """An account has logged in from an address. `key`: digest of the two."""

    __tablename__ = "known_address"

    key: str = Field(primary_key=True)
    seen_at: datetime = Field(sa_type=UtcDateTime, index=True)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A counted attempt: what `succeeded` or `withdrawn` needs to take it back."""

    pair: str
    totals: tuple[str, ...]


class Throttle:
    """Its methods are units of work, or parts of one:

        attempt = await db.write(lambda session: throttle.attempt(session, name, address))
        verdict = await pool.run(hasher.verify, password, encoded)
        await db.write(...)   # throttle.succeeded(session, attempt), with the login itself

    A failure needs no further call: it has been counted.
    """

    def __init__(self, settings: ThrottleSettings) -> None:
        self._limit = settings.login_max_failures
        self._lockout = settings.login_lockout

    def attempt(self, session: Session, account: str, address: str | None) -> Attempt:
        """Count an attempt of `account` (a login name as typed) from `address` (IP text).

        Raises TooManyRequests, then nothing is counted. That may be kept or rolled back.
        """
        name, place = _account(account), _network(address)
        pair = _key("pair", name, place)
        totals = {"account": _key("account", name), "address": _key("address", place)}
        locked_until = self._count(session, pair, self._limit)
        if locked_until:
            raise self._refusal(locked_until, "account and address")
        counted: list[str] = []
        for what, key in totals.items():
            locked_until = self._count(session, key, self._limit * TOTAL_FACTOR)
            if not locked_until:
                counted.append(key)
            elif not self._known(session, pair):
                self._give_back(session, [pair, *counted])
                raise self._refusal(locked_until, what)
        return Attempt(pair, tuple(counted))

    def succeeded(self, session: Session, attempt: Attempt) -> None:
        """The password was right: take the attempt back and remember the address.

        The totals are lessened by this attempt only. Reset, they could be kept low by logging in
        to an account of one's own between guesses.
        """
        session.execute(delete(_failures).where(_failures.c.key == attempt.pair))
        self._give_back(session, attempt.totals)
        now = utcnow()
        known = _insert(session, _known).values(key=attempt.pair, seen_at=now)
        session.execute(known.on_conflict_do_update(index_elements=["key"], set_={"seen_at": now}))

    def withdrawn(self, session: Session, attempt: Attempt) -> None:
        """Take the attempt back because no password was compared (the hashing queue was full)."""
        self._give_back(session, [attempt.pair, *attempt.totals])

    def prune(self, session: Session) -> int:
        """Delete what no longer counts; how many rows that were. Call it every few minutes."""
        now = utcnow()
        ended = delete(_failures).where(_failures.c.expires_at <= now)
        faded = delete(_known).where(_known.c.seen_at <= now - REMEMBERED)
        return sum(
            cast(CursorResult[Any], session.execute(statement)).rowcount
            for statement in (ended, faded)
        )

    def _count(self, session: Session, key: str, limit: int) -> datetime | None:
        """Count one up; when `limit` is reached already, count nothing and return its end.

        One conditional write: where its condition fails no row comes back.
        """
        now = utcnow()
        end = literal(now + self._lockout, UtcDateTime())
        over = _failures.c.expires_at <= now
        reached = _failures.c.count + 1 >= limit
        counting = _insert(session, _failures).values(key=key, count=1, expires_at=end)
        counting = counting.on_conflict_do_update(
            index_elements=["key"],
            set_={
                "count": case((over, 1), else_=_failures.c.count + 1),
                "expires_at": case((over | reached, end), else_=_failures.c.expires_at),
            },
            where=over | (_failures.c.count < limit),
        )
        if session.execute(counting.returning(_failures.c.count)).first():
            return None
        expires_at = session.execute(
            select(_failures.c.expires_at).where(_failures.c.key == key)
        ).scalar()
        return expires_at or now  # gone: pruned this instant

    def _give_back(self, session: Session, keys: Sequence[str]) -> None:
        for key in keys:  # in the order of counting, so that no two wait for each other
            session.execute(
                update(_failures)
                .where(_failures.c.key == key, _failures.c.count > 0)
                .values(count=_failures.c.count - 1)
            )

    def _known(self, session: Session, pair: str) -> bool:
        return session.execute(select(_known.c.key).where(_known.c.key == pair)).first() is not None

    def _refusal(self, locked_until: datetime, what: str) -> TooManyRequests:
        seconds = math.ceil((locked_until - utcnow()).total_seconds())
        return TooManyRequests(seconds, audit=f"too many failed logins by {what}")


_failures: Table = LoginFailure.__table__  # type: ignore[attr-defined]
_known: Table = KnownAddress.__table__  # type: ignore[attr-defined]


def _insert(session: Session, table: Table) -> Any:
    """Both dialects spell INSERT … ON CONFLICT alike, each with a class of its own."""
    sql = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    return sql.insert(table)


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _account(name: str) -> str:
    """One counter for all spellings that might reach one account."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def _network(address: str | None) -> str:
    """An IPv6 address counts as its /64, which is one subscriber's to choose from."""
    try:
        parsed = ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)
