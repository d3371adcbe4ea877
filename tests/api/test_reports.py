"""`GET /audit` and `GET /stats`."""

from datetime import UTC, datetime
from typing import Any

from identity import clock
from tests import acting
from tests.acting import Actor, pointers, problem
from tests.world import PASSWORD, World

NOON = datetime(2031, 5, 4, 12, 0, tzinfo=UTC)


async def events(boss: Actor, **filters: Any) -> list[dict[str, Any]]:
    page = await boss.done("GET", "/audit", params=filters)
    return list(page["items"])


async def test_the_audit_answers_who_did_what_to_whom(world: World) -> None:
    boss = await acting.admin(world)
    me = (await world.me(boss.token)).json()["id"]
    ada = (await boss.done("POST", "/users", {"username": "ada"}))["id"]
    bob = (await boss.done("POST", "/users", {"username": "bob"}))["id"]
    await boss.done("PATCH", f"/users/{ada}", {"status": "disabled"})
    named = [event["event"] for event in await events(boss, subject=ada)]
    assert named == ["user.disabled", "user.created"]
    (disabled,) = await events(boss, event="user.disabled")
    assert (disabled["actor"], disabled["actor_type"], disabled["subject"]) == (me, "user", ada)
    assert disabled["outcome"] == "success"
    by_me = await events(boss, actor=me, event="user.*")
    assert [event["subject"] for event in by_me] == [ada, bob, ada]
    assert await events(boss, actor=bob) == []
    assert await events(boss, event="user_*") == []  # not a wildcard of LIKE


async def test_the_audit_is_filtered_by_time_and_outcome(world: World) -> None:
    with clock.frozen(NOON) as time:
        boss = await acting.admin(world)
        time.tick(60)
        await world.token(grant_type="password", username="ada", password=PASSWORD)
        time.tick(60)
        await boss.done("POST", "/users", {"username": "ada"})
        (refusal,) = await events(boss, event="login", outcome="refused")
        assert refusal["detail"]["login"] == "ada"
        at = "2031-05-04T12:01:00Z"
        assert [event["event"] for event in await events(boss, since=at, until=at)] == []
        assert len(await events(boss, since=at, until="2031-05-04T14:01:00.5+02:00")) == 1
        assert (await events(boss, until="2031-05-04T12:00:00.5Z", event="login"))[0][
            "outcome"
        ] == "success"


async def test_the_audit_is_walked_newest_first_while_it_grows(world: World) -> None:
    boss = await acting.admin(world)
    for number in range(7):
        await boss.done("POST", "/users", {"username": f"u{number}"})
    seen, after = [], None
    while True:
        filters = {"event": "user.created", "limit": 3} | ({"after": after} if after else {})
        page = await boss.done("GET", "/audit", params=filters)
        seen += [event["detail"]["username"] for event in page["items"]]
        await boss.done("POST", "/users", {"username": f"later{len(seen)}"})
        after = page["next"]
        if after is None:
            break
    assert seen == [*(f"u{number}" for number in reversed(range(7))), "admin"]


async def test_the_numbers_are_counted_by_hour(world: World) -> None:
    with clock.frozen(NOON) as time:
        world.user()
        robot = world.client("robot", scopes=[])
        await world.log_in()
        await world.token(grant_type="password", username="ada", password="wrong")
        time.tick(3600)
        boss = await acting.admin(world)
        await world.act(robot)
        await world.act(robot)
        await world.events("token.issued")
        stats = await boss.done("GET", "/stats", params={"hours": 3})
    assert stats["hours"] == [
        {"hour": "2031-05-04T11:00:00Z", "logins": 0, "failures": 0, "tokens": 0},
        {"hour": "2031-05-04T12:00:00Z", "logins": 1, "failures": 1, "tokens": 1},
        {"hour": "2031-05-04T13:00:00Z", "logins": 1, "failures": 0, "tokens": 3},
    ]
    assert stats["users"] == {"total": 2, "active": 2, "disabled": 0}
    assert stats["clients"] == {"total": 2, "active": 2, "disabled": 0}
    assert stats["sessions"] == 2


async def test_bad_parameters_are_refused_and_say_which(world: World) -> None:
    boss = await acting.admin(world)
    for path, where in (
        ("/audit?since=yesterday", "?since"),
        ("/audit?since=0", "?since"),
        ("/audit?until=2026-01-01T00:00:00", "?until"),
        ("/audit?until=0001-01-01T00:00:00%2B14:00", "?until"),
        ("/audit?outcome=maybe", "?outcome"),
        ("/audit?actor=%00", "?actor"),
        ("/audit?event=" + "x" * 101, "?event"),
        ("/audit?after=YWRh", "?after"),
        ("/audit?limit=0", "?limit"),
        ("/audit?limit=" + "9" * 5000, "?limit"),
        ("/stats?hours=0", "?hours"),
        ("/stats?hours=169", "?hours"),
        ("/stats?hours=x", "?hours"),
    ):
        assert pointers(await boss("GET", path)) == {where}, path


async def test_reports_need_their_scope(world: World) -> None:
    clerk = await acting.clerk(world, "users:read", "users:write", "roles:read")
    for path in ("/audit", "/stats"):
        problem(await world.api.get(path), 401)
        problem(await clerk("GET", path), 403)
