import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlmodel import func, select

from identity import clock
from identity.authentication.blocks import locks_of, unlock
from identity.authentication.throttle import KnownAddress, LoginFailure, Throttle
from identity.errors import TooManyRequests
from identity.settings import Settings, ThrottleSettings
from identity.store import Database, Stored

LIMIT = 3
TOTAL = LIMIT * 10
HOME, AWAY = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def throttle() -> Throttle:
    limits = ThrottleSettings(login_max_failures=LIMIT, login_lockout=timedelta(minutes=5))
    return Throttle(limits)


@pytest.fixture
async def db(empty_database_url: str) -> AsyncIterator[Database]:
    db = Database(Settings.of(database_url=empty_database_url))
    tables = [Stored.metadata.tables[t.__tablename__] for t in (LoginFailure, KnownAddress)]
    Stored.metadata.create_all(db.engine, tables=tables)
    yield db
    await db.aclose()


@pytest.fixture
def time() -> Iterator[clock.Frozen]:
    with clock.frozen() as frozen:
        yield frozen


@pytest.fixture
def fail(db: Database, throttle: Throttle) -> Callable[..., Any]:
    async def fail(
        account: str = "ada",
        address: str | None = HOME,
        times: int = 1,
        met: asyncio.Barrier | None = None,
    ) -> None:
        for _ in range(times):
            with throttle.attempt(account, address) as attempt:
                await attempt.check(db)
                if met:
                    await met.wait()
                with attempt.turn():
                    attempt.wrong = True
                    await asyncio.sleep(0)  # others may try to come in between
                await db.write(attempt.failed)

    return fail


@pytest.fixture
def log_in(db: Database, throttle: Throttle) -> Callable[..., Any]:
    async def log_in(account: str = "ada", address: str | None = HOME) -> None:
        with throttle.attempt(account, address) as attempt:
            await attempt.check(db)
            with attempt.turn():
                await asyncio.sleep(0)
            await db.write(attempt.succeeded)

    return log_in


async def refused(fail: Callable[..., Any], *who: Any) -> int:
    with pytest.raises(TooManyRequests) as refusal:
        await fail(*who)
    return refusal.value.retry_after


async def counts(db: Database) -> list[int]:
    return await db.read(
        lambda session: sorted(session.exec(select(LoginFailure.count)).all(), reverse=True)
    )


async def test_the_limit_locks_the_account_at_that_address_only(
    fail: Callable[..., Any], time: clock.Frozen
) -> None:
    await fail(times=LIMIT)
    time.tick(10)
    assert await refused(fail) == 290
    await fail("ada", AWAY)
    await fail("grace", HOME)


async def test_a_lock_lasts_from_the_failure_that_reached_the_limit_not_from_the_first(
    fail: Callable[..., Any], time: clock.Frozen
) -> None:
    await fail(times=LIMIT - 1)
    time.tick(200)
    await fail()
    assert await refused(fail) == 300


async def test_a_lock_ends_by_itself_and_attempts_during_it_do_not_prolong_it(
    fail: Callable[..., Any], time: clock.Frozen
) -> None:
    await fail(times=LIMIT)
    time.tick(299)
    assert await refused(fail) == 1
    time.tick(1)
    await fail(times=LIMIT)
    assert await refused(fail) == 300


async def test_failures_are_forgotten_a_lockout_after_the_first(
    fail: Callable[..., Any], time: clock.Frozen
) -> None:
    for _ in range(5):
        await fail()
        time.tick(299)
        await fail(times=LIMIT - 2)
        time.tick(1)


async def test_a_first_failure_and_one_after_forgotten_ones_lock_only_where_one_is_too_many(
    db: Database, time: clock.Frozen
) -> None:
    lockout = timedelta(minutes=5)
    for limit in (1, 2):
        throttle = Throttle(ThrottleSettings(login_max_failures=limit, login_lockout=lockout))
        account = f"of {limit}"
        for _ in range(2):
            with throttle.attempt(account, None) as attempt:
                await attempt.check(db)
                with attempt.turn():
                    attempt.wrong = True
                await db.write(partial(attempt.failed, user_id=account))
            assert await pair(db, account) == (1, limit == 1, clock.utcnow() + lockout)
            time.tick(timedelta(minutes=6))


async def pair(db: Database, user_id: str) -> tuple[int, bool, Any]:
    """Failures of a user at the one address, whether these are too many, and until when."""
    chosen = select(LoginFailure).where(LoginFailure.user_id == user_id)
    rows = await db.read(lambda session: session.exec(chosen).all())
    (row,) = [row for row in rows if row.kind == "pair"]
    return row.count, row.locked, row.expires_at


async def test_only_the_failure_that_reached_the_limit_locks_and_later_ones_change_nothing(
    db: Database, time: clock.Frozen
) -> None:
    """Each by a process of its own, and all of them looked before any was counted."""
    lockout = timedelta(minutes=5)
    limits = ThrottleSettings(login_max_failures=LIMIT, login_lockout=lockout)
    seen = []
    for _ in range(LIMIT + 2):
        with Throttle(limits).attempt("ada", HOME) as attempt:
            await db.write(partial(attempt.failed, user_id="ada's id"))
        seen.append(await pair(db, "ada's id"))
        time.tick(10)
    begun = seen[0][2] - lockout
    ends = [begun + lockout] * (LIMIT - 1) + [begun + timedelta(seconds=10 * (LIMIT - 1)) + lockout]
    assert seen[:LIMIT] == [(n + 1, n + 1 == LIMIT, end) for n, end in enumerate(ends)]
    assert seen[LIMIT:] == seen[LIMIT - 1 : LIMIT] * 2


async def test_a_success_clears_the_failures_before_it(
    fail: Callable[..., Any], log_in: Callable[..., Any], time: clock.Frozen
) -> None:
    for _ in range(5):
        await fail(times=LIMIT - 1)
        await log_in()


async def test_an_attack_from_many_addresses_is_slowed_but_the_owner_at_a_known_one_keeps_working(
    fail: Callable[..., Any], log_in: Callable[..., Any], time: clock.Frozen
) -> None:
    await log_in("ada", HOME)
    for host in range(TOTAL):
        await fail("ada", f"203.0.113.{host}")
    await refused(fail, "ada", "203.0.113.200")
    await log_in("ada", HOME)
    await refused(fail, "ada", AWAY)
    await log_in("grace", AWAY)
    time.tick(300)
    await log_in("ada", AWAY)


async def test_one_password_tried_on_many_accounts_is_slowed_but_not_for_known_users(
    fail: Callable[..., Any], log_in: Callable[..., Any], time: clock.Frozen
) -> None:
    await log_in("ada", HOME)
    for number in range(TOTAL):
        await fail(f"user{number}", HOME)
    await refused(fail, "another", HOME)
    await log_in("ada", HOME)
    await fail("another", AWAY)


async def test_logging_in_to_an_account_of_ones_own_buys_no_more_guesses(
    fail: Callable[..., Any], log_in: Callable[..., Any], time: clock.Frozen
) -> None:
    await log_in("mallory", HOME)
    for number in range(TOTAL):
        await fail(f"user{number}", HOME)
        await log_in("mallory", HOME)
    for _ in range(5):
        await log_in("mallory", HOME)
        await refused(fail, "another", HOME)


async def test_a_refused_attempt_counts_nowhere(
    fail: Callable[..., Any], db: Database, time: clock.Frozen
) -> None:
    await fail(times=LIMIT)
    before = await counts(db)
    await refused(fail)
    for number in range(TOTAL - LIMIT):
        await fail(f"user{number}", HOME)
    await refused(fail, "another", HOME)
    assert before == [LIMIT] * 3
    assert sum(await counts(db)) == LIMIT * 2 + TOTAL + 2 * (TOTAL - LIMIT)


async def test_right_passwords_given_at_once_are_not_taken_for_guesses(
    db: Database, log_in: Callable[..., Any], throttle: Throttle
) -> None:
    for _ in range(20):
        await asyncio.gather(*(log_in() for _ in range(LIMIT)))
    assert await counts(db) == []
    assert not throttle.counts


async def test_an_attempt_that_is_given_up_leaves_nothing_behind(
    db: Database, throttle: Throttle, time: clock.Frozen
) -> None:
    for _ in range(TOTAL + 1):
        with throttle.attempt("ada", HOME) as attempt:
            await attempt.check(db)
    assert await counts(db) == []
    assert not throttle.counts


async def test_guesses_in_parallel_do_not_pass_the_limit(
    db: Database, fail: Callable[..., Any]
) -> None:
    assert await let_through(fail, [("ada", HOME)] * 40) == LIMIT


async def let_through(fail: Callable[..., Any], attempts: list[tuple[str, str]]) -> int:
    """How many of these compare a password, where none does before all have looked at the
    counters. One that looks later counts twice what was written meanwhile, and may be refused
    for what only could have been a guess too many."""
    met = asyncio.Barrier(len(attempts))
    guesses = [fail(account, address, met=met) for account, address in attempts]
    outcomes = await asyncio.gather(*guesses, return_exceptions=True)
    assert all(isinstance(o, TooManyRequests) for o in outcomes if o is not None)
    return sum(outcome is None for outcome in outcomes)


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_guesses_in_parallel_after_others_do_not_pass_the_limit_either(
    fail: Callable[..., Any],
) -> None:
    await fail(times=LIMIT - 1)
    assert await let_through(fail, [("ada", HOME)] * 10) == 1


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize("before", [0, 4])
async def test_guesses_in_parallel_from_many_addresses_or_at_many_accounts_do_not_pass_the_totals(
    fail: Callable[..., Any], before: int
) -> None:
    for number in range(before):
        await fail("ada", f"203.0.113.{number}")
        await fail(f"user{number}", HOME)
    left = TOTAL - before
    far = [("ada", f"198.51.100.{number}") for number in range(TOTAL + 5)]
    assert await let_through(fail, far) == left
    near = [(f"another{number}", HOME) for number in range(TOTAL + 5)]
    assert await let_through(fail, near) == left


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_while_one_attempt_waits_others_count_as_ever(
    throttle: Throttle, fail: Callable[..., Any], log_in: Callable[..., Any]
) -> None:
    """What this process knows of a counter lasts from the first of them to the last."""
    with throttle.attempt("ada", HOME):
        for _ in range(2 * LIMIT):
            await log_in()
        assert await let_through(fail, [("ada", HOME)] * 10) == LIMIT
        await refused(fail)
    with throttle.attempt("grace", AWAY):
        await fail("grace", AWAY, LIMIT)
        await refused(fail, "grace", AWAY)


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_what_was_found_wrong_counts_before_it_is_written(
    db: Database, throttle: Throttle, fail: Callable[..., Any]
) -> None:
    with ExitStack() as under_way:
        for _ in range(LIMIT):
            attempt = under_way.enter_context(throttle.attempt("ada", HOME))
            await attempt.check(db)
            with attempt.turn():
                attempt.wrong = True
        assert await refused(fail) == 1
        assert await counts(db) == []


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_counters_are_stored_under_the_digests_that_every_version_knows(
    db: Database, fail: Callable[..., Any], log_in: Callable[..., Any]
) -> None:
    """Two versions share a database while the later comes in."""
    await fail("Ada", HOME)
    await log_in("grace", HOME)
    counted = await db.read(lambda session: set(session.exec(select(LoginFailure.key))))
    known = await db.read(lambda session: set(session.exec(select(KnownAddress.key))))
    keys = [f"pair\nada\n{HOME}", "account\nada", f"address\n{HOME}"]
    assert counted == {hashlib.sha256(key.encode()).hexdigest() for key in keys}
    assert known == {hashlib.sha256(f"pair\ngrace\n{HOME}".encode()).hexdigest()}


async def test_every_counter_says_what_it_counts(db: Database, throttle: Throttle) -> None:
    with throttle.attempt("ada", HOME) as attempt:
        await db.write(lambda work: attempt.failed(work, "ada's id"))
    rows = await db.read(lambda session: session.exec(select(LoginFailure)).all())
    assert {(row.kind, row.user_id, row.network) for row in rows} == {
        ("pair", "ada's id", HOME), ("account", "ada's id", None), ("address", None, HOME),
    }  # fmt: skip


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_an_administrator_sees_what_is_locked_and_unlocks_it(
    db: Database, fail: Callable[..., Any], time: clock.Frozen
) -> None:
    end = clock.utcnow() + timedelta(minutes=5)

    async def locked(*addresses: str | None) -> list[tuple[str | None, Any]]:
        names = ["ada", "ada@example.com"]
        found = await db.read(lambda session: locks_of(session, names, addresses, LIMIT))
        return sorted(found, key=str)

    await fail("ADA", HOME, LIMIT - 1)
    assert await locked(HOME) == []
    await fail("ADA", HOME)
    assert await locked(HOME, AWAY) == [(HOME, end)]
    for number in range(TOTAL - LIMIT - 1):
        await fail("ada", f"203.0.113.{number}")
    assert await locked(AWAY) == []
    await fail("ada", AWAY)
    assert await locked(HOME, AWAY) == [(HOME, end), (None, end)]
    forgotten = await db.write(lambda session: unlock(session, ["ada"], [HOME, AWAY]))
    assert forgotten == 3
    assert await locked(HOME, AWAY) == []
    await fail("ada", HOME, LIMIT)
    assert await locked(HOME) == [(HOME, end)]
    time.tick(300)
    assert await locked(HOME) == []


async def test_logins_in_parallel_leave_nothing_counted(
    db: Database, log_in: Callable[..., Any]
) -> None:
    users = [f"user{number}" for number in range(20)]
    await asyncio.gather(*(log_in(user, HOME) for user in users))
    assert await counts(db) == []


async def test_spellings_of_one_name_share_a_counter(
    fail: Callable[..., Any], time: clock.Frozen
) -> None:
    for spelling in ("Ada", " ada", "ＡＤＡ"):
        await fail(spelling)
    await refused(fail, "ada")


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(
    "addresses",
    [
        ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:0:8000::", "2001:db8::2"),
        ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1", "::ffff:c000:201"),
        ("fe80::1%eth0", "fe80::1", "fe80::2%1", "fe80::3"),
        (None, "", "unix:", "\ud800"),
    ],
)
async def test_addresses_of_one_subscriber_share_a_counter(
    fail: Callable[..., Any], addresses: tuple[str | None, ...], time: clock.Frozen
) -> None:
    for address in addresses[:LIMIT]:
        await fail("ada", address)
    await refused(fail, "ada", addresses[LIMIT])
    await fail("ada", "2001:db8:0:1::1")


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize("name", ["", "x" * 10_000, "nul\x00", "lone \udc80", "line\nfeed"])
async def test_any_text_can_be_counted(fail: Callable[..., Any], name: str) -> None:
    await fail(name)


async def test_pruning_deletes_only_what_no_longer_counts(
    db: Database,
    throttle: Throttle,
    fail: Callable[..., Any],
    log_in: Callable[..., Any],
    time: clock.Frozen,
) -> None:
    await log_in("ada", HOME)
    await fail("grace", HOME, LIMIT)
    assert await db.write(throttle.prune) == 0
    await refused(fail, "grace", HOME)
    time.tick(300)
    await fail("grace", AWAY)
    assert await db.write(throttle.prune) == 2  # grace at home, home in total
    time.tick(timedelta(days=180) - timedelta(minutes=5, seconds=1))
    assert await db.write(throttle.prune) == 3
    time.tick(1)
    assert await db.write(throttle.prune) == 1  # where ada was 180 days ago
    assert (
        await db.read(lambda s: s.exec(select(func.count()).select_from(KnownAddress)).one()) == 0
    )
