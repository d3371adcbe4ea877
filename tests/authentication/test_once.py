"""Each thing is used once in its time, by whichever of two processes comes first."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from identity.authentication import once
from identity.authentication.once import MARGIN, UsedOnce, first_use
from identity.clock import frozen, utcnow
from identity.service.housekeeping import Housekeeping
from identity.service.opening import open_database
from identity.store import SOME, Database
from tests.world import World

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
async def two(settings: Any) -> AsyncIterator[list[Database]]:
    """Two processes' ways to one database."""
    both = [open_database(settings) for _ in range(2)]
    yield both
    for db in both:
        await db.aclose()


async def test_of_many_at_once_on_two_replicas_one_is_first(two: list[Database]) -> None:
    for n in range(5):
        until = utcnow() + MINUTE
        uses = [first_use(db, "jti", "shop", str(n), until=until) for db in two * 8]
        assert sorted(await asyncio.gather(*uses)) == [False] * 15 + [True]


async def test_other_kinds_and_parts_are_other_things(two: list[Database]) -> None:
    until = utcnow() + MINUTE
    things = [("a", "b"), ("ab",), ("a", "b", ""), ("a", "", "b"), ("a,b",), ("\0", "\ud800")]
    for thing in things:
        assert await first_use(two[0], *thing, until=until), thing
    for thing in things:
        assert not await first_use(two[1], *thing, until=until), thing


async def test_what_is_over_and_not_yet_forgotten_may_be_used_again(two: list[Database]) -> None:
    over = utcnow() - MARGIN - MINUTE
    assert await first_use(two[0], "jti", "a", until=over)
    again = [first_use(db, "jti", "a", until=utcnow() + MINUTE) for db in two * 4]
    assert sorted(await asyncio.gather(*again)) == [False] * 7 + [True]


async def test_clocks_of_others_may_differ_by_the_margin(two: list[Database]) -> None:
    late = utcnow() - MARGIN + MINUTE / 2
    assert await first_use(two[0], "jti", "a", until=late)
    assert not await first_use(two[1], "jti", "a", until=late)


async def test_uses_are_forgotten_once_they_are_over(world: World) -> None:
    services, now = world.services, utcnow()
    with world.change() as session:
        session.add_all(
            UsedOnce(digest=f"{n}", expires_at=now - SECOND) for n in range(SOME + 20)
        )  # fmt: skip
    assert await first_use(services.db, "jti", "kept", until=now + MINUTE)
    assert await services.db.write(once.prune) == SOME
    await Housekeeping(services).prune()
    with world.change() as session:
        assert len(session.exec(select(UsedOnce)).all()) == 1
    with frozen(now + MINUTE + MARGIN - SECOND):
        assert await services.db.write(once.prune) == 0
    with frozen(now + MINUTE + MARGIN + SECOND):
        assert await services.db.write(once.prune) == 1


_PARTS = st.lists(st.text(max_size=4), min_size=1, max_size=4)


@given(_PARTS, _PARTS)
def test_no_two_lists_of_parts_are_taken_for_each_other(one: list[str], other: list[str]) -> None:
    assert (once._digest(*one) == once._digest(*other)) == (one == other)
