"""The chores of a running process: each is done again and again, and none can end another."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import Session, col, func, select

from identity.clock import frozen, utcnow
from identity.errors import Unavailable
from identity.keys.table import SigningKey
from identity.records import audit
from identity.records.audit import AuditEvent, AuditHead, chain
from identity.service.housekeeping import Housekeeping
from identity.service.opening import audit_keys
from identity.store import SOME, Statement, Work, execute
from identity.store.table import Change
from identity.tokens.sessions.table import LoginSession, RefreshToken
from identity.tokens.table import RevokedToken
from tests.world import World


@pytest.fixture
def id_token_algorithms() -> str:
    """One line of keys."""
    return ""


WEEK = timedelta(days=7)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chores come round a thousand times as often."""
    monkeypatch.setattr("identity.service.housekeeping.random.uniform", lambda *_: 0.001)


def count(world: World, table: Any) -> int:
    with world.change() as session:
        return session.exec(select(func.count()).select_from(table)).one()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - chores tell nobody when they are done
            await asyncio.sleep(0.005)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("failure", [Unavailable(audit="gone"), ZeroDivisionError("a defect")])
@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_chore_that_fails_comes_round_again_and_ends_no_other(
    world: World, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    housekeeping, failed = Housekeeping(world.services), 0
    tend, pruned = housekeeping.tend_keys, 0

    async def fail_three_times() -> None:
        nonlocal failed
        if failed < 3:
            failed += 1
            raise failure
        await tend()

    async def prune() -> None:
        nonlocal pruned
        pruned += 1

    monkeypatch.setattr(housekeeping, "tend_keys", fail_three_times)
    monkeypatch.setattr(housekeeping, "prune", prune)
    fail_three_times.__name__ = "tend_keys"
    world.services.queue.put("test")
    housekeeping.start()
    await until(lambda: failed == 3 and pruned > 0 and world.services.queue.depth == 0)
    await housekeeping.stop()
    assert not any(not task.done() for task in housekeeping._tasks)


async def test_stopping_writes_and_seals_what_the_audit_holds(world: World) -> None:
    housekeeping = Housekeeping(world.services)
    for _ in range(5):
        world.services.queue.put("test")
    await housekeeping.stop()
    with world.change() as session:
        events = session.exec(select(AuditEvent).where(AuditEvent.event == "test")).all()
        assert len(events) == 5
        assert None not in [event.seq for event in events]
        assert session.get_one(AuditHead, 1).seq >= 5


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service that the test has does no chores of its own: two who seal at once take turns."""

    async def never(self: Housekeeping, *chore: Any) -> None:
        pass

    for name in ("_every", "_relieve_queue"):
        monkeypatch.setattr(Housekeeping, name, never)


@pytest.mark.usefixtures("alone")
async def test_stopping_seals_all_that_has_gathered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "BATCH", 3)
    with world.change() as session:
        for n in range(10):
            audit.record(session, "test", subject=f"subject {n}")
    await Housekeeping(world.services).stop()
    assert not await world.services.db.read(audit.unsealed)


@pytest.mark.usefixtures("hurried")
async def test_stopping_waits_for_a_flush_under_way_and_writes_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = world.services
    write, begun, go_on = services.db.write_plain, asyncio.Event(), asyncio.Event()

    async def slow(unit: Any) -> Any:
        result = await write(unit)  # it is committed, but the flush has not heard of it
        begun.set()
        await go_on.wait()
        return result

    await services.queue.flush(services.db, audit_keys(services.master)[0])
    monkeypatch.setattr(services.db, "write_plain", slow)
    services.queue.put("test")
    housekeeping = Housekeeping(services)
    housekeeping.start()
    await begun.wait()
    stopping = asyncio.create_task(housekeeping.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    monkeypatch.undo()
    assert len(await world.events("test")) == 1


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_stopping_gives_up_on_what_is_stuck(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("identity.service.housekeeping.PATIENCE", 0.01)
    monkeypatch.setattr("identity.service.housekeeping.random.uniform", lambda *_: 0.0)
    housekeeping, begun = Housekeeping(world.services), asyncio.Event()

    async def stuck() -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(housekeeping, "prune", stuck)
    housekeeping.start()
    await begun.wait()
    async with asyncio.timeout(2):
        await housekeeping.stop()


async def test_what_has_expired_is_forgotten_and_nothing_else(world: World) -> None:
    world.user()
    housekeeping = Housekeeping(world.services)
    with frozen() as clock:
        ended = await world.log_in()
        await world.revoke(ended["access_token"])
        await world.revoke(ended["refresh_token"])
        clock.tick(WEEK + timedelta(hours=1))
        alive = await world.log_in()
        revoked = await world.log_in()
        await world.revoke(revoked["access_token"])
        fresh = await world.log_in()
        await world.revoke(fresh["refresh_token"])
        await housekeeping.prune()
        assert await world.active(alive["refresh_token"])
        assert not await world.active(revoked["access_token"])
        assert not await world.active(fresh["refresh_token"])
        assert count(world, RevokedToken) == 1
        assert count(world, LoginSession) == 3
        assert count(world, RefreshToken) == 3
        horizon = utcnow() - timedelta(days=1)
        with world.change() as session:
            assert session.exec(select(func.min(Change.at))).one() >= horizon
        assert not await world.active(ended["access_token"])


async def test_much_that_has_expired_is_forgotten_bit_by_bit(world: World) -> None:
    """One statement for all would hold up every other write until it is done."""
    over, left = utcnow() - timedelta(days=1), []
    revoked = Statement(lambda: select(func.count()).select_from(RevokedToken))
    with world.change() as session:
        session.add_all(RevokedToken(jti=f"t{n}", expires_at=over) for n in range(2 * SOME + 1))

    def note(work: Work) -> None:
        rows = execute(work, revoked, {}).fetchall()
        left.append(rows[0][0])

    world.services.db.before_commit.append(note)
    await Housekeeping(world.services).prune()
    assert sorted(set(left), reverse=True) == [2 * SOME + 1, SOME + 1, 1, 0]


async def test_others_get_their_turn_between_batches(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as a batch took: SQLite's lock, taken again at once, is never free for whoever looks
    for it now and then."""
    over = utcnow() - timedelta(days=3)
    with world.change() as session:
        session.add_all(Change(kind="x.y", ref="z", at=over) for _ in range(3 * SOME))
    housekeeping, db = Housekeeping(world.services), world.services.db
    now, pauses, write, ours = 0.0, [], db.write, asyncio.current_task()

    async def slow(unit: Callable[[Session], Any]) -> Any:
        nonlocal now
        if asyncio.current_task() is ours:  # the service beside has chores too
            now += 0.25
        return await write(unit)

    async def paused(seconds: float) -> bool:
        pauses.append(seconds)
        return False

    monkeypatch.setattr("identity.service.housekeeping.monotonic", lambda: now)
    monkeypatch.setattr(housekeeping, "_stopped_within", paused)
    monkeypatch.setattr(db, "write", slow)
    await housekeeping.prune()
    assert pauses and set(pauses) == {0.25}


async def test_pruning_ends_when_the_service_stops(world: World) -> None:
    over = utcnow() - timedelta(days=3)
    with world.change() as session:
        session.add_all(Change(kind="x.y", ref="z", at=over) for _ in range(3 * SOME))
    housekeeping = Housekeeping(world.services)
    housekeeping._stopping.set()
    await housekeeping.prune()
    with world.change() as session:
        assert session.exec(select(func.count()).select_from(Change)).one() > SOME


async def test_keys_are_rotated_without_anybody_asking(world: World) -> None:
    housekeeping, settings = Housekeeping(world.services), world.services.settings
    world.user()
    with frozen() as clock:
        (first,) = _states(world)
        clock.tick(settings.keys.key_rotation)
        await housekeeping.tend_keys()
        assert sorted(_states(world).values()) == ["active", "next"]
        clock.tick(2 * settings.keys.jwks_max_age)
        await housekeeping.tend_keys()
        assert _states(world)[first] == "retired"
        token = (await world.log_in())["access_token"]
        assert await world.active(token)
        clock.tick(timedelta(hours=2))  # also ID tokens have expired
        await housekeeping.tend_keys()
        # What is withdrawn is published no more, and kept for the hints that it has signed.
        assert list(_states(world).values()) == ["retired", "active"]
        assert [key["kid"] for key in (await _jwks(world))["keys"]] == list(_states(world))[1:]


def _states(world: World) -> dict[str, str]:
    def unit(session: Session) -> dict[str, str]:
        keys = session.exec(select(SigningKey).order_by(col(SigningKey.created_at))).all()
        return {key.kid: key.state for key in keys}

    with world.change() as session:
        return unit(session)


async def _jwks(world: World) -> Any:
    return (await world.api.get("/.well-known/jwks.json")).json()
