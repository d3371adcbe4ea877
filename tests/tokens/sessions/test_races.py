"""Refreshing while something else happens to the same session: one lineage, no survivor."""

import asyncio
from typing import Any

import pytest
from sqlmodel import Session

from identity.directory.users import accounts
from identity.tokens.sessions import lifecycle
from tests.proofs import effort
from tests.world import World, claims_of, granted

ROUNDS = effort(6, 20)


async def test_sixteen_uses_at_once_make_one_lineage(world: World) -> None:
    world.user()
    tokens = await world.log_in()
    sid = claims_of(tokens["access_token"])["sid"]
    answers = await asyncio.gather(*(world.refresh(tokens["refresh_token"]) for _ in range(16)))
    assert {answer.status_code for answer in answers} == {200}
    issued = [answer.json()["refresh_token"] for answer in answers]
    assert len(set(issued)) == 16
    stored = world.refresh_tokens(sid)
    assert len(stored) == 17
    assert sum(token.spent_at is None for token in stored) == 1
    alive = [token for token in issued if await world.active(token)]
    assert len(alive) == 1
    assert await world.active(tokens["access_token"])
    granted(await world.refresh(alive[0]))


@pytest.mark.proof
async def test_a_spent_token_used_at_once_with_its_successor_leaves_at_most_one_lineage(
    world: World,
) -> None:
    """Whichever comes first: the retry kills the unused successor, or the successor's use makes
    the retry a replay. Either way the other one ends the session."""
    world.user()
    for _ in range(ROUNDS):
        first = await world.log_in()
        second = granted(await world.refresh(first["refresh_token"]))
        answers = await asyncio.gather(
            world.refresh(first["refresh_token"]), world.refresh(second["refresh_token"])
        )
        assert sorted(answer.status_code for answer in answers) == [200, 400]
        survivor = next(a.json() for a in answers if a.status_code == 200)
        assert not await world.active(survivor["refresh_token"])
        assert not await world.active(survivor["access_token"])


async def revoke(world: World, tokens: dict[str, Any]) -> None:
    assert (await world.revoke(tokens["refresh_token"])).status_code == 200


async def disable(world: World, tokens: dict[str, Any]) -> None:
    def unit(session: Session) -> None:
        user = accounts.get(session, claims_of(tokens["access_token"])["sub"], lock=True)
        accounts.set_status(session, user, "disabled", None)
        lifecycle.end_all(session, "disabled", user_id=user.id)

    await world.services.db.write(unit)


async def change_password(world: World, tokens: dict[str, Any]) -> None:
    def unit(session: Session) -> None:
        user = accounts.get(session, claims_of(tokens["access_token"])["sub"], lock=True)
        accounts.set_password_hash(session, user, "!", must_change=False, held=None)
        lifecycle.end_all(session, "password changed", user_id=user.id)

    await world.services.db.write(unit)


async def delete(world: World, tokens: dict[str, Any]) -> None:
    def unit(session: Session) -> None:
        user = accounts.get(session, claims_of(tokens["access_token"])["sub"], lock=True)
        lifecycle.end_all(session, "deleted", user_id=user.id)
        accounts.remove(session, user, None)

    await world.services.db.write(unit)


async def log_out(world: World, tokens: dict[str, Any]) -> None:
    def unit(session: Session) -> None:
        lifecycle.end(session, claims_of(tokens["access_token"])["sid"], "ended by the user")

    await world.services.db.write(unit)


@pytest.mark.proof
@pytest.mark.parametrize("end", [revoke, disable, change_password, delete, log_out])
async def test_a_refresh_that_races_with_an_end_leaves_no_survivor(world: World, end: Any) -> None:
    outcomes: set[int] = set()
    for number in range(20 * ROUNDS):
        if number >= ROUNDS and 400 in outcomes:  # the end has come first, too
            break
        username = f"user-{number}"
        world.user(username)
        tokens = await world.log_in(username)
        refreshing = [world.refresh(tokens["refresh_token"]) for _ in range(1 + number % 3)]
        racing = [*refreshing, end(world, tokens)] if number % 2 else [end(world, tokens)]
        if not number % 2:
            racing += refreshing
        answers = [answer for answer in await asyncio.gather(*racing) if answer is not None]
        for answer in answers:
            outcomes.add(answer.status_code)
            assert answer.status_code in (200, 400), answer.text
            for token in ("access_token", "refresh_token"):
                if answer.status_code == 200:
                    assert not await world.active(answer.json()[token])
        assert not await world.active(tokens["access_token"])
        assert not await world.active(tokens["refresh_token"])
    assert 400 in outcomes


@pytest.mark.proof
async def test_logins_that_race_with_a_disable_leave_no_survivor(world: World) -> None:
    for number in range(ROUNDS // 2):
        username = f"user-{number}"
        user = world.user(username)
        login = {"grant_type": "password", "username": username, "password": "tangerine harbour 71"}

        def unit(session: Session, user_id: str = user.id) -> None:
            stored = accounts.get(session, user_id, lock=True)
            accounts.set_status(session, stored, "disabled", None)
            lifecycle.end_all(session, "disabled", user_id=user_id)

        async def later(delay: float, unit: Any = unit) -> None:
            await asyncio.sleep(delay)
            await world.services.db.write(unit)

        answers = await asyncio.gather(
            world.token(**login), world.token(**login), later(number / 1000)
        )
        for answer in answers[:2]:
            if answer is not None and answer.status_code == 200:
                assert not await world.active(answer.json()["access_token"])
                assert not await world.active(answer.json()["refresh_token"])


async def test_a_replay_and_a_retry_at_once_end_the_session_for_good(world: World) -> None:
    world.user()
    first = await world.log_in()
    second = granted(await world.refresh(first["refresh_token"]))
    world.age_use(first["refresh_token"], 31)
    answers = await asyncio.gather(
        *(world.refresh(first["refresh_token"]) for _ in range(4)),
        *(world.refresh(second["refresh_token"]) for _ in range(4)),
    )
    issued = [a.json()["refresh_token"] for a in answers if a.status_code == 200]
    for token in [second["refresh_token"], *issued]:
        assert not await world.active(token)
