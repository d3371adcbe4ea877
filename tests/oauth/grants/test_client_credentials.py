"""`POST /token` with `grant_type=client_credentials` (RFC 6749 §4.4)."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from identity.clock import utcnow
from tests.rounds import together
from tests.world import World, bearer, claims_of


async def test_a_client_acts_for_itself(world: World) -> None:
    world.scopes("read")
    shop = world.client(scopes=["read"])
    answer = await world.act(shop)
    assert set(answer) == {"access_token", "token_type", "expires_in", "scope"}
    claims = claims_of(answer["access_token"])
    assert claims["sub"] == claims["client_id"] == "shop"
    assert claims.keys().isdisjoint({"sid", "username", "roles", "auth_time", "amr"})
    described = await world.introspect(answer["access_token"])
    assert (described["sub"], described["client_id"]) == ("shop", "shop")
    assert described.keys().isdisjoint({"sid", "username", "roles"})


async def test_a_clients_own_token_is_nobodys_profile(world: World) -> None:
    token = (await world.act(world.client()))["access_token"]
    answer = await world.api.get("/users/me", headers=bearer(token))
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"


async def test_it_costs_no_query_and_no_write_but_is_on_record(world: World) -> None:
    shop = world.client()
    await world.act(shop)
    statements: list[str] = []
    engine = world.services.db.engine

    def count(_c: object, _cur: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", count)
    try:
        for _ in range(5):
            await world.act(shop)
    finally:
        event.remove(engine, "before_cursor_execute", count)
    assert [s for s in statements if "audit" not in s] == []
    events = await world.events("token.issued")
    assert len(events) == 6
    assert {(e.client_id, e.actor_type, e.actor) for e in events} == {("shop", "client", "shop")}
    assert events[0].detail["grant"] == "client_credentials"
    assert events[0].request_id and events[0].address == "127.0.0.1"


@pytest.mark.parametrize("dialect", ["sqlite"])  # on the other they wait for the shared query
async def test_tokens_asked_for_in_one_round_are_signed_in_a_row_and_later_checked_in_a_row(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, gate, mint = world.client(), world.services.live.gate, world.services.mint
    # Of one that has just begun it is asked, too, whether a token may be of before.
    world.change_client(shop.id, good_from=utcnow() - timedelta(hours=1))
    tokens = [(await world.act(shop))["access_token"] for _ in range(3)]
    order: list[str] = []

    def noted(what: str, work: Any) -> Any:
        return lambda *given, **named: (order.append(what), work(*given, **named))[1]

    queue, db = world.services.queue, world.services.db
    monkeypatch.setattr(queue, "put", noted("asked", queue.put))
    monkeypatch.setattr(type(mint), "access_token", noted("signed", type(mint).access_token))
    monkeypatch.setattr(gate, "check", noted("checked", gate.check))
    monkeypatch.setattr(db, "query", noted("looked up", db.query))
    form = {"grant_type": "client_credentials"}
    ask = httpx.Request("POST", "http://testserver/token", data=form, headers=shop.basic)
    assert await together(world.app, [ask] * 3) == [200] * 3
    assert order == ["asked"] * 3 + ["signed"] * 3
    order.clear()
    address = "http://testserver/introspect"
    looks = [
        httpx.Request("POST", address, data={"token": token}, headers=shop.basic)
        for token in tokens
    ]
    assert await together(world.app, looks) == [200] * 3
    assert order == ["checked"] * 3 + ["looked up"] * 3
