"""Refusals by the thousand are counted, and what is known of an account or client stays."""

import pytest

from identity.clock import frozen, utcnow
from identity.records.audit.refusals import EACH, MOST, Refusals, Whom
from tests.world import PASSWORD, World, refused


async def fail(world: World, times: int, **form: str) -> None:
    for _ in range(times):
        assert (await world.token(**form)).status_code in (400, 401, 429)


async def test_beyond_a_small_rate_the_refusals_of_a_minute_are_one_row_with_their_number(
    world: World,
) -> None:
    with frozen() as clock:
        for number in range(EACH + 30):
            form = {"grant_type": "client_credentials", "client_id": f"nobody-{number}"}
            refused(await world.token(**form, client_secret="x"), 401, "invalid_client")
        assert len(await world.events("client.authentication")) == EACH
        clock.tick(60)
        *each, counted = await world.events("client.authentication")
        assert [event.client_id for event in each] == [f"nobody-{n}" for n in range(EACH)]
        assert (counted.detail["count"], counted.detail["why"]) == (30, "unknown")
        assert counted.client_id is None
        assert counted.address == each[0].address
        assert counted.outcome == "refused"
        # The next minute begins anew.
        await fail(world, 1, grant_type="client_credentials", client_id="nobody", client_secret="x")
        assert len(await world.events("client.authentication")) == EACH + 2


async def test_the_client_that_somebody_tries_to_be_stays_on_record(world: World) -> None:
    shop = world.client("shop")
    with frozen() as clock:
        wrong = {"grant_type": "client_credentials", "client_secret": "wrong"}
        await fail(world, EACH + 5, client_id=shop.id, **wrong)
        await fail(world, EACH + 5, client_id="nobody", **wrong)
        clock.tick(60)
        rows = [e for e in await world.events("client.authentication") if "count" in e.detail]
    assert {(row.client_id, row.detail["why"], row.detail["count"]) for row in rows} == {
        ("shop", "wrong secret", 5),
        (None, "unknown", 5),
    }


async def test_every_wrong_password_of_a_known_account_has_a_row(world: World) -> None:
    world.user()
    with frozen() as clock:
        for number in range(3 * EACH):
            await fail(world, 1, grant_type="password", username="ada", password=f"guess {number}")
        clock.tick(60)
        rows = await world.events("login")
    wrong = [row for row in rows if row.detail["why"] == "wrong password"]
    locked = [row for row in rows if row.detail["why"] != "wrong password"]
    assert len(wrong) == 10  # then the throttle takes over
    assert len({row.subject for row in rows}) == 1
    assert sum(row.detail.get("count", 1) for row in locked) == 3 * EACH - 10
    assert len(locked) == EACH + 1


async def test_unknown_names_are_counted_together(world: World) -> None:
    with frozen() as clock:
        for number in range(EACH + 4):
            await fail(world, 1, grant_type="password", username=f"no-{number}", password=PASSWORD)
        clock.tick(60)
        *each, counted = await world.events("login")
        assert [row.detail["login"] for row in each] == [f"no-{n}" for n in range(EACH)]
        assert (counted.detail["count"], counted.subject) == (4, None)
        assert "login" not in counted.detail


async def test_what_was_counted_is_written_when_the_service_stops(world: World) -> None:
    form = {"grant_type": "client_credentials", "client_id": "nobody", "client_secret": "x"}
    await fail(world, EACH + 2, **form)
    world.services.queue.close()
    assert (await world.events("client.authentication"))[-1].detail["count"] == 2


@pytest.mark.parametrize("addresses", [MOST // 10, 20 * MOST])
def test_rows_and_memory_are_bounded_however_many_addresses_take_part(addresses: int) -> None:
    refusals, written, each = Refusals(), 0, EACH + 1
    event = {"event": "login", "request_id": "r", "at": utcnow()}
    for number in range(addresses):
        for _ in range(each):
            whom = Whom(f"address {number}", None, None)
            written += refusals.is_to_be_written(event, whom, {"why": "unknown"})
    rows = refusals.ended(60.0, all_of_them=True)
    assert written + sum(row["detail"]["count"] for row in rows) == addresses * each
    assert written <= MOST * EACH
    assert len(rows) <= MOST + 1
