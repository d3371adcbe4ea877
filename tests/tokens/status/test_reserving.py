"""No place is given away twice, and a list that is full is left."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import Session, select

from identity.directory.clients.table import Client
from identity.errors import InvalidClient
from identity.keys.table import SigningKey
from identity.service.wiring import open_database
from identity.tokens.status import places as places_module
from identity.tokens.status import reserving
from identity.tokens.status.reserving import reserve
from identity.tokens.status.table import BLOCK, StatusBlock
from tests.world import World, services_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def id_token_algorithms() -> str:
    """One line of keys."""
    return ""


GOOD_FOR = timedelta(hours=1)


def active_kid(session: Session) -> str:
    return session.exec(select(SigningKey.kid).where(SigningKey.state == "active")).one()


async def test_processes_that_reserve_at_once_get_different_blocks(
    app: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserving, "BLOCKS", 16)  # so that they run into each other
    processes = [open_database(settings) for _ in range(4)]
    kid = services_of(app).ring.signer.kid
    try:
        got = await asyncio.gather(
            *(
                db.write(lambda session: reserve(session, None, kid, 5, GOOD_FOR))
                for _ in range(8)
                for db in processes
            )
        )
    finally:
        for db in processes:
            await db.aclose()
    blocks = [block for blocks in got for block in blocks or ()]
    assert len(got) <= len(blocks) == len(set(blocks)) <= 4 * 8 * 5
    assert {list_id for list_id, _ in blocks} >= {1, 2}


async def test_nothing_is_reserved_for_who_is_gone(world: World) -> None:
    world.client("job")
    db = world.services.db
    with db.transaction() as session:
        kid = active_kid(session)
        assert reserve(session, "job", kid, 1, GOOD_FOR)
        assert reserve(session, None, "no such key", 1, GOOD_FOR) is None
        for gone in ("nobody", "job"):
            if gone == "job":
                session.get_one(Client, "job").status = "disabled"
                session.flush()
            with pytest.raises(InvalidClient):
                reserve(session, gone, kid, 1, GOOD_FOR)
        session.get_one(SigningKey, kid).state = "revoked"
        session.flush()
        assert reserve(session, None, kid, 1, GOOD_FOR) is None
        assert len(session.exec(select(StatusBlock)).all()) == 1


async def test_a_place_is_used_once_and_blocks_are_reserved_ahead(world: World) -> None:
    world.client("job")
    places = world.services.places
    taken = [await places.take("job", "") for _ in range(1000)]
    assert len({place.number for place in taken}) == 1000
    assert {place.number for place in taken}.isdisjoint(
        {(await places.take(None, "")).number for _ in range(300)}
    )
    with world.change() as session:
        blocks = session.exec(select(StatusBlock)).all()
    assert len([block for block in blocks if block.owner == "job"]) >= 4
    assert {block.owner for block in blocks} == {"job", None}


async def test_a_storm_reserves_more_at_a_time_even_where_it_runs_dry(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def noted(session: Session, owner: str, kid: str, count: int, good_for: timedelta) -> Any:
        sizes.append(count)
        return reserve(session, owner, kid, count, good_for)

    monkeypatch.setattr(places_module, "reserve", noted)
    monkeypatch.setattr(places_module, "BUSY", 60)  # however slow the machine is
    world.client("job")
    for _ in range(40 * BLOCK):  # nothing else gets a turn, so each block is used up
        await world.services.places.take("job", "")
    assert sizes[:6] == [1, 2, 4, 8, 16, 16]
    assert len(sizes) <= 7
