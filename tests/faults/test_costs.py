"""What a known token costs: the change feed's one question, and nothing else of the database."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from identity.app import create_app
from tests.world import World, an_address, bearer, services_of


@pytest.fixture
async def quiet(settings: Any) -> AsyncIterator[World]:
    """The service without its housekeeping, which asks the database on its own account."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app=app, client=(an_address(), 1))
    async with httpx.AsyncClient(transport=transport, base_url=settings.issuer) as api:
        yield World(app, api)
    await services_of(app).close()


class Meter:
    """Notes each question to the database, by whichever way it goes."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        services = world.services
        event.listen(services.db.engine, "before_cursor_execute", self._note)
        for asker, names in (
            (services.db, ("read", "write", "query", "apply")),
            (services.feed._source, ("unchanged", "follow", "begin")),
        ):
            for name in names:
                if hasattr(asker, name):
                    monkeypatch.setattr(asker, name, self._watched(name, getattr(asker, name)))

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.asked.append(statement)

    def _watched(self, name: str, ask: Any) -> Any:
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.asked.append(name)
            return ask(*args, **kwargs)

        return watched


async def test_a_known_token_costs_the_feeds_one_question(
    quiet: World, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = "unchanged" if dialect == "sqlite" else "follow"
    world = quiet
    world.user()
    token = (await world.log_in())["access_token"]
    shop = world.client("shop", grants=["client_credentials"], scopes=["introspect"])
    asking = bearer((await world.act(shop, scope="introspect"))["access_token"])

    async def ask_as_a_client() -> None:
        assert await world.active(token)

    async def ask_with_a_bearer_token() -> None:
        answer = await world.api.post("/introspect", data={"token": token}, headers=asking)
        assert answer.json()["active"]

    async def ask_of_a_revoked_one() -> None:
        assert not await world.active(revoked)

    async def who_am_i() -> None:
        assert (await world.me(token)).status_code == 200

    async def key_set() -> None:
        assert (await world.api.get("/.well-known/jwks.json")).status_code == 200

    async def issue() -> None:
        await world.act(shop)

    revoked = (await world.log_in())["access_token"]
    assert await world.active(revoked)
    await world.revoke(revoked)
    kinds = (
        ask_as_a_client, ask_with_a_bearer_token, ask_of_a_revoked_one, who_am_i, key_set, issue,
    )  # fmt: skip
    for kind in kinds:
        await kind()
    meter = Meter(world, monkeypatch)
    for kind in kinds:
        meter.asked.clear()
        for _ in range(3):
            await kind()
        assert meter.asked == [question] * 3, kind.__name__
