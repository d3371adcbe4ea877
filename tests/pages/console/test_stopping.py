"""A lockdown, who is blocked, and everybody's sessions, as administrators see and end them."""

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from sqlmodel import col, select

from identity import clock
from identity.authentication.throttle import LoginFailure
from identity.opaque import new_id
from identity.settings import Settings
from identity.tokens import lockdown
from identity.tokens.sessions.table import LoginSession
from tests.browsing import Browser, Page, code_client
from tests.pages.console.sitting import (
    act,
    administrator,
    at,
    locked,
    post,
    seated,
    sheet_of,
    somebody,
)
from tests.second_factors import with_app
from tests.world import PASSWORD, World

EVIL = "<img src=x onerror=alert(1)>\"'&lt;script&gt;"
BEGIN, LIFT = at("/lockdown", do="begin"), at("/lockdown", do="lift")


@pytest.fixture
def settings(make_settings: Any) -> Settings:
    settings: Settings = make_settings(login_max_failures=2)
    return settings


def state(world: World) -> lockdown.State:
    with world.change() as session:
        return lockdown.look(session)


# --- Lockdown -------------------------------------------------------------------------------


async def test_a_lockdown_is_begun_seen_on_every_page_and_lifted(world: World) -> None:
    root = administrator(world)
    world.user("ada")
    await world.log_in()
    browser = await seated(world)
    page = await browser.get(BEGIN)
    assert "root" in page.text and "admin" in page.text, "who can lift it"
    assert "Sessions at applications, which are not refreshed 1" in page.text
    page = await act(browser, BEGIN, "begin", reason="Passwords leaked")
    assert "Every sign-in is stopped" in page.text and "Passwords leaked" in page.text
    now = state(world)
    assert (now.active, now.reason, now.actor) == (True, "Passwords leaked", root.id)
    assert not now.tokens_ended
    refused = await world.token(grant_type="password", username="ada", password=PASSWORD)
    assert refused.status_code == 503
    for path in ("", "/users", "/clients", "/settings"):
        page = await browser.get(at(path))
        assert "nobody can sign in, and nothing is issued" in page.text, path
        assert "Passwords leaked" in page.text
    other = await seated(world)  # whoever may lift it signs in
    page = await act(other, LIFT, "lift")
    assert "Everybody can sign in again" in page.text and not state(world).active
    assert "nothing is issued" not in (await browser.get(at("/users"))).text
    await world.log_in()
    (begun,), (lifted,) = (
        await world.events("lockdown.begun"), await world.events("lockdown.lifted")
    )  # fmt: skip
    assert begun.actor == lifted.actor == root.id


async def test_what_was_issued_ends_with_it_and_so_does_the_session_that_asks(
    world: World,
) -> None:
    administrator(world)
    world.user("ada")
    token = (await world.log_in())["access_token"]
    browser = await seated(world)
    page = await act(browser, BEGIN, "begin", reason="", end_tokens="yes")
    assert page.title.startswith("Sign in"), page.text
    page = await browser.sign_in(page, "root")
    assert page.title.startswith("Lockdown") and "every token and every session" in page.text
    assert state(world).tokens_ended
    await act(browser, LIFT, "lift")
    assert not await world.active(token)


async def test_a_lockdown_takes_a_proof_of_the_last_five_minutes(world: World) -> None:
    administrator(world)
    with clock.frozen() as time:
        browser = await seated(world)
        time.tick(301)
        for address, name in ((BEGIN, "begin"), (LIFT, "lift")):
            assert (await browser.get(address)).title.startswith("Sign in")
            assert (await post(browser, address, {"act": name})).title.startswith("Sign in")
    assert not state(world).active


async def test_of_two_who_act_at_once_the_second_sees_what_the_first_did(world: World) -> None:
    administrator(world)
    administrator(world, "boss")
    first, second = await seated(world), await seated(world, "boss")
    seen = sheet_of(await second.get(BEGIN))
    await act(first, BEGIN, "begin", reason="one")
    page = await post(second, BEGIN, {"act": "begin", "reason": "two", **seen})
    assert page.status == 412 and "Somebody else has changed it" in page.text
    assert "in force already" in page.text
    assert state(world).reason == "one"
    seen = sheet_of(await second.get(LIFT))
    await act(first, BEGIN, "begin", reason="three")
    assert (await post(second, LIFT, {"act": "lift", **seen})).status == 412
    assert state(world).active


async def test_who_may_only_see_a_lockdown_neither_begins_nor_lifts_one(world: World) -> None:
    somebody(world, "audit:read")
    administrator(world)
    keeper = somebody(world, "lockdown:write", username="keeper")
    browser = await seated(world, "ada")
    page = await browser.get(at("/lockdown"))
    assert "scope lockdown:write" in page.text and "do=" not in page.answer.text
    for name in ("begin", "lift"):
        assert (await post(browser, at("/lockdown"), {"act": name})).status == 403
        assert (await browser.get(at("/lockdown", do=name))).status == 403
    own = await seated(world, "keeper")
    sheet = await own.get(BEGIN)
    assert "keeper" not in sheet.text.replace("keeper Sign out", ""), "names are for users:read"
    await act(own, BEGIN, "begin", reason=EVIL)
    page = await own.get(at("/lockdown"))
    assert page.status == 200 and "alert(1)" in page.text and keeper.id
    assert "<img src=x" not in page.answer.text
    assert "alert(1)" not in (await own.get(at(""))).text, "the reason is for audit:read"
    page = await browser.get(at(""))
    assert "alert(1)" in page.text and "<img src=x" not in page.answer.text
    page = await own.post(LIFT, {"act": "lift"}, sec_fetch_site="cross-site")
    assert page.status == 403 and state(world).active


# --- Who is blocked -------------------------------------------------------------------------


async def test_who_is_blocked_is_found_and_released(world: World) -> None:
    administrator(world)
    ada, app = with_app(world)
    await locked(world, "ada")
    await locked(world, "nobody at all")
    form = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    assert (await world.token(**form)).status_code == 429
    browser = await seated(world)
    page = await browser.get(at("/blocks"))
    assert "ada" in page.text and "a name that is nobody's" in page.text
    assert "nobody at all" not in page.text
    page = await browser.get(at("/blocks", user="ada", kind="pair"))
    assert "nobody's" not in page.text
    (press,) = [f for f in page.forms if f.buttons and f.buttons[0][1] == "release"]
    page = await post(browser, at("/blocks", user="ada"), {"act": "release", **press.fields})
    assert "They can try again at once" in page.text and "Nobody is blocked" in page.text
    assert (await world.token(**form, otp=app.code())).status_code == 200
    again = await post(browser, at("/blocks"), {"act": "release", **press.fields})
    assert again.status == 404
    (event,) = await world.events("block.released")
    assert event.subject == ada.id and event.actor_type == "user"
    assert "Nobody is blocked" in (await browser.get(at("/blocks", address="203.0.113.9"))).text
    page = await browser.get(at("/blocks", kind=EVIL, user=EVIL, address=EVIL))
    assert page.status == 200 and "<img src=x" not in page.answer.text


async def test_nobody_lets_go_who_holds_more(world: World) -> None:
    somebody(world, "users:read", "users:write", username="eve")
    administrator(world)
    browser = await seated(world, "eve")
    await locked(world, "root")
    page = await browser.get(at("/blocks", user="root"))
    (press,) = [f for f in page.forms if f.buttons and f.buttons[0][1] == "release"]
    page = await post(browser, at("/blocks"), {"act": "release", **press.fields})
    assert page.status == 403
    assert "root" in (await browser.get(at("/blocks"))).text


async def test_ten_thousand_blocks_come_in_pages(world: World) -> None:
    administrator(world)
    until = clock.utcnow() + timedelta(hours=1)
    with world.change() as session:
        session.execute(
            insert(LoginFailure),
            [
                {
                    "key": f"{n:064x}", "count": 20, "expires_at": until, "kind": "address",
                    "locked": True, "network": f"10.0.{n // 256}.{n % 256}",
                }
                for n in range(10_000)
            ],
        )  # fmt: skip
    browser = await seated(world)
    first = await browser.get(at("/blocks"))
    assert first.text.count("An address, for every account") == 51  # once in the filter
    second = await browser.get(next_page(first))
    assert "10.0.0.50" in second.text and "10.0.0.49" not in second.text
    assert "First page" in second.text
    page = await browser.get(at("/blocks", address="10.0.39.15"))
    assert "10.0.39.15" in page.text and "Next page" not in page.text
    page = await browser.get(at(""))
    assert "failed logins hold up more than one at one address: 1000" in page.text
    assert 'href="/console/blocks"' in page.answer.text


def next_page(page: Page) -> str:
    found = re.search(r'rel="next" href="([^"]+)"', page.answer.text)
    assert found, page.text
    return found[1].replace("&amp;", "&")


# --- Everybody's sessions -------------------------------------------------------------------


async def test_sessions_are_found_by_what_stands_in_the_address(world: World) -> None:
    administrator(world)
    ada = world.user("ada", email="ada@example.com")
    world.user("bob")
    shop = world.client("shop")
    await world.log_in("ada", client=shop)
    await world.log_in("bob", client=shop)
    await world.log_in("bob")
    browser = await seated(world)

    async def who(**query: str) -> list[str]:
        page = await browser.get(at("/sessions", **query))
        assert page.status == 200, page.text
        return re.findall(r'<th scope="row"><a [^>]*><bdi>(\w+)</bdi>', page.answer.text)

    assert await who() == ["bob", "bob", "ada"]
    assert await who(user="ada") == await who(user="ADA@example.com") == ["ada"]
    assert await who(user=ada.id, client="shop") == ["ada"]
    assert await who(client="shop") == ["bob", "ada"]
    assert await who(kind="browser") == ["root"]
    assert await who(address="203.0.113.9") == await who(user="nobody") == []
    hour = clock.utcnow().replace(minute=0).strftime("%Y-%m-%dT%H:%M")
    assert len(await who(since=hour)) == 3 and await who(until=hour) == []
    for wrong in ({"since": "yesterday"}, {"until": "0001-01-01T00:00+14:00"}, {"after": "YWRh!"}):
        assert (await browser.get(at("/sessions", **wrong))).status == 422, wrong
    page = await browser.get(at("/sessions", user=EVIL, client=EVIL, address=EVIL, kind=EVIL))
    assert page.status == 200 and "<img src=x" not in page.answer.text


async def test_an_id_means_whose_id_it_is_whoever_is_called_so(world: World) -> None:
    administrator(world)
    ada = world.user("ada")
    world.user(ada.id)
    token = (await world.log_in())["access_token"]
    await world.log_in(ada.id)
    browser = await seated(world)
    address = at("/sessions", user=ada.id)
    assert "It ends 1 session." in (await post(browser, address, {"act": "all"})).text
    await post(browser, address, {"act": "carry_out", "all": "yes"})
    assert not await world.active(token)


async def test_one_session_ends_at_a_press(world: World) -> None:
    administrator(world)
    world.user("ada")
    token = (await world.log_in())["access_token"]
    other = Browser(world.api)
    await other.sign_in(await other.get("/sign-in"), "ada")
    browser = await seated(world)
    for query in ({"user": "ada"}, {"user": "ada", "kind": "browser"}):
        address = at("/sessions", **query)
        (press,) = presses(await browser.get(address))
        page = await post(browser, address, {"act": "end", **press})
        assert "The session has ended" in page.text and "No session that fits" in page.text
        assert (await post(browser, address, {"act": "end", **press})).status == 404
    assert not await world.active(token)
    assert (await other.get("/account")).title.startswith("Sign in")


def presses(page: Page) -> list[dict[str, str]]:
    return [f.fields for f in page.forms if f.buttons and f.buttons[0][1] == "end"]


async def test_many_are_counted_first_and_end_together(world: World) -> None:
    administrator(world)
    world.user("ada")
    world.user("bob")
    shop = world.client("shop")
    tokens = [await world.log_in(name, client=shop) for name in ("ada", "bob", "ada")]
    kept = await world.log_in("bob")
    browser = await seated(world)
    address = at("/sessions", client="shop")
    ticked = presses(await browser.get(address))[0]
    page = await post(browser, address, {"act": "all", **ticked})
    assert page.forms[-1].fields == {"all": "yes"}
    assert "It ends 3 sessions." in page.text and await world.active(tokens[0]["access_token"])
    page = await post(browser, address, {"act": "carry_out", "all": "yes"})
    assert "3 sessions have ended." in page.text
    for each in tokens:
        assert not await world.active(each["access_token"])
    assert await world.active(kept["access_token"])
    page = await post(browser, address, {"act": "all"})
    assert "It ends 0 sessions." in page.text and "End them" not in page.text
    ids = [form["session"] for form in presses(await browser.get(at("/sessions")))]
    page = await post(browser, at("/sessions"), {"act": "some", "session": [*ids, "no such"]})
    assert "It ends 1 session." in page.text and "bob" in page.text
    page = await post(browser, at("/sessions"), {"act": "carry_out", "session": ids})
    assert "1 session has ended." in page.text
    assert not await world.active(kept["access_token"])


async def test_all_of_them_end_by_a_lockdown_alone(world: World) -> None:
    administrator(world)
    world.user("ada")
    token = (await world.log_in())["access_token"]
    browser = await seated(world)
    for form in (
        {"act": "all"}, {"act": "carry_out", "all": "yes"}, {"act": "some"}, {"act": "carry_out"},
    ):  # fmt: skip
        for address in (at("/sessions"), at("/sessions", kind="browser"), at("/sessions?user=+")):
            page = await post(browser, address, form)
            assert page.status == 422, (form, address)
    assert await world.active(token)


async def test_sessions_of_who_holds_more_stay(world: World) -> None:
    somebody(world, "users:read", "users:write", username="eve")
    administrator(world)
    code_client(world)
    root = await seated(world)
    browser = await seated(world, "eve")
    address = at("/sessions", kind="browser", user="root")
    (press,) = presses(await browser.get(address))
    assert (await post(browser, address, {"act": "end", **press})).status == 403
    sent: dict[str, Any] = {"session": [press["session"]]}
    page = await post(browser, address, {"act": "some", **sent})
    assert "It ends 0 sessions." in page.text
    for form in ({"all": "yes"}, sent):
        page = await post(browser, address, {"act": "carry_out", **form})
        assert "0 sessions have ended." in page.text
    assert (await root.get(at("/users"))).status == 200


async def test_two_who_end_the_same_sessions_do_not_meet(world: World) -> None:
    administrator(world)
    administrator(world, "boss")
    world.user("ada")
    await world.log_in()
    first, second = await seated(world), await seated(world, "boss")
    address = at("/sessions", user="ada")
    assert "It ends 1 session." in (await post(second, address, {"act": "all"})).text
    done = {"act": "carry_out", "all": "yes"}
    assert "1 session has ended." in (await post(first, address, done)).text
    assert "0 sessions have ended." in (await post(second, address, done)).text


async def test_a_form_from_elsewhere_ends_nothing(world: World) -> None:
    administrator(world)
    world.user("ada")
    await locked(world, "victim")
    token = (await world.log_in())["access_token"]
    browser = await seated(world)
    (press,) = presses(await browser.get(at("/sessions")))
    (block,) = (await browser.get(at("/blocks"))).forms[1:2]
    for path, form in (
        (at("/sessions"), {"act": "end", **press}),
        (at("/sessions", user="ada"), {"act": "carry_out", "all": "yes"}),
        (at("/blocks"), {"act": "release", **block.fields}),
        (at("/lockdown"), {"act": "begin"}),
    ):
        page = await browser.post(path, form, sec_fetch_site="cross-site")
        assert page.status == 403 and "not sent from our own page" in page.text, path
    assert await world.active(token) and not state(world).active
    assert await world.events("block.released") == []


async def test_ten_thousand_sessions_come_in_pages_and_are_counted(world: World) -> None:
    administrator(world)
    ada = world.user("ada")
    world.client("shop")
    later = clock.utcnow() + timedelta(days=1)
    with world.change() as session:
        session.execute(
            insert(LoginSession),
            [
                {
                    "id": new_id(), "user_id": ada.id, "client_id": "shop", "scope": "",
                    "audience": "x", "expires_at": later, "access_expires_at": later,
                    "address": f"192.0.2.{n % 250}", "user_agent": EVIL,
                }
                for n in range(10_000)
            ],
        )  # fmt: skip
    browser = await seated(world)
    page = await browser.get(at("/sessions", address="192.0.2.7"))
    assert len(presses(page)) == 25
    page = await browser.get(next_page(page))
    assert len(presses(page)) == 15 and "Next page" not in page.text
    assert "<img src=x" not in page.answer.text
    page = await browser.get(at("/sessions", user="ada"))
    assert len(presses(page)) == 25
    after = await browser.get(next_page(page))
    assert len(presses(after)) == 25 and presses(page)[-1] != presses(after)[0]
    assert "user=ada" in next_page(after)
    address = at("/sessions", client="shop")
    page = await post(browser, address, {"act": "all"})
    assert "It ends 10000 sessions or more." in page.text
    page = await browser.get(BEGIN)
    assert "10000+" in page.text
    address = at("/sessions", client="shop", address="192.0.2.7")
    page = await post(browser, address, {"act": "carry_out", "all": "yes"})
    assert "40 sessions have ended." in page.text
    with world.change() as session:
        living = select(LoginSession.id).where(col(LoginSession.ended_at).is_(None))
        assert len(session.exec(living).all()) == 9_960
