"""Consents and browser sessions: their user's to see and to end, and administrators'."""

import httpx
import pytest

from tests.browsing import Browser, Flow, code_client
from tests.world import World, bearer, claims_of, refused


@pytest.fixture
def flow(world: World) -> Flow:
    world.user("ada")
    return Flow(world, code_client(world, name="The Shop"))


async def admin(world: World) -> dict[str, str]:
    world.user("root", roles=["admin"])
    return bearer((await world.log_in("root", scope="users:read users:write"))["access_token"])


async def own(world: World) -> dict[str, str]:
    return bearer((await world.log_in("ada"))["access_token"])


def items(answer: httpx.Response) -> list[dict[str, object]]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["items"]
    return found


async def test_what_i_agreed_to_is_shown_and_can_be_taken_back(flow: Flow) -> None:
    world, browser = flow.world, Browser(flow.world.api)
    tokens = await flow.tokens(browser, scope="openid email offline_access")
    waiting, verifier = await flow.signed_in(browser, scope="openid email")
    me = await own(world)
    (consent,) = items(await world.api.get("/users/me/consents", headers=me))
    assert (consent["client_id"], consent["client_name"]) == ("shop", "The Shop")
    assert consent["scopes"] == ["email", "offline_access", "openid"]
    gone = await world.api.delete("/users/me/consents/shop", headers=me)
    assert gone.status_code == 204
    assert not await world.active(tokens["access_token"])
    refused(await world.refresh(tokens["refresh_token"], flow.client), 400, "invalid_grant")
    refused(await flow.redeem(waiting, verifier), 400, "invalid_grant")
    assert items(await world.api.get("/users/me/consents", headers=me)) == []
    assert (await world.api.delete("/users/me/consents/shop", headers=me)).status_code == 404
    page, _ = await flow.start(browser)  # still signed in, and asked anew
    assert "asks for access" in page.text


async def test_where_i_am_signed_in_is_shown_and_can_be_ended(flow: Flow) -> None:
    world, here, there = flow.world, Browser(flow.world.api), Browser(flow.world.api)
    tokens = await flow.tokens(here, scope="openid account")
    await flow.tokens(there)
    me = bearer(tokens["access_token"])
    found = items(await world.api.get("/users/me/browser-sessions", headers=me))
    assert [each["current"] for each in found] == [False, True]
    sid = claims_of(tokens["access_token"])["sid"]
    assert found[1]["clients"] == [{"client_id": "shop", "session_id": sid}]
    assert (found[1]["acr"], found[1]["amr"]) == ("aal1", ["pwd"])
    address = f"/users/me/browser-sessions/{found[0]['id']}"
    assert (await world.api.delete(address, headers=me)).status_code == 204
    assert (await world.api.delete(address, headers=me)).status_code == 404
    page, _ = await flow.start(there, prompt="none")
    assert page.sent_to["error"] == "login_required"
    page, _ = await flow.start(here, prompt="none", scope="openid account")
    assert page.sent_to["code"]


async def test_administrators_see_and_end_both(flow: Flow) -> None:
    world, browser = flow.world, Browser(flow.world.api)
    tokens = await flow.tokens(browser)
    user, root = claims_of(tokens["access_token"])["sub"], await admin(world)
    (consent,) = items(await world.api.get(f"/users/{user}/consents", headers=root))
    assert consent["client_id"] == "shop"
    (session,) = items(await world.api.get(f"/users/{user}/browser-sessions", headers=root))
    address = f"/users/{user}/browser-sessions/{session['id']}"
    assert (await world.api.delete(address, headers=root)).status_code == 204
    assert not await world.active(tokens["access_token"])
    address = f"/users/{user}/consents/shop"
    assert (await world.api.delete(address, headers=root)).status_code == 204
    assert (await world.api.delete(address, headers=root)).status_code == 404
    assert (await world.api.get("/users/nobody/consents", headers=root)).status_code == 404


async def test_nobody_ends_a_neighbours(flow: Flow) -> None:
    world, browser = flow.world, Browser(flow.world.api)
    user = claims_of((await flow.tokens(browser))["access_token"])["sub"]
    world.user("eve")
    eve = bearer((await world.log_in("eve"))["access_token"])
    (session,) = items(
        await world.api.get(f"/users/{user}/browser-sessions", headers=await admin(world))
    )
    address = f"/users/me/browser-sessions/{session['id']}"
    assert (await world.api.delete(address, headers=eve)).status_code == 404
    for path in ("consents", "browser-sessions"):
        assert (await world.api.get(f"/users/{user}/{path}", headers=eve)).status_code == 403
    assert items(await world.api.get("/users/me/consents", headers=eve)) == []
    assert (await flow.start(browser, prompt="none"))[0].sent_to["code"]


async def test_an_application_learns_of_the_account_only_what_its_user_agreed_to(
    flow: Flow,
) -> None:
    world, browser = flow.world, Browser(flow.world.api)
    little = bearer((await flow.tokens(browser, scope="openid"))["access_token"])
    for path in ("/users/me", "/users/me/sessions", "/users/me/consents"):
        assert (await world.api.get(path, headers=little)).status_code == 403, path
    more = bearer((await flow.tokens(browser, scope="openid account"))["access_token"])
    assert (await world.api.get("/users/me", headers=more)).status_code == 200
