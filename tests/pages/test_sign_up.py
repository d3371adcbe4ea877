"""Making an account for oneself: off unless it is allowed, and telling nobody who has one."""

from collections.abc import Callable
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from identity import clock
from identity.directory.users import accounts
from identity.settings import SettingsError
from identity.tokens import lockdown
from tests.browsing import Browser, Flow, Page, code_client
from tests.mailbox import last, sent
from tests.second_factors import at_once
from tests.world import World, bearer, granted

NEW = "marmalade lighthouse 33"
ADDRESS = "ada@example.com"


@pytest.fixture
def allowed() -> bool:
    return True


@pytest.fixture
def settings(make_settings: Callable[..., Any], tmp_path: Path, allowed: bool) -> Any:
    return make_settings(mail_folder=tmp_path / "mail", sign_up=allowed)


async def ask(world: World, email: str = ADDRESS) -> Page:
    browser = Browser(world.api)
    return await browser.submit(await browser.get("/sign-up"), email=email)


async def link(world: World, email: str = ADDRESS) -> str:
    await ask(world, email)
    return (await last(world, to=email)).path


async def make(world: World, path: str, **fields: str) -> Page:
    browser = Browser(world.api)
    page = await browser.get(path)
    return await browser.submit(page, **{"username": "ada", "password": NEW, **fields})


def count(world: World) -> int:
    from sqlmodel import func, select

    from identity.directory.users.table import User

    with world.change() as session:
        return session.exec(select(func.count()).select_from(User)).one()


async def test_somebody_makes_an_account_and_signs_in(world: World) -> None:
    browser, before = Browser(world.api), count(world)
    page = await browser.get("/sign-in")
    assert 'href="/sign-up"' in page.answer.text
    path = await link(world)
    assert count(world) == before, "nothing is there of who has only asked"
    for _ in range(3):  # as programs do that look at links before people
        page = await browser.get(path)
    assert count(world) == before and ADDRESS in page.text
    page = await browser.submit(page, username="ada", password=NEW)
    assert page.status == 200 and page.title.startswith("Your account is there")
    assert "identity" not in browser.cookies
    page = await browser.sign_in(await browser.get("/sign-in"), ADDRESS, NEW)
    assert "You are signed in" in page.text
    with world.change() as session:
        user = accounts.find_by_login(session, "ada")
        assert user is not None and (user.email, user.email_verified) == (ADDRESS, True)
        assert accounts.roles_of(session, user.id) == []
    assert [each.subject for each in await world.events("user.signed_up")] == [user.id]


async def test_an_application_that_asks_for_an_account_gets_whoever_has_made_one(
    world: World,
) -> None:
    """`prompt=create` (OpenID Connect Prompt Create §4): the way back goes along."""
    world.user("ada", email="ada@elsewhere.example")
    metadata = (await world.api.get("/.well-known/openid-configuration")).json()
    assert "create" in metadata["prompt_values_supported"]
    flow, browser = Flow(world, code_client(world, first_party=True)), Browser(world.api)
    await flow.tokens(browser)  # somebody is signed in already
    page, verifier = await flow.start(browser, prompt="create")
    assert page.title.startswith("Make an account")
    assert (await browser.submit(page, email="no address")).status == 422
    page = await browser.submit(page, email="eve@example.com")
    assert page.title.startswith("Look into your mail")
    onwards = unescape(page.answer.text.partition('class="button" href="')[2].partition('"')[0])
    path = (await last(world, to="eve@example.com")).path
    assert (await make(world, path, username="eve")).title.startswith("Your account is there")
    page = await browser.get(onwards)
    assert page.title.startswith("Sign in")
    assert 'href="/sign-up?to=%2Fauthorize' in page.answer.text
    page = await browser.submit(page, username="eve", password=NEW)
    tokens = granted(await flow.redeem(page.sent_to["code"], verifier))
    about = await world.api.get("/userinfo", headers=bearer(tokens["access_token"]))
    assert about.json()["preferred_username"] == "eve"
    page = await browser.get("/sign-up", params={"to": "https://evil.example/"})
    assert page.status == 400


async def test_taken_and_free_addresses_are_answered_alike(world: World) -> None:
    world.user(email="taken@example.com")
    world.user("idle", email="idle@example.com", status="disabled")
    asked = ("free@example.com", "taken@example.com", "TAKEN@Example.com", "idle@example.com")
    pages = [await ask(world, each) for each in asked]
    assert {(page.status, page.answer.text) for page in pages} == {(200, pages[0].answer.text)}
    mails = {mail.to.lower(): mail for mail in await sent(world)}
    assert "/sign-up?token=" in mails["free@example.com"].text
    assert "token=" not in mails["taken@example.com"].text
    assert mails["taken@example.com"].subject == "You have an account already"
    assert "ada" in mails["taken@example.com"].text


async def test_a_link_is_good_once_for_its_address_and_for_a_day(world: World) -> None:
    path = await link(world)
    again = await link(world)
    assert (await make(world, path)).status == 200
    for each in (path, again):
        assert (await Browser(world.api).get(each)).status == 410
        token = each.partition("token=")[2]
        form = {"token": token, "username": "eve", "password": NEW}
        assert (await Browser(world.api).post("/sign-up", form)).status == 410
    browser = Browser(world.api)
    other = (await link(world, "bob@example.com")).partition("token=")[2]
    ends, address, seal = other.removeprefix("su_").split(".")
    forged = (
        f"su_{int(ends, 16) + 9:x}.{address}.{seal}", f"su_{ends}.{address[:-4]}.{seal}",
        f"su_{ends}.{address}.{seal[:-1]}", f"su_{ends}.{address}", "su_..", "su_", "ml_x",
        f"{other}\u00e9", "su_" + "x" * 5000,
    )  # fmt: skip
    for each in forged:
        assert (await browser.get("/sign-up", params={"token": each})).status == 410, each
        form = {"token": each, "username": "eve", "password": NEW}
        assert (await browser.post("/sign-up", form)).status == 410, each
    with clock.frozen() as now:
        path = await link(world, "late@example.com")
        now.tick(timedelta(hours=24, seconds=1))
        assert (await browser.get(path)).status == 410


async def test_of_two_who_use_a_link_at_once_one_gets_the_account(world: World) -> None:
    path, before = await link(world), count(world)
    names = ("ada", "eve", "mallory")
    pages = await at_once(*(make(world, path, username=each) for each in names))
    assert sorted(page.status for page in pages) == [200, 410, 410]
    assert count(world) == before + 1


async def test_passwords_and_names_that_will_not_do_are_told_and_leave_the_link_good(
    world: World,
) -> None:
    world.user("taken")
    path = await link(world)
    for fields, words in (
        ({"password": "too short"}, "at least 15 characters"),
        ({"password": "password123456789"}, "choose another"),
        ({"password": f"{ADDRESS}{ADDRESS}"}, "e-mail address"),
        ({"username": "two words"}, "no spaces"),
        ({"username": "x" * 65}, "no spaces"),
        ({"username": "taken"}, "Somebody has this username already"),
        ({"username": "TAKEN"}, "Somebody has this username already"),
    ):
        page = await make(world, path, **fields)
        assert page.status == 422 and words in page.text, fields
        assert NEW not in page.answer.text, "no secret is echoed"
    assert (await make(world, path)).status == 200


async def test_nobody_takes_the_address_of_somebody_else_as_a_name(world: World) -> None:
    """It would keep its owner out, and mails that they ask for would go to the other."""
    path = await link(world)
    for name in ("bob@example.com", "BOB\uff20example.com", "@", "ada@example.com.evil.example"):
        page = await make(world, path, username=name)
        assert page.status == 422 and "your own e-mail address" in page.text, name
    assert (await make(world, path, username="Ada@Example.com")).status == 200
    with world.change() as session:
        user = accounts.find_by_login(session, ADDRESS)
        assert user is not None and (user.username, user.email) == (ADDRESS, ADDRESS)


async def test_who_is_held_up_costs_no_hash(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        world.user(f"taken{number}")
    path = await link(world)
    for number in range(10):
        assert (await make(world, path, username=f"taken{number}")).status == 422

    def hashed(*_: Any) -> Any:
        raise AssertionError("it has been hashed")

    monkeypatch.setattr(type(world.services.login), "hash", hashed)
    assert (await make(world, path, username="free")).status == 429


async def test_names_are_not_to_be_tried_one_after_the_other(world: World) -> None:
    for number in range(11):
        world.user(f"taken{number}")
    path = await link(world)
    pages = [await make(world, path, username=f"taken{number}") for number in range(11)]
    assert [page.status for page in pages] == [422] * 10 + [429]


async def test_so_many_mails_go_to_one_address_and_what_is_none_is_told(world: World) -> None:
    pages = {(await ask(world)).answer.text for _ in range(5)}
    pages |= {(await ask(world, "ADA@EXAMPLE.com")).answer.text for _ in range(2)}
    assert len(pages) == 1 and len(await sent(world)) == 3
    for wrong in ("", "ada", "a@b@c", "x" * 250 + "@example.com", "a\r\nbcc: b@example.com"):
        page = await ask(world, wrong)
        assert page.status == 422 and "no e-mail address" in page.text, wrong


async def test_a_form_of_another_site_does_nothing(world: World) -> None:
    evil = {"origin": "https://evil.example", "sec_fetch_site": "cross-site"}
    browser = Browser(world.api)
    assert (await browser.post("/sign-up", {"email": ADDRESS}, **evil)).status == 403
    assert await sent(world) == []


async def test_nobody_makes_an_account_during_a_lockdown(world: World) -> None:
    path, before = await link(world), count(world)
    with world.change() as session:
        lockdown.begin(session, lockdown.hold(session), "x", end_tokens=False)
    page = await make(world, path)
    assert page.status == 503 and count(world) == before


async def test_it_is_off_unless_it_is_allowed(
    world: World, make_settings: Callable[..., Any]
) -> None:
    assert make_settings().accounts.sign_up is False
    with pytest.raises(SettingsError, match="IDENTITY_SIGN_UP"):
        make_settings(sign_up=True)


@pytest.mark.parametrize("allowed", [False])
async def test_there_is_no_such_page_where_it_is_not_allowed(world: World) -> None:
    browser = Browser(world.api)
    assert "/sign-up" not in (await browser.get("/sign-in")).answer.text
    assert (await browser.get("/sign-up")).status == 404
    assert (await browser.post("/sign-up", {"email": ADDRESS})).status == 404
    assert await sent(world) == []
