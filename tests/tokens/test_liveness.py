"""Which tokens are alive: each change counts from the moment it is committed, on both databases,
although introspection asks the database nothing about a token it knows."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import event
from sqlmodel import Session, delete

from identity.app import create_app
from identity.clock import frozen, utcnow
from identity.directory.access.table import RoleScope
from identity.directory.clients import accounts as clients
from identity.directory.users import accounts
from identity.keys.material import prepare
from identity.keys.rotation import revoke
from identity.oauth.grants.registry import GRANTS
from identity.store import changes
from identity.tokens import live
from identity.tokens.sessions import lifecycle
from identity.tokens.status.questions import ENDED
from identity.tokens.table import RevokedToken
from tests.serving import running
from tests.world import World, bearer, claims_of, granted, refused


@pytest.fixture
def id_token_algorithms() -> str:
    """One line of keys."""
    return ""


async def dead(world: World, token: str) -> bool:
    """Inactive, and no good as a bearer token at either lane."""
    assert not await world.active(token)
    for path in ("/users/me", "/users/me/sessions"):
        answer = await world.api.get(path, headers=bearer(token))
        assert answer.status_code == 401, answer.text
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    return True


async def test_a_token_is_alive_until_the_second_it_expires(world: World) -> None:
    world.user()
    with frozen() as clock:
        clock.at = float(int(clock.at))
        token = (await world.log_in())["access_token"]
        unseen = (await world.log_in())["access_token"]
        assert await world.active(token)
        clock.tick(899.9)
        assert await world.active(token)
        assert (await world.me(token)).status_code == 200
        clock.tick(0.1)
        assert await dead(world, token)
        assert await dead(world, unseen)  # one that is not remembered expires no later


async def test_a_role_taken_away_shrinks_the_scope_at_once(world: World) -> None:
    world.scopes("read", role="reader")
    world.scopes("write", role="writer")
    user = world.user(roles=["reader", "writer"])
    tokens = await world.log_in(scope="read write")
    assert (await world.introspect(tokens["access_token"]))["scope"] == "read write"
    with world.change() as session:
        accounts.set_roles(session, accounts.get(session, user.id), ["reader"], None)
    described = await world.introspect(tokens["access_token"])
    assert (described["scope"], described["roles"]) == ("read", ["reader"])
    assert (await world.introspect(tokens["refresh_token"]))["scope"] == "read"
    assert (await world.me(tokens["access_token"])).json()["roles"] == ["reader"]
    assert granted(await world.refresh(tokens["refresh_token"]))["scope"] == "read"
    # Given back, it is good again: the token still says so.
    with world.change() as session:
        accounts.set_roles(session, accounts.get(session, user.id), ["reader", "writer"], None)
    assert (await world.introspect(tokens["access_token"]))["scope"] == "read write"


async def test_a_scope_taken_from_a_role_is_gone_at_once(world: World) -> None:
    world.scopes("read", "write", role="editor")
    world.user(roles=["editor"])
    token = (await world.log_in(scope="read write"))["access_token"]
    assert await world.active(token)

    def narrow(session: Session) -> None:
        session.exec(delete(RoleScope).where(RoleScope.scope == "write"))  # type: ignore[arg-type]
        changes.record(session, "role.changed", "editor")

    await world.services.db.write(narrow)
    assert (await world.introspect(token))["scope"] == "read"


async def test_an_administrator_demoted_cannot_act_any_more(world: World) -> None:
    user = world.user("root", roles=["admin"])
    token = (await world.log_in("root", scope="*"))["access_token"]
    assert (await world.api.get("/users", headers=bearer(token))).status_code == 200
    with world.change() as session:
        accounts.set_roles(session, accounts.get(session, user.id), [], None)
    answer = await world.api.get("/users", headers=bearer(token))
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert 'scope="users:read"' in answer.headers["www-authenticate"]


async def test_a_scope_taken_from_a_client_is_gone_at_once(world: World) -> None:
    world.scopes("read", "write", role="editor")
    world.user(roles=["editor"])
    shop = world.client(scopes=["read", "write"])
    own = (await world.act(shop))["access_token"]
    tokens = await world.log_in(client=shop)
    world.change_client(shop.id, scopes=["read"])
    for token in (own, tokens["access_token"], tokens["refresh_token"]):
        assert (await world.introspect(token))["scope"] == "read"


@pytest.mark.parametrize("how", ["disabled", "deleted"])
async def test_a_clients_tokens_die_with_it(world: World, how: str) -> None:
    world.user()
    shop, other = world.client(), world.client("other")
    own, tokens = (await world.act(shop))["access_token"], await world.log_in(client=shop)
    bystander = await world.log_in(client=other)
    assert await world.active(own) and await world.active(tokens["access_token"])
    if how == "disabled":
        world.change_client(shop.id, status="disabled")
    else:
        world.delete_client(shop.id)
    assert not await world.active(own)
    assert await dead(world, tokens["access_token"])
    assert not await world.active(tokens["refresh_token"])
    assert await world.active(bystander["access_token"])


async def test_a_client_made_anew_does_not_inherit_tokens(world: World) -> None:
    with frozen() as clock:
        old = (await world.act(world.client()))["access_token"]
        clock.tick(1)
        world.delete_client("shop")
        new = (await world.act(world.client()))["access_token"]
        assert not await world.active(old)
        assert await world.active(new)


async def test_a_disabled_users_tokens_die_and_stay_dead(world: World) -> None:
    user, bystander = world.user(), world.user("bob")
    first, second = await world.log_in(), await world.log_in()
    other = await world.log_in("bob")
    for tokens in (first, second, other):
        assert await world.active(tokens["access_token"])
    world.set_status(user, "disabled")
    for tokens in (first, second):
        assert await dead(world, tokens["access_token"])
        assert not await world.active(tokens["refresh_token"])
        refused(await world.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert (await world.me(other["access_token"])).json()["id"] == bystander.id
    world.set_status(user, "active")
    assert await dead(world, first["access_token"])
    refused(await world.refresh(second["refresh_token"]), 400, "invalid_grant")
    assert await world.active((await world.log_in())["access_token"])


async def test_a_deleted_users_tokens_die(world: World) -> None:
    user = world.user()
    tokens = await world.log_in()
    assert await world.active(tokens["access_token"])
    with world.change() as session:
        stored = accounts.get(session, user.id)
        lifecycle.end_all(session, "deleted", user_id=user.id)
        accounts.remove(session, stored, None)
    assert await dead(world, tokens["access_token"])
    assert not await world.active(tokens["refresh_token"])
    refused(await world.refresh(tokens["refresh_token"]), 400, "invalid_grant")


async def test_one_session_ends_alone(world: World) -> None:
    world.user()
    first, second = await world.log_in(), await world.log_in()
    with world.change() as session:
        lifecycle.end(session, claims_of(first["access_token"])["sid"], "logout")
    assert await dead(world, first["access_token"])
    assert not await world.active(first["refresh_token"])
    assert await world.active(second["access_token"])
    with world.change() as session:  # ended is ended: no second event
        assert not lifecycle.end(session, claims_of(first["access_token"])["sid"], "logout")


async def test_an_access_token_minted_by_a_refresh_dies_with_the_session_too(
    world: World,
) -> None:
    """Also when the session's last use lies further back than an access token lives."""
    user = world.user()
    with frozen() as clock:
        tokens = await world.log_in()
        clock.tick(timedelta(hours=3))
        fresh = granted(await world.refresh(tokens["refresh_token"]))
        assert await world.active(fresh["access_token"])
        clock.tick(800)
        with world.change() as session:
            assert lifecycle.end_all(session, "logout", user_id=user.id) == 1
        assert await dead(world, fresh["access_token"])


async def test_a_revoked_keys_tokens_die_at_once(world: World, settings: Any) -> None:
    world.user()
    tokens = await world.log_in()
    assert await world.active(tokens["access_token"])
    [key] = (await world.api.get("/.well-known/jwks.json")).json()["keys"]
    with world.change() as session:
        revoke(session, settings, key["kid"], prepare("ES256", world.services.master))
    assert await dead(world, tokens["access_token"])
    published = (await world.api.get("/.well-known/jwks.json")).json()["keys"]
    assert key["kid"] not in [k["kid"] for k in published]
    # The session outlives the key: its refresh token is no signature.
    fresh = granted(await world.refresh(tokens["refresh_token"]))
    assert await world.active(fresh["access_token"])


async def test_a_known_token_costs_introspection_no_query_but_the_feeds(world: World) -> None:
    world.user()
    token = (await world.log_in())["access_token"]
    assert await world.active(token)
    statements: list[str] = []

    def count(_c: object, _cur: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(world.services.db.engine, "before_cursor_execute", count)
    try:
        for _ in range(5):
            assert await world.active(token)
            assert (await world.me(token)).status_code == 200
    finally:
        event.remove(world.services.db.engine, "before_cursor_execute", count)
    assert [s for s in statements if "audit" not in s] == []


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_small_cache_forgets_tokens_never_revocations(
    make_settings: Callable[..., Any],
) -> None:
    app = create_app(make_settings(token_cache=2))
    async with (
        running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as api,
    ):
        world = World(app, api)
        world.user()
        tokens = [(await world.log_in())["access_token"] for _ in range(5)]
        for token in tokens:
            assert await world.active(token)
        assert (await world.revoke(tokens[0])).status_code == 200
        for _ in range(2):
            for token in tokens:
                assert await world.active(token) == (token != tokens[0])


async def test_what_expired_is_pruned_and_what_did_not_stays_dead(world: World) -> None:
    world.user()
    with frozen() as clock:
        clock.at = float(int(clock.at))
        token = (await world.log_in())["access_token"]
        assert (await world.revoke(token)).status_code == 200
        await world.services.db.write(live.prune)
        assert not await world.active(token)
        with world.change() as session:
            assert session.get(RevokedToken, claims_of(token)["jti"]) is not None
        clock.tick(901)
        await world.services.db.write(live.prune)
        with world.change() as session:
            assert session.get(RevokedToken, claims_of(token)["jti"]) is None
        assert not await world.active(token)
        assert utcnow().timestamp() == clock.at


async def test_a_clients_tokens_stay_dead_when_it_is_enabled_again(world: World) -> None:
    shop = world.client(scopes=())
    with frozen() as clock:
        token = (await world.act(shop))["access_token"]
        assert await world.active(token)
        with world.change() as session:
            _set_status(session, "shop", "disabled")
        assert not await world.active(token)
        with world.change() as session:
            _set_status(session, "shop", "active")
        assert not await world.active(token)
        clock.tick(1)
        assert not await world.active(token)
        assert await world.active((await world.act(shop))["access_token"])


async def test_by_a_clock_that_is_ahead_they_stay_dead_too(world: World) -> None:
    """What a machine whose clock is ahead issued before seems to be of after; known or not."""
    shop = world.client(scopes=())
    with frozen() as clock:
        clock.tick(28)
        tokens = [(await world.act(shop))["access_token"] for _ in range(2)]
        clock.tick(-28)
        assert await world.active(tokens[0])
        for status in ("disabled", "active"):
            with world.change() as session:
                _set_status(session, "shop", status)
        clock.tick(1)
        later = (await world.act(shop))["access_token"]
        for token in tokens:
            assert not await world.active(token)
        assert await world.active(later)
        clock.tick(60)
        for token in tokens:
            assert not await world.active(token)
        assert await world.active(later)
        assert await world.active((await world.act(shop))["access_token"])


async def test_what_is_revoked_while_its_place_is_asked_for_stays_revoked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = (await world.act(world.client(scopes=())))["access_token"]
    db, ask = world.services.db, world.services.db.query

    async def revoking(statement: Any, values: Any) -> Any:
        found = await ask(statement, values)
        if statement is ENDED:
            await db.write(
                lambda session: live.revoke(session, world.services.live.gate.check(token))
            )
            await world.services.feed.catch_up()
        return found

    monkeypatch.setattr(db, "query", revoking)
    assert not await world.active(token)  # it ended before the answer
    monkeypatch.undo()
    assert not await world.active(token)


async def test_where_a_token_stands_is_not_remembered_of_another_history(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has been asked of a primary of before may be otherwise by now."""
    token = (await world.act(world.client(scopes=())))["access_token"]
    db, ask, asked = world.services.db, world.services.db.query, []

    async def noted(statement: Any, values: Any) -> Any:
        asked.append(statement)
        return await ask(statement, values)

    monkeypatch.setattr(db, "query", noted)
    known = await world.services.live.find(token)
    assert known is not None and ENDED in asked
    known.known.since = None
    with monkeypatch.context() as unsteady:
        unsteady.setattr(type(world.services.feed), "steady", property(lambda _: False))
        assert await world.services.live.find(token)
    asked.clear()
    assert await world.services.live.find(token) and asked == [ENDED]
    asked.clear()
    assert await world.services.live.find(token) and asked == []


def _set_status(session: Session, client_id: str, status: str) -> None:
    client = clients.get(session, client_id, lock=True)
    clients.update(session, client, {"status": status}, known_grants=GRANTS, held=None)


async def test_a_replica_whose_clock_is_behind_takes_what_has_just_been_issued(
    world: World,
) -> None:
    world.user()
    with frozen() as clock:
        token = (await world.log_in())["access_token"]
        clock.tick(-28)
        assert await world.active(token)
        stranger = (await world.log_in())["access_token"]
        clock.tick(-31)
        assert not await world.active(stranger)
