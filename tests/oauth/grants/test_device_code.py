"""Devices without a browser (RFC 8628): what they ask for, who allows it, and what comes of it."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func
from sqlmodel import select

from identity.app import create_app
from identity.clock import frozen
from identity.directory.clients.table import Client
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.service.housekeeping import Housekeeping
from identity.tokens.devices import asking
from identity.tokens.devices.table import DeviceAuthorization
from identity.tokens.sessions import lifecycle
from identity.tokens.sessions.table import LoginSession
from tests import acting
from tests.browsing import Browser, Page
from tests.serving import running
from tests.world import PASSWORD, Caller, World, bearer, claims_of, granted, refused

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
STOCK = "https://stock.example/"
Document = dict[str, Any]


@pytest.fixture
def ada(world: World) -> User:
    return world.user("ada", email="ada@example.com", name="Ada")


@pytest.fixture
def browser(world: World) -> Browser:
    return Browser(world.api)


@pytest.fixture
def television(world: World, ada: User) -> Caller:
    return device_client(world)


def device_client(world: World, client_id: str = "tv", **changed: Any) -> Caller:
    changed = {"public": True, "grants": (DEVICE_CODE, "refresh_token"), **changed}
    settings = changed.pop("settings", None)
    client = world.client(client_id, **changed)
    world.change_client(client_id, name="The Television", settings=settings)
    return client


async def asked(world: World, client: Caller, **form: Any) -> Document:
    answer = await world.api.post("/device_authorization", data=client.post | form)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    document: Document = answer.json()
    return document


async def poll(world: World, client: Caller, codes: Document, **form: str) -> httpx.Response:
    """As a device that waits as long as it was told to: the clock of what it asked moves."""
    with world.change() as session:
        for row in session.exec(select(DeviceAuthorization)):
            row.due_at -= timedelta(minutes=2)
            session.add(row)
    return await at_once(world, client, codes, **form)


async def at_once(world: World, client: Caller, codes: Document, **form: str) -> httpx.Response:
    form |= {"grant_type": DEVICE_CODE, "device_code": codes["device_code"]}
    return await world.token(client, **form)


def older(world: World, seconds: float) -> None:
    """By any clock."""
    with world.change() as session:
        for row in session.exec(select(DeviceAuthorization)):
            row.expires_at -= timedelta(seconds=seconds)
            session.add(row)


async def opened(browser: Browser, codes: Document) -> Page:
    """The page that asks, for somebody who signs in where they have to."""
    page = await browser.get(codes["verification_uri_complete"])
    if "/sign-in" in str(page.answer.url):
        page = await browser.sign_in(page)
    return page


async def allow(browser: Browser, codes: Document) -> None:
    page = await browser.submit(await opened(browser, codes), "agree")
    assert "is connected" in page.text, page.text


async def test_a_television_is_allowed_by_somebody_at_their_telephone(
    world: World, television: Caller, ada: User, browser: Browser
) -> None:
    codes = await asked(world, television, scope="openid profile offline_access")
    assert codes["expires_in"] == 600 and codes["interval"] == 5
    assert re.fullmatch("[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", codes["user_code"])
    issuer = world.services.settings.issuer
    assert codes["verification_uri"] == f"{issuer}/device"
    assert len(codes["device_code"]) == len("dc_") + 43
    refused(await poll(world, television, codes), 400, "authorization_pending")
    page = await browser.get("/device")
    assert "/sign-in" in str(page.answer.url)
    page = await browser.sign_in(page)
    typed = codes["user_code"].lower().replace("-", " ")
    page = await browser.get(f"{page.form.action}?user_code={typed}")
    assert "The Television" in page.text and codes["user_code"] in page.text
    assert "See your name" in page.text and "Keep access while you are away" in page.text
    refused(await poll(world, television, codes), 400, "authorization_pending")
    page = await browser.submit(page, "agree")
    assert "is connected" in page.text
    with world.change() as session:  # as though she had signed in a while before
        allowed = session.exec(select(DeviceAuthorization)).one()
        assert allowed.authenticated_at is not None
        allowed.authenticated_at -= timedelta(seconds=100)
        session.add(allowed)
    tokens = granted(await poll(world, television, codes))
    assert tokens["scope"] == "openid profile offline_access"
    said = claims_of(tokens["access_token"])
    assert said["sub"] == ada.id and said["client_id"] == "tv" and said["amr"] == ["pwd"]
    assert said["iat"] - said["auth_time"] >= 100
    told = claims_of(tokens["id_token"])
    assert (told["aud"], told["sid"], told["acr"]) == ("tv", said["sid"], "aal1")
    assert told["auth_time"] == said["auth_time"]
    about = await world.api.get("/userinfo", headers=bearer(tokens["access_token"]))
    assert about.json()["name"] == "Ada"
    again = granted(await world.refresh(tokens["refresh_token"], television))
    assert claims_of(again["access_token"])["auth_time"] == said["auth_time"]
    (event,) = await world.events("device.allowed")
    assert (event.actor, event.client_id) == (ada.id, "tv")
    event = (await world.events("token.issued"))[0]
    assert (event.subject, event.client_id, event.outcome) == (ada.id, "tv", "success")
    assert event.detail == {"grant": DEVICE_CODE, "scope": tokens["scope"], "sid": said["sid"]}
    assert await world.events("token.refused") == []


async def test_it_is_a_session_of_its_own_that_signing_out_elsewhere_leaves(
    world: World, television: Caller, ada: User, browser: Browser
) -> None:
    codes = await asked(world, television, scope="openid")
    await allow(browser, codes)
    await browser.submit(await browser.get("/sign-out"))
    tokens = granted(await poll(world, television, codes))
    assert await world.active(tokens["access_token"])
    with world.change() as session:
        lifecycle.end_all(session, "by an administrator", user_id=ada.id)
    assert not await world.active(tokens["access_token"])


async def test_a_device_that_asks_too_soon_is_told_to_slow_down_and_waits_longer(
    world: World, television: Caller, browser: Browser
) -> None:
    with frozen() as clock:
        codes = await asked(world, television, scope="openid")
        refused(await at_once(world, television, codes), 400, "authorization_pending")
    if world.services.db.dialect == "postgresql":
        return  # its own clock counts, which stands still for nobody
    with frozen() as clock:
        codes = await asked(world, television, scope="openid")
        refused(await at_once(world, television, codes), 400, "authorization_pending")
        clock.tick(3)
        refused(await at_once(world, television, codes), 400, "slow_down")
        clock.tick(8)
        refused(await at_once(world, television, codes), 400, "slow_down")
        clock.tick(14)
        refused(await at_once(world, television, codes), 400, "authorization_pending")
        clock.tick(15)
        refused(await at_once(world, television, codes), 400, "authorization_pending")
        await allow(browser, codes)
        refused(await at_once(world, television, codes), 400, "slow_down")
        clock.tick(20)
        granted(await at_once(world, television, codes))


async def test_the_pause_grows_with_each_haste_up_to_a_minute(
    world: World, television: Caller
) -> None:
    codes = await asked(world, television)
    refused(await at_once(world, television, codes), 400, "authorization_pending")
    for _ in range(13):
        refused(await at_once(world, television, codes), 400, "slow_down")
    with world.change() as session:
        assert session.exec(select(DeviceAuthorization.pause)).one() == 60
    assert await world.events("token.refused") == []


async def test_of_sixteen_questions_at_once_one_gets_the_tokens(
    world: World, television: Caller, browser: Browser
) -> None:
    codes = await asked(world, television, scope="openid")
    await allow(browser, codes)
    answers = await asyncio.gather(*(at_once(world, television, codes) for _ in range(16)))
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    for answer in answers:
        if answer not in won:
            assert answer.json()["error"] in {"slow_down", "invalid_grant"}
    assert await world.active(won[0].json()["access_token"])


async def test_who_asks_too_soon_for_what_is_over_is_not_told_to_wait(
    world: World, television: Caller, browser: Browser
) -> None:
    """RFC 8628 §3.5: `slow_down` says that the request is still pending."""
    codes = await asked(world, television, scope="openid")
    await allow(browser, codes)
    tokens = granted(await at_once(world, television, codes))
    refused(await at_once(world, television, codes), 400, "invalid_grant")
    assert await world.active(tokens["access_token"])
    codes = await asked(world, television)
    await browser.submit(await opened(browser, codes), "decline")
    for _ in range(2):
        refused(await at_once(world, television, codes), 400, "access_denied")
    codes = await asked(world, television)
    refused(await at_once(world, television, codes), 400, "authorization_pending")
    older(world, 600)
    for _ in range(2):
        refused(await at_once(world, television, codes), 400, "expired_token")


async def test_a_replay_ends_what_the_first_use_began(
    world: World, television: Caller, browser: Browser
) -> None:
    codes = await asked(world, television, scope="openid")
    await allow(browser, codes)
    tokens = granted(await poll(world, television, codes))
    refused(await poll(world, television, codes), 400, "invalid_grant")
    assert not await world.active(tokens["access_token"])
    refused(await world.refresh(tokens["refresh_token"], television), 400, "invalid_grant")
    (event,) = await world.events("device_code.replayed")
    assert event.outcome == "refused" and event.detail["sid"]
    (replay, _) = await world.events("token.refused")
    assert replay.detail["why"] == f"replay, session {event.detail['sid']}"


async def test_a_code_is_its_clients_alone(
    world: World, television: Caller, browser: Browser
) -> None:
    other = device_client(world, "other")
    codes = await asked(world, television, scope="openid")
    await allow(browser, codes)
    refused(await poll(world, other, codes), 400, "invalid_grant")
    code = codes["device_code"]
    for broken in (code[:-1], code + "A", code.upper(), f"ac{code[2:]}", codes["user_code"], "ü"):
        answer = await poll(world, television, {"device_code": broken})
        refused(answer, 400, "invalid_grant")
    no_grant = world.client("shop", grants=["password"])
    refused(await poll(world, no_grant, codes), 400, "unauthorized_client")
    answer = await world.api.post("/device_authorization", data=no_grant.post)
    refused(answer, 400, "unauthorized_client")
    answer = await world.api.post("/device_authorization", data={"client_id": "nobody"})
    refused(answer, 401, "invalid_client")
    answer = await world.api.post("/device_authorization", data={"scope": "openid"})
    assert refused(answer, 401, "invalid_client") == "the request names no client"
    granted(await poll(world, television, codes))


async def test_a_device_is_told_that_somebody_declined_or_nobody_came(
    world: World, television: Caller, browser: Browser
) -> None:
    codes = await asked(world, television)
    page = await browser.submit(await opened(browser, codes), "decline")
    assert "was not connected" in page.text
    refused(await poll(world, television, codes), 400, "access_denied")
    page = await browser.get(codes["verification_uri_complete"])
    assert (page.status, "No device waits" in page.text) == (422, True)
    (event,) = await world.events("device.declined")
    assert event.client_id == "tv"
    codes = await asked(world, television)
    waiting = await opened(browser, codes)
    older(world, 600)
    refused(await poll(world, television, codes), 400, "expired_token")
    page = await browser.submit(waiting, "agree")
    assert page.status == 422
    refused(await poll(world, television, codes), 400, "expired_token")
    older(world, 601)
    await Housekeeping(world.services).prune()
    refused(await poll(world, television, codes), 400, "invalid_grant")
    with world.change() as session:
        assert session.exec(select(func.count()).select_from(DeviceAuthorization)).one() == 0


async def test_only_the_first_answer_counts(
    world: World, television: Caller, browser: Browser
) -> None:
    world.user("bob")
    codes = await asked(world, television, scope="openid")
    page = await opened(browser, codes)
    bob = Browser(world.api)
    page_of_bob = await bob.sign_in(await bob.get(codes["verification_uri_complete"]), "bob")
    answers = await asyncio.gather(browser.submit(page, "agree"), bob.submit(page_of_bob, "agree"))
    assert sorted(each.status for each in answers) == [200, 422]
    tokens = granted(await poll(world, television, codes))
    who = "ada" if answers[0].status == 200 else "bob"
    assert claims_of(tokens["access_token"])["username"] == who


async def test_an_answer_counts_for_whom_the_page_named(
    world: World, television: Caller, browser: Browser
) -> None:
    """Another has signed in meanwhile, in another tab of the same browser."""
    world.user("bob")
    codes = await asked(world, television, scope="openid")
    page = await opened(browser, codes)
    assert "ada" in page.text
    await browser.post("/sign-in", {"username": "bob", "password": PASSWORD})
    for button in ("agree", "decline"):
        again = await browser.submit(page, button)
        assert again.status == 422 and "Something has changed" in again.text
        refused(await poll(world, television, codes), 400, "authorization_pending")
    assert "bob" in again.text
    await browser.submit(again, "agree")
    tokens = granted(await poll(world, television, codes))
    assert claims_of(tokens["access_token"])["username"] == "bob"


async def test_nothing_happens_without_a_session_a_form_of_ours_and_a_button(
    world: World, television: Caller, browser: Browser
) -> None:
    codes = await asked(world, television)
    form = {"user_code": codes["user_code"], "answer": "agree"}
    stranger = Browser(world.api)
    assert "/sign-in" in str((await stranger.post("/device", form)).answer.url)
    page = await opened(browser, codes)
    assert {value for _, value, _ in page.form.buttons} == {"agree", "decline"}
    assert "in your name" in page.text or "would like to" in page.text
    page = await browser.post("/device", form, sec_fetch_site="cross-site")
    assert page.status == 403
    page = await browser.post("/device", {"user_code": codes["user_code"]})
    assert page.status == 422 and "The Television" in page.text
    page = await browser.post("/device", {"answer": "agree"})
    assert page.status == 422
    refused(await poll(world, television, codes), 400, "authorization_pending")
    answer = await world.api.get("/device?user_code=%3Cscript%3E", follow_redirects=False)
    assert answer.status_code == 303
    page = await browser.get("/device?user_code=%3Cscript%3Ealert(1)%3C/script%3E")
    assert page.status == 422 and "<script>" not in page.answer.text
    policy = page.answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy and "form-action 'self'" in policy


async def test_the_page_asks_each_time_even_where_all_was_agreed_to_before(
    world: World, television: Caller, ada: User, browser: Browser
) -> None:
    """Keycloak 26100: without scopes, or with ones agreed to, nothing was asked."""
    for scope in ("openid profile", "openid profile", "openid", None):
        codes = await asked(world, television, **({"scope": scope} if scope else {}))
        page = await opened(browser, codes)
        assert "The Television" in page.text
        refused(await poll(world, television, codes), 400, "authorization_pending")
        await browser.submit(page, "agree")
        assert granted(await poll(world, television, codes))["scope"] == (scope or "account")
    token = (await world.log_in(scope="account"))["access_token"]
    consents = await world.api.get("/users/me/consents", headers=bearer(token))
    (consent,) = consents.json()["items"]
    assert consent["client_id"] == "tv" and {"openid", "profile"} <= set(consent["scopes"])
    codes = await asked(world, television, scope="openid")
    await allow(browser, codes)
    gone = await world.api.delete("/users/me/consents/tv", headers=bearer(token))
    assert gone.status_code == 204
    refused(await poll(world, television, codes), 400, "invalid_grant")


@pytest.mark.parametrize("gone", ["user", "client", "grant", "sessions", "deleted", "password"])
async def test_what_was_allowed_is_worth_nothing_once_it_would_not_be(
    world: World, television: Caller, ada: User, browser: Browser, gone: str
) -> None:
    codes = await asked(world, television, scope="openid")
    await allow(browser, codes)
    expected = (400, "invalid_grant")
    if gone == "user":
        world.set_status(ada, "disabled")
    elif gone == "client":
        world.change_client("tv", status="disabled")
        expected = (401, "invalid_client")
    elif gone == "grant":
        world.change_client("tv", grants=["refresh_token"])
        expected = (400, "unauthorized_client")
    elif gone == "sessions":
        with world.change() as session:
            lifecycle.end_all(session, "by an administrator", user_id=ada.id)
    elif gone == "deleted":
        with world.change() as session:
            session.delete(session.get_one(User, ada.id))
    else:
        form = {
            "username": "ada", "current_password": PASSWORD,
            "new_password": "another harbour 93",
        }  # fmt: skip
        assert (await world.api.post("/password", json=form)).status_code == 204
    refused(await poll(world, television, codes), *expected)
    if gone == "client":  # and stays so
        with world.change() as session:
            lifecycle.end_all(session, "client disabled", client_id="tv")
        world.change_client("tv", status="active")
        refused(await poll(world, television, codes), 400, "invalid_grant")


async def test_what_was_allowed_stays_so_whatever_happens_to_others(
    world: World, television: Caller, ada: User, browser: Browser
) -> None:
    codes = await asked(world, television, scope="openid")
    await allow(browser, codes)
    bob, elsewhere = world.user("bob"), Browser(world.api)
    await elsewhere.sign_in(await elsewhere.get("/sign-in"), "bob")
    await elsewhere.submit(await elsewhere.get("/sign-out"))
    with world.change() as session:
        lifecycle.end_all(session, "by an administrator", ids=["no such"])
        lifecycle.end_all(session, "consent withdrawn", user_id=ada.id, client_id="radio")
        lifecycle.end_all(session, "client disabled", client_id="radio")
        lifecycle.end_all(session, "audience taken", client_id="tv", audiences=[STOCK])
    world.set_status(bob, "disabled")
    granted(await poll(world, television, codes))


async def test_a_disabled_users_device_gets_nothing_even_where_it_is_not_taken_back(
    world: World, ada: User, browser: Browser
) -> None:
    tool = device_client(world, "tool", public=False)
    codes = await asked(world, tool, scope="openid")
    await allow(browser, codes)
    with world.change() as session:
        accounts.set_status(session, accounts.get(session, ada.id, lock=True), "disabled", None)
    refused(await poll(world, tool, codes), 400, "invalid_grant")
    (event,) = await world.events("token.refused")
    assert event.detail["why"] == "user disabled"


async def test_a_device_of_a_user_deleted_just_before_gets_nothing(
    world: World,
    television: Caller,
    ada: User,
    browser: Browser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes = await asked(world, television, scope="openid")
    await allow(browser, codes)
    users = world.services.users
    get = users.get

    async def deleted_before(user_id: str) -> Any:
        with world.change() as session:
            accounts.remove(session, accounts.get(session, ada.id, lock=True), None)
        await world.services.feed.catch_up()
        return await get(user_id)

    monkeypatch.setattr(users, "get", deleted_before)
    refused(await poll(world, television, codes), 400, "invalid_grant")


async def test_what_is_taken_back_in_the_middle_of_it_gets_a_device_no_tokens(
    world: World,
    television: Caller,
    ada: User,
    browser: Browser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes = await asked(world, television, scope="openid")
    await allow(browser, codes)
    users = world.services.users
    get = users.get

    async def taken_back_after(user_id: str) -> Any:
        user = await get(user_id)
        with world.change() as session:
            lifecycle.end_all(session, "by an administrator", user_id=ada.id)
        return user

    monkeypatch.setattr(users, "get", taken_back_after)
    refused(await poll(world, television, codes), 400, "invalid_grant")
    (event,) = await world.events("token.refused")
    assert event.detail["why"] == "used, taken back or expired meanwhile"


@pytest.mark.parametrize("gone", ["user", "client"])
async def test_of_one_disabled_in_the_middle_of_it_a_device_gets_no_tokens(
    world: World,
    television: Caller,
    ada: User,
    browser: Browser,
    monkeypatch: pytest.MonkeyPatch,
    gone: str,
) -> None:
    codes = await asked(world, television, scope="openid offline_access")
    await allow(browser, codes)
    users = world.services.users
    get = users.get

    async def disabled_after(user_id: str) -> Any:
        user = await get(user_id)
        with world.change() as session:
            of: Any = session.get_one(*((User, ada.id) if gone == "user" else (Client, "tv")))
            of.status = "disabled"
            session.add(of)
        return user

    monkeypatch.setattr(users, "get", disabled_after)
    refused(await poll(world, television, codes), 400, "invalid_grant")
    with world.change() as session:
        assert session.exec(select(LoginSession).where(LoginSession.client_id == "tv")).all() == []


async def test_in_a_lockdown_a_device_gets_nothing_and_its_code_is_not_spent(
    world: World, television: Caller, browser: Browser
) -> None:
    boss = await acting.admin(world)
    codes = await asked(world, television, scope="openid")
    await allow(browser, codes)
    await boss.done("PUT", "/lockdown", {})
    refused(await poll(world, television, codes), 503, "temporarily_unavailable")
    await boss.done("DELETE", "/lockdown")
    granted(await poll(world, television, codes))


async def test_scopes_are_those_that_user_and_client_still_have(
    world: World, browser: Browser
) -> None:
    ada = world.user("ada")
    world.scopes("read", "write", role="writers")
    television = device_client(world)
    with world.change() as session:
        accounts.set_roles(session, accounts.get(session, ada.id), ["writers"], None)
    codes = await asked(world, television, scope="openid read write")
    page = await opened(browser, codes)
    with world.change() as session:
        accounts.set_roles(session, accounts.get(session, ada.id), [], None)
    await browser.submit(page, "agree")
    assert granted(await poll(world, television, codes))["scope"] == "openid"
    with world.change() as session:
        accounts.set_roles(session, accounts.get(session, ada.id), ["writers"], None)
    codes = await asked(world, television, scope="openid read write")
    await allow(browser, codes)
    world.change_client("tv", scopes=["openid", "read"])
    assert granted(await poll(world, television, codes))["scope"] == "openid read"
    answer = await world.api.post("/device_authorization", data={"client_id": "tv", "scope": "no"})
    refused(answer, 400, "invalid_scope")
    form = {"client_id": "tv", "scope": "openid " + "x" * 2000}
    refused(await world.api.post("/device_authorization", data=form), 400, "invalid_scope")


async def test_where_nothing_is_granted_the_token_says_so(
    world: World, ada: User, browser: Browser
) -> None:
    bare = device_client(world, "bare", scopes=())
    codes = await asked(world, bare)
    await allow(browser, codes)
    tokens = granted(await poll(world, bare, codes))
    assert tokens["scope"] == "" and claims_of(tokens["access_token"]).get("scope", "") == ""


async def test_a_token_is_for_one_of_the_resources_that_the_device_named(
    world: World, browser: Browser
) -> None:
    world.user("ada")
    orders, bills = "https://orders.example/", "https://bills.example/"
    television = device_client(world, audiences=[orders, bills])
    codes = await asked(world, television, scope="openid", resource=[orders, bills])
    await allow(browser, codes)
    refused(await poll(world, television, codes), 400, "invalid_target")
    refused(await poll(world, television, codes, resource=STOCK), 400, "invalid_target")
    tokens = granted(await poll(world, television, codes, resource=bills))
    assert bills in claims_of(tokens["access_token"])["aud"]
    form = {"client_id": "tv", "resource": STOCK}
    refused(await world.api.post("/device_authorization", data=form), 400, "invalid_target")


async def test_a_device_that_has_a_resource_by_its_scopes_may_name_it_until_it_loses_them(
    world: World, browser: Browser
) -> None:
    world.scopes("stock:read", audience=STOCK, role="clerk")
    world.user("ada", roles=["clerk"])
    television = device_client(world, scopes=["openid", "stock:read"])
    for lost in (False, True):
        codes = await asked(world, television, scope="openid stock:read", resource=STOCK)
        await allow(browser, codes)
        if lost:
            world.change_client("tv", scopes=["openid"])
        answer = await poll(world, television, codes, resource=STOCK)
        if lost:
            refused(answer, 400, "invalid_target")
        else:
            assert STOCK in claims_of(granted(answer)["access_token"])["aud"]


async def test_without_the_refresh_grant_there_is_no_refresh_token(
    world: World, ada: User, browser: Browser
) -> None:
    tool = device_client(world, "tool", public=False, grants=[DEVICE_CODE])
    codes = await asked(world, tool, scope="openid offline_access")
    await allow(browser, codes)
    tokens = granted(await poll(world, tool, codes))
    assert "refresh_token" not in tokens and tokens["scope"] == "openid"
    form = {"client_id": "tool", "client_secret": "wrong"}
    refused(await world.api.post("/device_authorization", data=form), 401, "invalid_client")


async def test_it_sees_of_the_account_only_what_it_was_allowed(
    world: World, television: Caller, browser: Browser
) -> None:
    codes = await asked(world, television, scope="openid")
    await allow(browser, codes)
    token = granted(await poll(world, television, codes))["access_token"]
    assert "email" not in (await world.me(token)).json()


async def test_who_wants_people_to_have_signed_in_lately_has_them_sign_in_again(
    world: World, ada: User, browser: Browser
) -> None:
    settings = {"default_max_age": 300, "first_party": True}
    television = device_client(world, settings=settings)
    with frozen() as clock:
        await browser.sign_in(await browser.get("/sign-in"))
        clock.tick(301)
        codes = await asked(world, television, scope="openid")
        page = await browser.get(codes["verification_uri_complete"])
        assert "/sign-in" in str(page.answer.url) and page.form.fields["username"] == "ada"
        answer = await browser.post("/device", {"user_code": codes["user_code"], "answer": "agree"})
        assert "/sign-in" in str(answer.answer.url)
        page = await browser.sign_in(page)
        assert "The Television" in page.text
        await browser.submit(page, "agree")
        tokens = granted(await poll(world, television, codes))
        assert claims_of(tokens["access_token"])["auth_time"] == int(clock.at)
    world.change_client("tv", settings={"default_acr_values": ["phr"]})
    codes = await asked(world, television, scope="openid")
    page = await browser.get(codes["verification_uri_complete"])
    assert page.status == 400 and not any(each.buttons for each in page.forms)


# --- Bounds --------------------------------------------------------------------------------


async def test_what_nobody_has_proved_is_bounded_for_an_address_and_in_all(
    world: World, television: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PER_ADDRESS", 3)
    for _ in range(3):
        await asked(world, television)
    answer = await world.api.post("/device_authorization", data=television.post)
    refused(answer, 429, "temporarily_unavailable")
    assert answer.headers["retry-after"] == "60"
    transport = httpx.ASGITransport(app=world.app, client=("10.9.9.9", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as elsewhere:
        answer = await elsewhere.post("/device_authorization", data=television.post)
        assert answer.status_code == 200
    proved = device_client(world, "proved", public=False)
    for _ in range(4):
        await asked(world, proved)
    monkeypatch.setattr(asking, "IN_ALL", 8)
    answer = await world.api.post("/device_authorization", data=proved.post)
    refused(answer, 429, "temporarily_unavailable")
    older(world, 600)
    await asked(world, television)
    monkeypatch.setattr(asking, "PER_CLIENT", 2)
    await asked(world, proved)
    await asked(world, proved)
    answer = await world.api.post("/device_authorization", data=proved.post)
    refused(answer, 429, "temporarily_unavailable")


@pytest.fixture
async def strict(make_settings: Callable[..., Any]) -> AsyncIterator[World]:
    app = create_app(make_settings(login_max_failures=3, login_lockout="5m"))
    async with running(app):
        transport = httpx.ASGITransport(app=app, client=("10.3.3.3", 4711))
        issuer = app.services.settings.issuer
        async with httpx.AsyncClient(transport=transport, base_url=issuer) as api:
            yield World(app, api)


async def test_guesses_are_limited_and_count_only_once_signed_in(strict: World) -> None:
    world = strict
    world.user("ada")
    television = device_client(world)
    codes = await asked(world, television, scope="openid")
    stranger, browser = Browser(world.api), Browser(world.api)
    for _ in range(9):
        page = await stranger.get("/device?user_code=BBBB-BBBB")
        assert "/sign-in" in str(page.answer.url)
    await browser.sign_in(await browser.get("/sign-in"))
    for guess in ("BBBB-BBBB", "nonsense", "BBBBBBBC"):
        page = await browser.get(f"/device?user_code={guess}")
        assert page.status == 422 and "No device waits" in page.text
    for address in (codes["verification_uri_complete"], "/device?user_code=CCCC-CCCC"):
        page = await browser.get(address)
        assert page.status == 429 and int(page.answer.headers["retry-after"]) > 200
    page = await browser.post("/device", {"user_code": codes["user_code"], "answer": "agree"})
    assert page.status == 429
    refused(await poll(world, television, codes), 400, "authorization_pending")
    events = await world.events("device.guessed")
    assert len(events) == 3 and {event.outcome for event in events} == {"refused"}
    # Another person elsewhere is not held up.
    world.user("bob")
    transport = httpx.ASGITransport(app=world.app, client=("10.4.4.4", 4711))
    base = str(world.api.base_url)
    async with httpx.AsyncClient(transport=transport, base_url=base) as api:
        bob = Browser(api)
        page = await bob.sign_in(await bob.get(codes["verification_uri_complete"]), "bob")
        assert "The Television" in page.text


async def test_while_the_account_is_locked_its_device_has_to_wait(strict: World) -> None:
    """CVE-2026-88770: redemption missed the lockout."""
    world = strict
    world.user("ada")
    television = device_client(world)
    transport = httpx.ASGITransport(app=world.app, client=("10.5.5.5", 4711))
    base = str(world.api.base_url)
    async with httpx.AsyncClient(transport=transport, base_url=base) as api:
        elsewhere = Browser(api)
        codes = await asked(world, television, scope="openid")
        await allow(elsewhere, codes)
    for _ in range(3):
        answer = await world.token(grant_type="password", username="ada", password="guess")
        refused(answer, 400, "invalid_grant")
    refused(await poll(world, television, codes), 400, "slow_down")
    with frozen() as clock:
        clock.tick(301)
        older(world, -301)
        granted(await poll(world, television, codes))
