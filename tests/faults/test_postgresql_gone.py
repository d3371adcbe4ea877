"""PostgreSQL cannot be asked: refuse to guess, and come back by oneself."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import Connection, event, text
from sqlmodel import Session

from identity.store import Statement, changes
from tests.databases import Postgres, migrate
from tests.faults.refusing import says_try_again
from tests.world import PASSWORD, World, bearer

pytestmark = pytest.mark.deadlines

RECOVERY = 2.0  # seconds


@pytest.fixture(scope="module")
def mortal() -> Iterator[Postgres]:
    """A PostgreSQL that tests may stop and kill; they leave it running. What it has committed
    survives its processes."""
    postgres = Postgres(options=["synchronous_commit=on"])
    yield postgres
    postgres.remove()


@pytest.fixture
def database_url(mortal: Postgres) -> Iterator[str]:
    url = mortal.create()
    migrate(url)
    yield url
    mortal.drop(url)


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_a_server_that_is_gone_is_a_503_and_its_return_is_noticed(
    world: World, mortal: Postgres, how: str
) -> None:
    world.user()
    shop = world.client()
    known = await world.log_in()
    met = await world.act(shop)
    assert await world.active(known["access_token"])
    assert world._checker is not None
    checker = world._checker.basic

    async def introspect(token: str) -> httpx.Response:
        return await world.api.post("/introspect", data={"token": token}, headers=checker)

    async def refresh() -> httpx.Response:
        return await world.refresh(known["refresh_token"])

    (mortal.stop if how == "stopped" else mortal.kill)()
    try:
        for _ in range(3):
            for token in (known["access_token"], known["refresh_token"], met["access_token"]):
                assert says_try_again(await introspect(token))
            assert says_try_again(await world.me(known["access_token"]))
            assert says_try_again(await refresh())
            assert says_try_again(await world.token(shop, grant_type="client_credentials"))
            assert says_try_again(await world.revoke(known["refresh_token"]))
            users = await world.api.get("/users", headers=bearer(known["access_token"]))
            assert says_try_again(users)
            assert says_try_again(await world.api.get("/readyz"))
            assert (await world.api.get("/healthz")).status_code == 200
            keys = await world.api.get("/.well-known/jwks.json")
            assert (keys.status_code, len(keys.json()["keys"])) == (200, 2)
            assert (await world.api.get("/metrics")).status_code == 200
    finally:
        mortal.start()

    async def answers() -> bool:
        answer = await introspect(known["access_token"])
        return answer.status_code == 200 or not says_try_again(answer)

    async with asyncio.timeout(RECOVERY):
        while not await answers():
            pass
    assert await world.active(known["access_token"])
    assert await world.active(met["access_token"])
    # Connections kept from before are found dead and replaced, at the first use of each.
    people = [world.user(f"person-{n}").username for n in range(8)]  # one account takes turns
    everyone = await asyncio.gather(
        *(world.log_in(username) for username in people), *(world.act(shop) for _ in range(8))
    )
    assert all(await asyncio.gather(*(world.active(a["access_token"]) for a in everyone)))
    assert (await refresh()).status_code == 200
    assert (await world.api.get("/readyz")).status_code == 200


async def test_a_single_connection_that_is_cut_is_replaced_unnoticed(
    world: World, database_url: str
) -> None:
    world.user()
    known = await world.log_in()
    assert await world.active(known["access_token"])

    def cut_all() -> None:
        with psycopg.connect(database_url, autocommit=True) as other:
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> %s"
            other.execute(f"{cut} AND datname = current_database()", [other.info.backend_pid])

    for _ in range(3):
        cut_all()
        assert await world.active(known["access_token"])
        known |= (await world.refresh(known["refresh_token"])).json()
        cut_all()
        assert await world.active((await world.log_in())["access_token"])


async def test_a_unit_whose_connection_is_cut_before_its_commit_is_run_again(world: World) -> None:
    world.user()
    cuts = ["SELECT pg_terminate_backend(pg_backend_pid())"] * 2
    hooks = world.services.db.before_commit

    def cut(session: Session) -> None:
        if cuts:
            session.execute(text(cuts.pop()))

    hooks.append(cut)
    login = await world.log_in()
    hooks.pop()
    assert cuts == []
    assert await world.active(login["refresh_token"])


async def test_a_unit_whose_connection_is_cut_in_its_commit_is_not_run_again(
    world: World, database_url: str
) -> None:
    """It may have come through, and here it has: run again it would happen twice."""
    world.user()
    await world.log_in()

    def mark(session: Session) -> None:
        if changes.pending(session):  # not the housekeeping's
            session.connection().info["cut"] = True

    def commit_and_cut(connection: Connection) -> None:
        if connection.info.pop("cut", False):
            raw: Any = connection.connection.dbapi_connection
            raw.commit()
            raw.execute("SELECT 1")  # whoever commits learns of nothing but the cut
            with psycopg.connect(database_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [raw.info.backend_pid])

    world.services.db.before_commit.insert(0, mark)
    event.listen(world.services.db.engine, "commit", commit_and_cut)
    before = len(await world.events("login"))
    answer = await world.token(grant_type="password", username="ada", password=PASSWORD)
    assert says_try_again(answer)
    assert len(await world.events("login")) == before + 1


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_refresh_whose_commit_is_cut_may_be_repeated(
    world: World, database_url: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is 503, for nobody knows whether the commit came through; the token that
    the client has goes on to work either way, and one refresh token is alive."""
    world.user()
    login = await world.log_in()
    pool = world.services.db._pool
    assert pool is not None
    apply = pool.apply

    async def apply_and_cut(statement: Statement, values: Any) -> bool:
        if moment == "after":
            await apply(statement, values)
            # The client learns of nothing but the cut.
            statement = Statement(lambda: text("SELECT 1"))
        with psycopg.connect(database_url, autocommit=True) as other:
            for kept in pool._free:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [kept.info.backend_pid])
        return await apply(statement, values)

    monkeypatch.setattr(pool, "apply", apply_and_cut)
    answer = await world.refresh(login["refresh_token"])
    monkeypatch.undo()
    assert says_try_again(answer)
    again = await world.refresh(login["refresh_token"])
    assert again.status_code == 200
    sid = (await world.introspect(again.json()["access_token"]))["sid"]
    stored = world.refresh_tokens(sid)
    assert [token.spent for token in stored].count(None) == 1
    assert len(stored) == (2 if moment == "before" else 3)
