"""A lockdown as administrators begin and lift it, and sessions ended at a filter's word: as many as
there are, a few in each transaction, so that nobody waits long."""

import time
from asyncio import sleep
from collections.abc import Callable
from dataclasses import replace

from sqlmodel import Session

from identity.authentication import all_sessions
from identity.authentication.all_sessions import Ended, Filter, Kind
from identity.clock import utcnow
from identity.directory.access.authority import Held
from identity.store import Database
from identity.tokens import lockdown
from identity.tokens.lockdown import State

KINDS: tuple[Kind, ...] = ("browser", "client")
"""In this order those at clients that end with a browser's are gone before they are looked for."""
REASON = "lockdown"
Check = Callable[[int], None]


def anything(_: int) -> None:
    """Whichever version it is."""


async def begin_lockdown(
    db: Database, reason: str | None, *, end_tokens: bool, check: Check = anything
) -> State:
    """In force, on every process, when it returns; with `end_tokens` every token is dead and every
    session has ended, the one by which this was asked for too. `check` is given the version that
    is about to change, and may refuse. Cut off in the middle, it is asked for again."""
    state = await db.write(lambda session: begin(session, reason, end_tokens, check))
    if end_tokens:
        for kind in KINDS:
            await end_sessions(db, Filter(kind), None, REASON)
    return state


async def lift_lockdown(db: Database, *, check: Check = anything) -> State:
    return await db.write(lambda session: lift(session, check))


async def end_sessions(db: Database, wanted: Filter, held: Held, reason: str) -> int:
    """How many have ended. What begins meanwhile does not count: else it might take for ever."""
    unit, total = ender(wanted, held, reason), 0
    while True:
        began = time.monotonic()
        ended = await db.write(unit)
        if not ended.looked_at:
            return total
        total += ended.ended
        # As long as it took: others look for SQLite's only lock now and then.
        await sleep(time.monotonic() - began)


# --- Units of work, which commands run by themselves ----------------------------------------


def begin(session: Session, reason: str | None, end_tokens: bool, check: Check = anything) -> State:
    row = lockdown.hold(session)
    check(row.version)
    lockdown.begin(session, row, reason, end_tokens=end_tokens)
    return lockdown.look(session)


def lift(session: Session, check: Check = anything) -> State:
    """Changes nothing where none is in force."""
    row = lockdown.hold(session)
    check(row.version)
    lockdown.lift(session, row)
    return lockdown.look(session)


def ender(wanted: Filter, held: Held, reason: str) -> Callable[[Session], Ended]:
    """To be run again and again, until it has looked at none."""
    now = utcnow()
    fixed = replace(wanted, until=min(wanted.until or now, now))
    return lambda session: all_sessions.end_some(session, fixed, held, reason)
