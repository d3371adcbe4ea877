"""Ids of users and clients never meet (RFC 9068 §5, RFC 9700 §4.15): a sibling may go by `sub`."""

import asyncio

import pytest
from sqlmodel import Session, select

from identity.directory import subjects
from identity.directory.clients import accounts as clients
from identity.directory.clients.table import Client
from identity.directory.subjects import Subject
from identity.directory.users import accounts as users
from identity.directory.users.table import User
from identity.errors import Conflict
from tests import acting
from tests.acting import Actor, pointers, problem
from tests.world import Caller, World, claims_of

CLIENT = {"name": "Eve's", "grant_types": ["client_credentials"]}


@pytest.fixture
async def boss(world: World) -> Actor:
    return await acting.admin(world)


async def test_no_client_is_registered_under_the_id_of_a_user(world: World, boss: Actor) -> None:
    ada = world.user()
    clerk = await acting.clerk(world, "clients:write")
    answer = await clerk("POST", "/clients", CLIENT | {"id": ada.id})
    assert "taken" in problem(answer, 409)["detail"]
    assert (await boss("GET", f"/clients/{ada.id}")).status_code == 404


async def test_nor_under_another_spelling_of_it(world: World, boss: Actor) -> None:
    """A sibling's database that keeps ids as UUIDs, or compares without regard to case, takes it
    for the user's."""
    ada = world.user()
    bare = ada.id.replace("-", "")
    fours = "-".join(bare[at : at + 4] for at in range(0, 32, 4))
    for spelt in (ada.id.upper(), bare, bare.upper(), fours):
        answer = await boss("POST", "/clients", CLIENT | {"id": spelt})
        assert pointers(answer) == {"/id"}
    client = Client(id=ada.id.upper(), name="Of before")
    with world.change() as session:
        session.add(client)
        session.flush()
        assert subjects.shared(session) == [ada.id.upper()]


async def test_nor_under_that_of_a_user_who_has_been_deleted(world: World, boss: Actor) -> None:
    """Who keeps things by `sub` keeps them longer than we keep users."""
    ada = world.user()
    await boss.done("DELETE", f"/users/{ada.id}")
    problem(await boss("POST", "/clients", CLIENT | {"id": ada.id}), 409)


async def test_no_user_is_created_under_the_id_of_a_client_or_of_one_deleted(
    world: World, boss: Actor
) -> None:
    await boss.done("POST", "/clients", CLIENT | {"id": "robot"})
    for _ in range(2):
        with pytest.raises(Conflict, match="user id is taken"):
            world.user(user_id="robot")
        await boss("DELETE", "/clients/robot")
    assert (await boss.done("GET", "/users?q=ada"))["items"] == []


async def test_a_client_may_have_the_id_of_a_client_deleted(world: World, boss: Actor) -> None:
    for _ in range(2):
        await boss.done("POST", "/clients", CLIENT | {"id": "robot"})
        await boss.done("DELETE", "/clients/robot")


async def test_of_a_user_and_a_client_who_take_an_id_at_once_one_gets_it(world: World) -> None:
    def user(session: Session) -> str:
        return users.create(session, username=name, user_id=name).id

    def client(session: Session) -> str:
        return clients.create(session, name=name, client_id=name, known_grants=(), held=None).id

    for number in range(10):
        name = f"id{number}"
        units = (user, client) if number % 2 else (client, user)
        outcomes = await asyncio.gather(
            *(world.services.db.write(unit) for unit in units), return_exceptions=True
        )
        assert [outcome for outcome in outcomes if outcome == name] == [name]
        assert [str(outcome) for outcome in outcomes if isinstance(outcome, Conflict)]
    with world.change() as session:
        assert subjects.shared(session) == []


async def test_rows_of_a_version_that_claims_nothing_are_seen_all_the_same(
    world: World, boss: Actor
) -> None:
    with world.change() as session:
        session.add(User(id="of-old", username="old"))
        session.add(Client(id="as-old"))
    problem(await boss("POST", "/clients", CLIENT | {"id": "of-old"}), 409)
    with pytest.raises(Conflict):
        world.user(user_id="as-old")


async def test_every_id_is_on_record_with_what_it_is(world: World, boss: Actor) -> None:
    ada = world.user()
    await boss.done("POST", "/clients", CLIENT | {"id": "robot"})
    with world.change() as session:
        types = dict(session.exec(select(Subject.id, Subject.type)).all())
    assert (types[ada.id], types["robot"], types["first-party"]) == ("user", "client", "client")


@pytest.fixture
def clash(world: World) -> str:
    """Of before this was looked at: a client under the id of ada."""
    ada = world.user()
    world.client(ada.id, scopes=[])
    return ada.id


async def test_where_they_have_met_already_they_are_told_apart_by_their_type(
    world: World, clash: str
) -> None:
    with world.change() as session:
        assert subjects.shared(session) == [clash]
    robot = Caller(clash, world.secret(clash))
    own, hers = await world.act(robot), await world.log_in(client=robot)
    for tokens, type_ in ((own, "client"), (hers, "user")):
        token = tokens["access_token"]
        assert claims_of(token)["sub"] == clash
        assert (await world.introspect(token))["subject_type"] == type_
        told = await world.api.get("/forward-auth", headers={"authorization": f"Bearer {token}"})
        assert told.headers["x-subject-type"] == type_
        live = await world.services.live.find(token)
        assert live is not None
        assert live.claims.is_client == (type_ == "client")
