"""What a process remembers is bounded, and never older than the change feed."""

import asyncio
import base64
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from identity.directory.users.table import User
from identity.store.changes import ChangeFeed
from identity.store.histories import Histories
from identity.store.remembered import Lookups, Remembered
from identity.store.turns import Turns
from identity.tokens.minting import Subject
from identity.tokens.sessions import beginning, lifecycle
from tests.world import World

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Store:
    """A database of one table, whose reads can be held up between the query and its answer."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.reads: list[str] = []
        self.held: asyncio.Future[None] | None = None

    def load(self, session: Any, ref: str) -> str | None:
        self.reads.append(ref)
        return self.rows.get(ref)

    async def read(self, unit: Callable[[Any], Any]) -> Any:
        found = unit(None)
        if self.held is not None:
            await self.held
        return found


class Told(ChangeFeed):
    """A feed that hears what the test says."""

    steady = True

    def __init__(self) -> None:
        self._listeners = {}
        self._turns = Turns(Histories())

    def say(self, kind: str, ref: str) -> None:
        self._tell(kind, ref)

    def lose_history(self) -> None:
        self._reset()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def feed() -> Told:
    return Told()


@pytest.fixture
def remembered(store: Store, feed: Told) -> Remembered[str]:
    database: Any = store
    return Remembered(
        feed,
        lambda ref: database.read(lambda session: store.load(session, ref)),
        noun="user",
        wholesale=("role",),
        size=3,
        lookups=Lookups(),
    )


async def test_what_was_asked_once_is_not_read_again(
    remembered: Remembered[str], store: Store
) -> None:
    store.rows["ada"] = "1"
    assert remembered.at_hand("ada") is None
    assert [await remembered.get("ada") for _ in range(3)] == ["1", "1", "1"]
    assert remembered.at_hand("ada") == "1"
    assert store.reads == ["ada"]


async def test_a_change_forgets_the_one_it_names(
    remembered: Remembered[str], store: Store, feed: Told
) -> None:
    store.rows |= {"ada": "1", "bob": "1"}
    await remembered.get("ada")
    await remembered.get("bob")
    store.rows |= {"ada": "2", "bob": "2"}
    feed.say("user.changed", "ada")
    assert await remembered.get("ada") == "2"
    assert await remembered.get("bob") == "1"


@pytest.mark.parametrize("how", ["a role changed", "history was lost"])
async def test_what_concerns_all_forgets_all(
    remembered: Remembered[str], store: Store, feed: Told, how: str
) -> None:
    store.rows |= {"ada": "1", "bob": "1"}
    await remembered.get("ada")
    await remembered.get("bob")
    store.rows |= {"ada": "2", "bob": "2"}
    if how == "a role changed":
        feed.say("role.changed", "editor")
    else:
        feed.lose_history()
    assert (await remembered.get("ada"), await remembered.get("bob")) == ("2", "2")


async def test_other_nouns_forget_nothing(
    remembered: Remembered[str], store: Store, feed: Told
) -> None:
    store.rows["ada"] = "1"
    await remembered.get("ada")
    feed.say("client.changed", "ada")
    assert remembered.at_hand("ada") == "1"


@pytest.mark.parametrize("ref", ["ada", "bob"])
async def test_a_value_read_while_a_change_arrives_is_given_but_not_kept(
    remembered: Remembered[str], store: Store, feed: Told, ref: str
) -> None:
    store.rows["ada"] = "1"
    store.held = asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(remembered.get("ada"))
    await asyncio.sleep(0)
    store.rows["ada"] = "2"
    feed.say("user.changed", ref)
    store.held.set_result(None)
    assert await reading == "1"  # it was asked before the change
    assert remembered.at_hand("ada") is None
    assert await remembered.get("ada") == "2"


async def test_the_least_recently_used_goes_first(
    remembered: Remembered[str], store: Store
) -> None:
    store.rows |= dict.fromkeys("abcd", "1")
    for ref in "abcad":
        await remembered.get(ref)
    assert [ref for ref in "abcd" if remembered.at_hand(ref)] == ["a", "c", "d"]


async def test_what_does_not_exist_is_not_remembered(
    remembered: Remembered[str], store: Store
) -> None:
    store.rows["ada"] = "1"
    await remembered.get("ada")
    for n in range(10):
        assert await remembered.get(f"nobody {n}") is None
    assert remembered.at_hand("ada") == "1"
    store.rows["nobody 1"] = "here"
    assert await remembered.get("nobody 1") == "here"


# --- Tokens ---------------------------------------------------------------------------------


async def _mint(world: World, user: User, count: int) -> tuple[str, list[str]]:
    """A session and `count` access tokens of it that nobody has seen."""
    services = world.services
    await services.feed.catch_up()
    await services.ring.refresh()
    audience = services.settings.audience
    with world.change() as session:
        login = beginning.start(
            session, services.lifetimes,
            user_id=user.id, client_id="first-party", scope="", audience=audience, amr=["pwd"],
        )  # fmt: skip
    subject = Subject(user.id, user.username, (), login)
    return login.id, [
        services.mint.access_token(
            subject, client_id="first-party", audience=audience, scope=""
        ).token
        for _ in range(count)
    ]


async def test_tokens_of_a_session_met_at_once_all_die_with_it(world: World) -> None:
    user = world.user()
    session_id, tokens = await _mint(world, user, 8)
    assert all(await asyncio.gather(*map(world.active, tokens)))
    with world.change() as session:
        lifecycle.end(session, session_id, "test")
    assert not any(await asyncio.gather(*map(world.active, tokens)))


async def test_a_revoked_token_is_dead_in_each_of_its_spellings(world: World) -> None:
    """For each ECDSA signature (r, s) there is another, (r, n - s)."""
    world.user()
    token = (await world.log_in())["access_token"]
    signed, _, signature = token.rpartition(".")
    octets = base64.urlsafe_b64decode(signature + "==")
    other = (P256_ORDER - int.from_bytes(octets[32:], "big")).to_bytes(32, "big")
    respelled = base64.urlsafe_b64encode(octets[:32] + other).rstrip(b"=").decode()
    spellings = [token, f"{signed}.{respelled}"]
    assert [await world.active(spelling) for spelling in spellings] == [True, True]
    await world.revoke(spellings[1])
    assert [await world.active(spelling) for spelling in spellings] == [False, False]


async def test_a_token_revoked_while_it_was_met_is_not_remembered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = world.user()
    session_id, (token,) = await _mint(world, user, 1)
    live, query = world.services.live, world.services.db.query

    async def query_then_hear(*asked: Any) -> Any:
        found = await query(*asked)
        with world.change() as session:
            lifecycle.end(session, session_id, "test")
        await world.services.feed.catch_up()
        return found

    monkeypatch.setattr(live, "_db", SimpleNamespace(query=query_then_hear))
    await live.find(token)  # either answer is right: the session ended while we asked
    monkeypatch.undo()
    assert await live.find(token) is None
