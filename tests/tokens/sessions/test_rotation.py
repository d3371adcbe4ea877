"""Refresh tokens over HTTP: rotation, replay, the retry that is allowed, expiry, scope."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from identity.app import create_app
from identity.clock import frozen
from identity.directory.users import accounts
from identity.opaque import digest
from identity.tokens.sessions import rotation
from identity.tokens.sessions.table import LoginSession
from tests.browsing import Browser, Flow, code_client
from tests.serving import running
from tests.world import World, claims_of, granted, refused

DAY = 86_400


def one_alive(world: World, sid: str) -> bool:
    return sum(token.spent_at is None for token in world.refresh_tokens(sid)) == 1


async def test_a_refresh_swaps_the_token_and_keeps_the_session(world: World) -> None:
    world.user()
    with frozen() as clock:
        first = await world.log_in()
        clock.tick(60)
        second = granted(await world.refresh(first["refresh_token"]))
        assert set(second) == set(first)
        before, after = claims_of(first["access_token"]), claims_of(second["access_token"])
        assert after["jti"] != before["jti"]
        assert after["iat"] == before["iat"] + 60
        unchanged = ("iss", "sub", "aud", "client_id", "sid", "auth_time", "amr", "username")
        assert {name: before[name] for name in unchanged} == {n: after[n] for n in unchanged}
        assert not await world.active(first["refresh_token"])
        assert await world.active(second["refresh_token"])
        assert await world.active(first["access_token"])
        third = granted(await world.refresh(second["refresh_token"]))
        assert await world.active(third["access_token"])
        kept = [token.spent for token in world.refresh_tokens(before["sid"])]
        assert sorted(map(str, kept)) == ["None", "rotated", "rotated"]  # and nothing was retried


async def test_a_refresh_is_on_record(world: World) -> None:
    user = world.user()
    first = await world.log_in()
    second = granted(await world.refresh(first["refresh_token"]))
    [event] = await world.events("token.issued")
    assert (event.subject, event.client_id) == (user.id, "first-party")
    assert event.detail["grant"] == "refresh_token"
    assert event.detail["scope"] == second["scope"]
    assert event.detail["sid"] == claims_of(second["access_token"])["sid"]


async def test_a_disabled_user_is_refused_even_where_the_session_has_not_ended(
    world: World,
) -> None:
    user = world.user()
    tokens = await world.log_in()
    with world.change() as session:
        accounts.set_status(session, accounts.get(session, user.id, lock=True), "disabled", None)
    refused(await world.refresh(tokens["refresh_token"]), 400, "invalid_grant")


async def test_a_user_deleted_in_the_middle_of_a_refresh_gets_no_tokens(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = world.user()
    tokens = await world.log_in()
    users = world.services.users
    get = users.get

    async def deleted_before(user_id: str) -> Any:
        with world.change() as session:
            accounts.remove(session, accounts.get(session, user.id, lock=True), None)
        return await get(user_id)

    monkeypatch.setattr(users, "get", deleted_before)
    refused(await world.refresh(tokens["refresh_token"]), 400, "invalid_grant")


async def test_a_session_forgotten_in_the_middle_of_a_refresh_gets_no_tokens(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.user()
    tokens = await world.log_in()
    places = world.services.places
    take = places.take

    async def forgotten_before(*given: Any) -> Any:
        with world.change() as session:
            session.delete(session.get_one(LoginSession, claims_of(tokens["access_token"])["sid"]))
        return await take(*given)

    monkeypatch.setattr(places, "take", forgotten_before)
    refused(await world.refresh(tokens["refresh_token"]), 400, "invalid_grant")


async def test_only_digests_are_stored(world: World) -> None:
    world.user()
    tokens = await world.log_in()
    sid = claims_of(tokens["access_token"])["sid"]
    [stored] = world.refresh_tokens(sid)
    assert stored.digest == digest(tokens["refresh_token"])
    assert tokens["refresh_token"] not in repr(stored)
    assert len(tokens["refresh_token"]) == 46 and tokens["refresh_token"].startswith("rt_")


async def test_a_replay_ends_the_session_and_its_access_tokens(world: World) -> None:
    user = world.user()
    with frozen() as clock:
        first = await world.log_in()
        other = await world.log_in()
        second = granted(await world.refresh(first["refresh_token"]))
        third = granted(await world.refresh(second["refresh_token"]))
        clock.tick(1)
        refused(await world.refresh(first["refresh_token"]), 400, "invalid_grant")
        refused(await world.refresh(third["refresh_token"]), 400, "invalid_grant")
        for tokens in (first, second, third):
            assert not await world.active(tokens["access_token"])
            assert not await world.active(tokens["refresh_token"])
            assert (await world.me(tokens["access_token"])).status_code == 401
        assert await world.active(other["access_token"])
        granted(await world.refresh(other["refresh_token"]))
    [event] = await world.events("refresh_token.replayed")
    assert (event.outcome, event.subject) == ("refused", user.id)


async def test_the_immediate_predecessor_may_be_retried_while_its_successor_is_unused(
    world: World,
) -> None:
    world.user()
    first = await world.log_in()
    lost = granted(await world.refresh(first["refresh_token"]))
    world.age_use(first["refresh_token"], 29)
    retried = granted(await world.refresh(first["refresh_token"]))
    assert retried["refresh_token"] != lost["refresh_token"]
    assert not await world.active(lost["refresh_token"])
    assert await world.active(retried["refresh_token"])
    assert one_alive(world, claims_of(first["access_token"])["sid"])
    granted(await world.refresh(retried["refresh_token"]))


@pytest.mark.parametrize("scope", ["openid", "openid offline_access"])
async def test_what_a_retry_gets_lives_as_long_as_what_was_lost(world: World, scope: str) -> None:
    """Below a browser session that is less than offline."""
    world.user()
    flow = Flow(world, code_client(world, first_party=True))
    with frozen():
        first = (await flow.tokens(Browser(world.api), scope=scope))["refresh_token"]
        lost = granted(await world.refresh(first, flow.client))["refresh_token"]
        lives = (await world.introspect(lost))["exp"]
        retried = granted(await world.refresh(first, flow.client))["refresh_token"]
        assert retried != lost
        assert (await world.introspect(retried))["exp"] == lives


async def test_a_proxys_retries_and_the_clients_own_are_all_answered(world: World) -> None:
    world.user()
    first = await world.log_in()
    for _ in range(15):
        last = granted(await world.refresh(first["refresh_token"]))
    assert one_alive(world, claims_of(first["access_token"])["sid"])
    granted(await world.refresh(last["refresh_token"]))


async def test_the_window_is_fixed_by_the_first_use(world: World) -> None:
    world.user()
    first = await world.log_in()
    granted(await world.refresh(first["refresh_token"]))
    for _ in range(2):
        world.age_use(first["refresh_token"], 14)
        last = granted(await world.refresh(first["refresh_token"]))
    world.age_use(first["refresh_token"], 3)
    refused(await world.refresh(first["refresh_token"]), 400, "invalid_grant")
    assert not await world.active(last["refresh_token"])


async def test_the_window_is_a_setting(make_settings: Callable[..., Any]) -> None:
    app = create_app(make_settings(refresh_retry_window="2m"))
    transport = httpx.ASGITransport(app=app)
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://x") as api:
        world = World(app, api)
        world.user()
        first = await world.log_in()
        granted(await world.refresh(first["refresh_token"]))
        world.age_use(first["refresh_token"], 118)
        granted(await world.refresh(first["refresh_token"]))
        world.age_use(first["refresh_token"], 3)
        refused(await world.refresh(first["refresh_token"]), 400, "invalid_grant")


@pytest.mark.parametrize("ahead", [1, 4])
async def test_a_use_that_seems_to_lie_a_little_ahead_is_of_this_moment(
    world: World, ahead: int
) -> None:
    world.user()
    first = await world.log_in()
    granted(await world.refresh(first["refresh_token"]))
    world.age_use(first["refresh_token"], -ahead)
    second = granted(await world.refresh(first["refresh_token"]))
    granted(await world.refresh(second["refresh_token"]))


async def test_a_clock_that_was_set_back_ends_nobodys_session(world: World) -> None:
    world.user()
    first = await world.log_in()
    second = granted(await world.refresh(first["refresh_token"]))
    world.age_use(first["refresh_token"], -24)
    refused(await world.refresh(first["refresh_token"]), 400, "invalid_grant")
    assert await world.active(second["access_token"])
    granted(await world.refresh(second["refresh_token"]))


@pytest.mark.parametrize("dialect", ["postgresql"])
@pytest.mark.parametrize("off", [-20, 20])
async def test_processes_whose_clocks_differ_agree_on_a_retry_by_the_databases(
    world: World, off: int
) -> None:
    world.user()
    first = await world.log_in()
    granted(await world.refresh(first["refresh_token"]))
    with frozen() as clock:
        clock.tick(off)
        second = granted(await world.refresh(first["refresh_token"]))
    granted(await world.refresh(second["refresh_token"]))


async def test_after_the_successor_was_used_a_retry_is_a_replay(world: World) -> None:
    world.user()
    with frozen():  # the same instant makes no exception
        first = await world.log_in()
        second = granted(await world.refresh(first["refresh_token"]))
        third = granted(await world.refresh(second["refresh_token"]))
        refused(await world.refresh(first["refresh_token"]), 400, "invalid_grant")
        assert not await world.active(third["refresh_token"])
        assert not await world.active(third["access_token"])


async def test_a_token_that_a_retry_killed_is_a_replay_when_used(world: World) -> None:
    world.user()
    with frozen():
        first = await world.log_in()
        lost = granted(await world.refresh(first["refresh_token"]))
        retried = granted(await world.refresh(first["refresh_token"]))
        refused(await world.refresh(lost["refresh_token"]), 400, "invalid_grant")
        assert not await world.active(retried["refresh_token"])


async def test_after_the_window_a_retry_is_a_replay(world: World) -> None:
    world.user()
    first = await world.log_in()
    second = granted(await world.refresh(first["refresh_token"]))
    world.age_use(first["refresh_token"], 31)
    refused(await world.refresh(first["refresh_token"]), 400, "invalid_grant")
    assert not await world.active(second["refresh_token"])
    assert not await world.active(first["access_token"])


async def test_a_refresh_token_left_idle_expires(world: World) -> None:
    world.user()
    with frozen() as clock:
        tokens = await world.log_in()
        clock.tick(14 * DAY - 1)
        tokens = granted(await world.refresh(tokens["refresh_token"]))
        clock.tick(14 * DAY)
        assert not await world.active(tokens["refresh_token"])
        refused(await world.refresh(tokens["refresh_token"]), 400, "invalid_grant")


async def test_a_replay_of_what_would_have_expired_by_now_ends_the_session_all_the_same(
    world: World,
) -> None:
    world.user()
    with frozen() as clock:
        first = await world.log_in()
        clock.tick(10 * DAY)
        second = granted(await world.refresh(first["refresh_token"]))
        world.age_use(first["refresh_token"], 31)
        clock.tick(5 * DAY)
        refused(await world.refresh(first["refresh_token"]), 400, "invalid_grant")
        assert not await world.active(second["refresh_token"])
        refused(await world.refresh(second["refresh_token"]), 400, "invalid_grant")
    assert len(await world.events("refresh_token.replayed")) == 1


async def test_a_session_ends_however_often_it_is_refreshed_and_its_tokens_with_it(
    world: World,
) -> None:
    world.user()
    with frozen() as clock:
        tokens = await world.log_in()
        for _ in range(8):
            clock.tick(10 * DAY)
            tokens = granted(await world.refresh(tokens["refresh_token"]))
        clock.tick(10 * DAY - 300)
        tokens = granted(await world.refresh(tokens["refresh_token"]))
        assert tokens["expires_in"] == 300  # no token outlives its session
        assert await world.active(tokens["access_token"])
        described = await world.introspect(tokens["refresh_token"])
        assert described["exp"] == claims_of(tokens["access_token"])["exp"]
        clock.tick(300)
        assert not await world.active(tokens["access_token"])
        assert not await world.active(tokens["refresh_token"])
        refused(await world.refresh(tokens["refresh_token"]), 400, "invalid_grant")


async def test_scope_may_be_narrowed_and_never_widened(world: World) -> None:
    world.scopes("read", "write", "delete", role="editor")
    world.user(roles=["editor"])
    tokens = await world.log_in(scope="read write")
    narrow = granted(await world.refresh(tokens["refresh_token"], scope="read"))
    assert narrow["scope"] == claims_of(narrow["access_token"])["scope"] == "read"
    # RFC 6749 §6: the refresh token itself keeps what the login granted.
    whole = granted(await world.refresh(narrow["refresh_token"]))
    assert sorted(whole["scope"].split()) == ["read", "write"]
    for wider in ("read delete", "users:write", "no-such-scope", "read  write", " read", "a\tb"):
        refused(await world.refresh(whole["refresh_token"], scope=wider), 400, "invalid_scope")
    # None of these refusals has spent the token.
    with frozen() as clock:
        clock.tick(60)
        again = granted(await world.refresh(whole["refresh_token"], scope="write read"))
    assert again["scope"] == "write read"


async def test_a_refresh_cannot_change_the_resource(world: World) -> None:
    world.user()
    client = world.client(audiences=["https://a.example", "https://b.example"])
    tokens = await world.log_in(client=client, resource="https://a.example")
    answer = await world.refresh(tokens["refresh_token"], client, resource="https://b.example")
    refused(answer, 400, "invalid_target")
    again = granted(
        await world.refresh(tokens["refresh_token"], client, resource="https://a.example")
    )
    assert claims_of(again["access_token"])["aud"] == "https://a.example"


async def test_another_clients_token_is_refused_and_stays_good(world: World) -> None:
    world.user()
    mine, other = world.client("mine"), world.client("other")
    tokens = await world.log_in(client=mine)
    refused(await world.refresh(tokens["refresh_token"], other), 400, "invalid_grant")
    refused(await world.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    granted(await world.refresh(tokens["refresh_token"], mine))


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_what_is_no_refresh_token_is_refused(world: World) -> None:
    world.user()
    access_token = (await world.log_in())["access_token"]
    for nonsense in ("rt_", "rt_" + "A" * 43, access_token, "x" * 20_000, "rt_\ud7ff", "'; --"):
        refused(await world.refresh(nonsense), 400, "invalid_grant")
    refused(await world.token(grant_type="refresh_token"), 400, "invalid_request")


async def test_a_rotation_that_is_rolled_back_loses_nothing(world: World) -> None:
    world.user()
    tokens = await world.log_in()
    services = world.services

    def fails(session: Any) -> None:
        rotation.rotate(session, services.lifetimes, tokens["refresh_token"])
        raise RuntimeError("the power went out")

    with pytest.raises(RuntimeError):
        await services.db.write(fails)
    assert await world.active(tokens["refresh_token"])
    with frozen() as clock:
        clock.tick(60)
        granted(await world.refresh(tokens["refresh_token"]))


async def test_after_a_restart_rotated_and_revoked_tokens_are_still_dead(
    make_settings: Callable[..., Any],
) -> None:
    settings = make_settings()

    async def start() -> tuple[Any, World]:
        app = create_app(settings)
        transport = httpx.ASGITransport(app=app)
        return app, World(app, httpx.AsyncClient(transport=transport, base_url="http://test"))

    app, world = await start()
    async with running(app):
        world.user()
        rotated = await world.log_in()
        kept = granted(await world.refresh(rotated["refresh_token"]))
        revoked, single = await world.log_in(), await world.log_in()
        assert (await world.revoke(revoked["refresh_token"])).status_code == 200
        assert (await world.revoke(single["access_token"])).status_code == 200
        checker = world.client("checker", grants=(), scopes=["introspect"])
    app, world = await start()
    async with running(app):
        world._checker = checker
        assert not await world.active(rotated["refresh_token"])
        assert await world.active(kept["refresh_token"])
        assert not await world.active(revoked["refresh_token"])
        assert not await world.active(revoked["access_token"])
        assert not await world.active(single["access_token"])
        assert await world.active(single["refresh_token"])
        refused(await world.refresh(revoked["refresh_token"]), 400, "invalid_grant")
        granted(await world.refresh(kept["refresh_token"]))
