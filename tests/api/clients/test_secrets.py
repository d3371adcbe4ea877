"""Secrets of clients: shown once, two may overlap."""

import asyncio
from datetime import timedelta

from identity import clock
from identity.clock import utcnow
from tests import acting
from tests.acting import Actor, pointers, problem
from tests.world import Caller, World, refused


async def client(boss: Actor) -> Caller:
    made = await boss.done(
        "POST",
        "/clients",
        {"id": "report", "name": "Report", "grant_types": ["client_credentials"]},
    )
    return Caller("report", made["client_secret"])


async def test_a_client_changes_over_from_one_secret_to_another_without_a_gap(
    world: World,
) -> None:
    boss = await acting.admin(world)
    old = await client(boss)
    answer = await boss("POST", "/clients/report/secrets")
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    new = Caller("report", answer.json()["secret"])
    await world.act(old)
    await world.act(new)
    problem(await boss("POST", "/clients/report/secrets"), 409)
    first, second = (await boss.done("GET", "/clients/report"))["secrets"]
    assert second == {key: answer.json()[key] for key in second}
    await boss.done("DELETE", f"/clients/report/secrets/{first['id']}")
    refused(await world.token(old, grant_type="client_credentials"), 401, "invalid_client")
    await world.act(new)
    problem(await boss("DELETE", f"/clients/report/secrets/{first['id']}"), 404)
    await boss.done("POST", "/clients/report/secrets")


async def test_a_secret_expires_and_makes_room(world: World) -> None:
    boss = await acting.admin(world)
    await client(boss)
    with clock.frozen(utcnow().replace(microsecond=0)) as time:
        made = await boss.done("POST", "/clients/report/secrets", {"expires_in": 60})
        short = Caller("report", made["secret"])
        time.tick(59)
        await world.act(short)
        time.tick(1)
        refused(await world.token(short, grant_type="client_credentials"), 401, "invalid_client")
        at = (utcnow() + timedelta(days=1)).isoformat()
        made = await boss.done("POST", "/clients/report/secrets", {"expires_at": at})
        assert made["expires_at"].startswith(at[:19])
        assert len((await boss.done("GET", "/clients/report"))["secrets"]) == 2


async def test_an_expiry_that_makes_no_sense_is_refused(world: World) -> None:
    boss = await acting.admin(world)
    await client(boss)
    for body, where in (
        ({"expires_in": 0}, "/expires_in"),
        ({"expires_in": -1}, "/expires_in"),
        ({"expires_in": 10**30}, "/expires_in"),
        ({"expires_in": "60"}, "/expires_in"),
        ({"expires_in": 1.5}, "/expires_in"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "/expires_at"),
        ({"expires_at": "2099-01-01T00:00:00"}, "/expires_at"),
        ({"expires_at": "tomorrow"}, "/expires_at"),
        ({"expires_at": 4102444800}, "/expires_at"),
        ({"expires_in": 60, "expires_at": "2099-01-01T00:00:00Z"}, "/expires_at"),
    ):
        assert pointers(await boss("POST", "/clients/report/secrets", body)) == {where}, body


async def test_a_secret_is_reached_only_through_its_own_client(world: World) -> None:
    boss = await acting.admin(world)
    await client(boss)
    other = await boss.done("POST", "/clients", {"name": "Other"})
    secret = other["secrets"][0]["id"]
    problem(await boss("DELETE", f"/clients/report/secrets/{secret}"), 404)


async def test_of_secrets_made_at_once_two_are_made(world: World) -> None:
    boss = await acting.admin(world)
    await client(boss)
    answers = await asyncio.gather(*(boss("POST", "/clients/report/secrets") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
