"""Which kinds of hashes are stored is known to every process, from the data."""

from datetime import timedelta

import pytest
from sqlmodel import select

from identity.authentication.passwords.hashing import PasswordHasher
from identity.clock import frozen
from identity.directory.hashes import kinds
from identity.directory.hashes.kinds import PasswordKind
from identity.directory.hashes.recognising import specimen
from identity.directory.users.table import User
from tests.world import World, refused

ARGON2 = "$argon2id$v=19$m=64,t=1,p=2$c2FsdFNBTFQ$UwVRQZc23e4IKfVp+/ZIl//2t3lADeDgKfKl9ppc9XM"
COSTLY = PasswordHasher(rounds=5).hash("correct horse é")


async def stored(world: World) -> set[str]:
    """Besides today's."""
    return set(await kinds.stored(world.services.db)) - {world.services.hasher.kind}


async def known(world: World) -> set[str]:
    """What this process goes by."""
    await world.services.feed.catch_up()
    return set(await world.services.login.kinds.get("*") or ()) - {world.services.hasher.kind}


async def test_whoever_stores_a_hash_tells_every_process_of_its_kind(world: World) -> None:
    assert await known(world) == set()
    world.user("ada", password_hash=ARGON2)
    world.user("bob", password_hash=ARGON2.replace("c2FsdFNBTFQ", "bW9yZXNhbHQ"))
    assert await known(world) == {specimen(ARGON2)}
    world.user("eve", password_hash=COSTLY)
    assert await known(world) == {specimen(ARGON2), specimen(COSTLY)}


async def test_a_refusal_costs_what_the_dearest_stored_hash_does(world: World) -> None:
    world.user("eve", password_hash=COSTLY)
    before = dict(world.services.hasher._spent)
    answer = await world.token(grant_type="password", username="nobody", password="guess")
    refused(answer, 400, "invalid_grant")
    measured = {kind for kind, _ in world.services.hasher._spent.keys() - before.keys()}
    assert specimen(COSTLY) in measured


async def test_kinds_that_nobody_has_any_more_go_and_forgotten_ones_come_in(world: World) -> None:
    db, today = world.services.db, world.services.hasher.kind
    with frozen() as clock:
        world.user("ada", "correct horse é", password_hash=COSTLY)
        eve = world.user("eve")
        clock.tick(timedelta(days=2))
        await world.log_in("ada", "correct horse é")  # and is upgraded
        with world.change() as session:  # as a version that knows nothing of kinds writes it
            row = session.get(User, eve.id)
            assert row is not None
            row.password_hash = ARGON2
            session.add(row)
        assert await known(world) == {specimen(COSTLY)}
        assert await kinds.recount(db, today)
        assert await known(world) == {specimen(ARGON2)}
        assert not await kinds.recount(db, today)  # not twice a day, whoever asks
        clock.tick(timedelta(days=1, seconds=1))
        assert await kinds.recount(db, today)


async def test_a_count_that_was_cut_off_is_made_up_for_after_an_hour(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    db, today = world.services.db, world.services.hasher.kind
    world.user("ada", password_hash=ARGON2)
    with frozen() as clock:
        with monkeypatch.context() as cut:
            cut.setattr(kinds, "specimen", lambda _: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                await kinds.recount(db, today)
        clock.tick(timedelta(minutes=59))
        assert not await kinds.recount(db, today)
        clock.tick(timedelta(hours=1, seconds=1))
        assert await kinds.recount(db, today)


async def test_a_kind_noted_while_all_are_counted_stays(world: World) -> None:
    with frozen() as clock:
        with world.change() as session:
            kinds.note(session, ARGON2)
        clock.tick(timedelta(hours=1, seconds=1))
        with world.change() as session:  # stored by a transaction that the count did not see
            kinds.note(session, ARGON2)
        assert await kinds.recount(world.services.db, world.services.hasher.kind)
    assert await stored(world) == {specimen(ARGON2)}


async def test_nothing_of_a_users_hash_is_kept_beside_it(world: World) -> None:
    world.user("ada", password_hash=ARGON2)
    with world.change() as session:
        for kind in session.exec(select(PasswordKind)).all():
            assert "UwVRQZc" not in kind.specimen
            assert "c2FsdFNBTFQ" not in kind.specimen
