"""A way back for whoever has lost every second factor: who may give the link, what it does, and
what it does not."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlmodel import select

from identity import clock
from identity.authentication import enrolment, recovery, totp
from identity.authentication.enrolment import EnrolmentLink
from identity.authentication.passkeys import keeping
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.tokens import lockdown
from tests.acting import Actor, admin, clerk, problem
from tests.authenticators import Authenticator
from tests.browsing import Browser, Page
from tests.mailbox import sent
from tests.pages.console.sitting import act, administrator, at, seated, somebody
from tests.second_factors import App, at_once, given_app, log_in, with_app
from tests.world import PASSWORD, World

REASON = "telephone stolen, known by sight"


@pytest.fixture
def settings(make_settings: Callable[..., Any], tmp_path: Path) -> Any:
    return make_settings(mail_folder=tmp_path / "mail", issuer="http://localhost:8000")


def within(link: str) -> str:
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}"


async def given(actor: Actor, user: User, reason: str = REASON) -> str:
    """The address of a link, within the service."""
    issued = await actor.done("POST", f"/users/{user.id}/enrolment-links", {"reason": reason})
    return within(issued["link"])


async def opened(world: World, link: str, browser: Browser | None = None) -> tuple[Browser, Page]:
    browser = browser or Browser(world.api)
    page = await browser.get(link)
    assert page.status == 200, page.text
    page = await browser.post("/enrolment", page.form.fields | {"password": PASSWORD})
    return browser, page


def ticket(page: Page) -> str:
    (found,) = {form.fields["ticket"] for form in page.forms if "ticket" in form.fields}
    return found


def of_page(page: Page) -> App:
    key = page.answer.text.partition('<code id="key">')[2].partition("<")[0]
    return App(key.replace(" ", ""))


async def begun(browser: Browser, page: Page) -> tuple[Page, App]:
    page = await browser.post("/enrolment", {"ticket": ticket(page), "act": "totp"})
    return page, of_page(page)


async def test_somebody_who_lost_everything_sets_up_a_new_app_and_is_signed_in(
    world: World,
) -> None:
    user, lost = with_app(world, email="ada@example.com")
    session = await log_in(world, lost.code())
    old = Browser(world.api)
    page = await old.sign_in(await old.get("/sign-in"))
    await old.submit(page, "code", code=lost.code(1))
    link = await given(await admin(world), user)
    browser, page = await opened(world, link)
    assert "identity" not in browser.cookies, "link and password are no session"
    page, app = await begun(browser, page)
    page = await browser.submit(page, "confirm", code=app.wrong())
    assert page.status == 422 and "The code is wrong" in page.text
    assert await world.active(session.json()["access_token"]), "nothing has changed yet"
    page = await browser.submit(page, "confirm", code=app.code())
    assert page.status == 200 and page.title.startswith("Recovery codes")
    assert (await browser.get("/account/factors")).title.startswith("Second factors")
    assert not await world.active(session.json()["access_token"])
    assert (await old.get("/account")).title.startswith("Sign in")
    for code in (lost.code(), lost.recovery_codes[0]):
        assert (await log_in(world, code)).status_code == 400
    with clock.frozen() as now:
        now.tick(60)
        assert (await log_in(world, app.code())).status_code == 200
    told = [mail.subject for mail in await sent(world) if mail.to == "ada@example.com"]
    assert "Somebody is being let into your account again" in told
    steps = ("issued", "redeemed", "completed")
    events = [await world.events(f"enrolment_link.{each}") for each in steps]
    assert [(each[0].subject, len(each)) for each in events] == [(user.id, 1)] * 3
    assert events[0][0].detail == {"reason": REASON}


async def test_a_passkey_takes_the_place_of_all_that_was_lost(world: World) -> None:
    user, lost = with_app(world)
    browser, page = await opened(world, await given(await admin(world), user))
    device = Authenticator()
    made = device.make(page.asked)
    page = await browser.answer(page, made, name="Telephone")
    assert page.status == 200 and page.title.startswith("Recovery codes"), page.text
    assert "You are signed in" in (await browser.get("/account")).text
    with world.change() as session:
        assert totp.find(session, user.id) is None
        assert [each.name for each in keeping.of_user(session, user.id)] == ["Telephone"]
        assert recovery.left(session, user.id)[0] == recovery.HOW_MANY
        row = accounts.get(session, user.id)
        assert row.passkey and row.second_factor
    assert (await log_in(world, lost.code())).status_code == 400


async def test_a_link_is_good_once_for_a_day_and_only_the_newest(world: World) -> None:
    user, _ = with_app(world)
    boss = await admin(world)
    first, link = await given(boss, user), await given(boss, user)
    browser = Browser(world.api)
    assert (await browser.get(first)).status == 410
    for _ in range(3):  # as programs do that look at links before people
        page = await browser.get(link)
    form = page.form.fields | {"password": PASSWORD}
    assert (await browser.post("/enrolment", form)).status == 200
    assert (await browser.get(link)).status == 410
    assert (await browser.post("/enrolment", form)).status == 410
    with clock.frozen() as now:
        late = await given(boss, user)
        now.tick(timedelta(hours=24, seconds=1))
        assert (await browser.get(late)).status == 410
    for nothing in ("", "el_x", "x" * 500):
        assert (await browser.get(f"/enrolment?token={nothing.encode().hex()}")).status == 410
        assert (await browser.post("/enrolment", {"token": nothing})).status == 410
        assert (await browser.post("/enrolment", {"ticket": nothing})).status == 410


async def test_of_two_who_use_a_link_or_a_ticket_at_once_one_gets_through(world: World) -> None:
    user, _ = with_app(world)
    link = await given(await admin(world), user)
    browsers = [Browser(world.api) for _ in range(4)]
    form = (await browsers[0].get(link)).form.fields | {"password": PASSWORD}
    pages = await at_once(*(each.post("/enrolment", form) for each in browsers))
    assert sorted(page.status for page in pages) == [200, 410, 410, 410]
    (at,) = (number for number, page in enumerate(pages) if page.status == 200)
    browser = browsers[at]
    page, app = await begun(browser, pages[at])
    form = page.form.fields | {"act": "confirm", "code": app.code()}
    pages = await at_once(*(browser.post("/enrolment", form) for _ in range(3)))
    assert sorted(page.status for page in pages) == [200, 410, 410]


async def test_a_link_lets_nobody_in_who_does_not_know_the_password(world: World) -> None:
    user, _ = with_app(world)
    world.user("eve", "a password of her own 5")
    link = await given(await admin(world), user)
    browser = Browser(world.api)
    form = (await browser.get(link)).form.fields
    for password in ("", "a password of her own 5", "x" * 9000):
        page = await browser.post("/enrolment", form | {"password": password})
        assert page.status == 422 and "The password is wrong" in page.text
    page = await browser.post(
        "/enrolment", form | {"username": "eve", "password": "a password of her own 5"}
    )
    assert page.status == 422, "whose it is, the link says"
    page = await browser.post("/enrolment", form | {"password": PASSWORD})
    assert page.status == 200, "what was wrong has not used it up"


async def test_guesses_beside_a_link_are_counted_as_at_the_sign_in(world: World) -> None:
    user, _ = with_app(world)
    form = {"token": (await given(await admin(world), user)).partition("token=")[2]}
    browser = Browser(world.api)
    for _ in range(10):
        assert (await browser.post("/enrolment", form | {"password": "no"})).status == 422
    page = await browser.post("/enrolment", form | {"password": PASSWORD})
    assert page.status == 429 and int(page.answer.headers["retry-after"]) > 0


async def test_a_ticket_is_of_this_browser_for_a_quarter_of_an_hour(world: World) -> None:
    user, _ = with_app(world)
    boss = await admin(world)
    browser, page = await opened(world, await given(boss, user))
    stolen = {"ticket": ticket(page), "act": "totp"}
    other = Browser(world.api)
    assert (await other.post("/enrolment", stolen)).status == 410
    await other.get("/sign-in")  # which gives it a name of its own
    assert (await other.post("/enrolment", stolen)).status == 410
    for address in ("/account", "/account/factors", "/console", "/account/passkeys"):
        assert (await browser.get(address)).title.startswith("Sign in"), address
    with clock.frozen() as now:
        browser, page = await opened(world, await given(boss, user))
        page, app = await begun(browser, page)
        now.tick(timedelta(minutes=15, seconds=1))
        page = await browser.submit(page, "confirm", code=app.code())
        assert page.status == 410
    assert not await world.events("enrolment_link.completed")


async def test_what_is_taken_back_is_good_no_longer_opened_or_not(world: World) -> None:
    user, _ = with_app(world)
    boss, path = await admin(world), f"/users/{user.id}/enrolment-links"
    problem(await boss("DELETE", path), 404)
    link = await given(boss, user)
    await boss.done("DELETE", path)
    assert (await Browser(world.api).get(link)).status == 410
    browser, page = await opened(world, await given(boss, user))
    page, app = await begun(browser, page)
    await boss.done("DELETE", path)
    assert (await browser.submit(page, "confirm", code=app.code())).status == 410
    assert len(await world.events("enrolment_link.withdrawn")) == 2


async def test_whoever_is_disabled_meanwhile_stays_out(world: World) -> None:
    user, _ = with_app(world)
    boss = await admin(world)
    browser, page = await opened(world, await given(boss, user))
    page, app = await begun(browser, page)
    link = await given(boss, user)
    world.set_status(user, "disabled")
    assert (await browser.get(link)).status == 410
    assert (await browser.submit(page, "confirm", code=app.code())).status == 410
    problem(await boss("POST", f"/users/{user.id}/enrolment-links", {"reason": "x"}), 409)


async def test_a_ticket_ends_with_the_password_that_it_was_given_for(world: World) -> None:
    """Whoever has found out the password and has the link loses both by a new password."""
    user, lost = with_app(world)
    boss = await admin(world)
    thief, page = await opened(world, await given(boss, user))
    page, app = await begun(thief, page)
    device, choose = Authenticator(), await opened_again(thief, page)
    answer = device.make(choose.asked)
    await boss.done("POST", f"/users/{user.id}/password")
    for refused in (
        await thief.submit(page, "confirm", code=app.code()),
        await thief.answer(choose, answer, name="Telephone"),
        await thief.post("/enrolment", {"ticket": ticket(choose), "act": "totp"}),
    ):
        assert refused.status == 410
    assert not await world.events("enrolment_link.completed")
    with world.change() as session:
        assert recovery.left(session, user.id)[0] == len(lost.recovery_codes)


async def opened_again(browser: Browser, page: Page) -> Page:
    """From one way to set something up back to all of them."""
    return await browser.post("/enrolment", {"ticket": ticket(page)})


async def test_a_lockdown_that_begins_in_the_middle_leaves_all_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, lost = with_app(world)
    browser, page = await opened(world, await given(await admin(world), user))
    page, app = await begun(browser, page)
    end_all = enrolment.lifecycle.end_all

    def and_begin(session: Any, *args: Any, **kwargs: Any) -> Any:
        lockdown.begin(session, lockdown.hold(session), "x", end_tokens=False)
        return end_all(session, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(enrolment.lifecycle, "end_all", and_begin)
        assert (await browser.submit(page, "confirm", code=app.code())).status == 503
    with world.change() as session:
        assert recovery.left(session, user.id)[0] == len(lost.recovery_codes)
    assert not await world.events("enrolment_link.completed")
    assert (await browser.submit(page, "confirm", code=app.code())).status == 200


async def test_there_is_no_link_where_nothing_is_lost_or_no_password_is_beside_it(
    world: World,
) -> None:
    boss = await admin(world)
    plain = world.user("plain")
    address = f"/users/{plain.id}/enrolment-links"
    assert "password alone" in problem(await boss("POST", address, {"reason": "x"}), 409)["detail"]
    given_app(world, plain)
    for reason in ({}, {"reason": ""}, {"reason": "   "}, {"reason": "x" * 201}):
        problem(await boss("POST", address, reason), 422)
    with world.change() as session:
        row = accounts.get(session, plain.id, lock=True)
        row.password_hash = None
        session.add(row)
    refused = problem(await boss("POST", address, {"reason": "x"}), 409)
    assert "one-time password" in refused["detail"]


async def test_whoever_holds_less_gives_no_link_to_whoever_holds_more(world: World) -> None:
    root = administrator(world)
    given_app(world, root)
    user, _ = with_app(world)
    lesser = await clerk(world, "users:read", "users:write")
    await given(lesser, user)
    problem(await lesser("POST", f"/users/{root.id}/enrolment-links", {"reason": "x"}), 403)
    problem(await lesser("DELETE", f"/users/{root.id}/enrolment-links"), 403)
    reader = await clerk(world, "users:read", username="reader")
    refused = await reader("POST", f"/users/{user.id}/enrolment-links", {"reason": "x"})
    problem(refused, 403)
    with world.change() as session:
        assert [each.user_id for each in session.exec(select(EnrolmentLink))] == [user.id]


async def test_a_link_takes_a_fresh_login_of_whoever_gives_it(world: World) -> None:
    user, _ = with_app(world)
    with clock.frozen() as now:
        boss = await admin(world)
        now.tick(301)
        refused = await boss("POST", f"/users/{user.id}/enrolment-links", {"reason": "x"})
        assert (
            refused.status_code in (401, 403) and "max_age" in refused.headers["www-authenticate"]
        )
    root = administrator(world)
    browser = await seated(world)
    given_app(world, root)
    page = await browser.get(at("/user", id=user.id, do="link"))
    assert page.title.startswith("Sign in"), "one who has a factor proves it first"


async def test_an_administrator_gives_and_takes_back_a_link_at_the_console(world: World) -> None:
    user, _ = with_app(world)
    administrator(world)
    browser = await seated(world)
    address = at("/user", id=user.id, do="link")
    page = await act(browser, address, "link", reason="")
    assert page.status == 422 and "needed" in page.text
    page = await act(browser, address, "link", reason=REASON)
    assert page.status == 200 and "Good until" in page.text
    link = page.answer.text.partition("<code data-copy>")[2].partition("<")[0]
    assert link.startswith("http://localhost:8000/enrolment?token=el_")
    assert (await Browser(world.api).get(within(link))).status == 200
    assert "open until" in (await browser.get(at("/user", id=user.id))).text
    page = await act(browser, at("/user", id=user.id), "unlink")
    assert "The link is good no longer" in page.text and "open until" not in page.text
    assert (await Browser(world.api).get(within(link))).status == 410
    somebody(world, "users:read", "users:write", username="eve")
    root = world.user("root2", roles=["admin"])
    given_app(world, root)
    eve = await seated(world, "eve")
    page = await act(eve, at("/user", id=root.id, do="link"), "link", reason="x")
    assert page.status == 403


async def test_a_form_of_another_site_uses_nothing_up(world: World) -> None:
    user, _ = with_app(world)
    link = await given(await admin(world), user)
    browser = Browser(world.api)
    await browser.get("/sign-in")
    form = (await browser.get(link)).form.fields | {"password": PASSWORD}
    evil = {"origin": "https://evil.example", "sec_fetch_site": "cross-site"}
    assert (await browser.post("/enrolment", form, **evil)).status == 403
    assert (await browser.post("/enrolment", form)).status == 200


async def test_a_one_time_password_beside_a_link_is_still_to_be_changed(world: World) -> None:
    user, _ = with_app(world)
    boss = await admin(world)
    one_time = await boss.done("POST", f"/users/{user.id}/password")
    browser = Browser(world.api)
    form = (await browser.get(await given(boss, user))).form.fields
    page = await browser.post("/enrolment", form | {"password": one_time["password"]})
    page, app = await begun(browser, page)
    page = await browser.submit(page, "confirm", code=app.code())
    assert page.status == 200 and "identity" not in browser.cookies
    page = await browser.sign_in(await browser.get("/sign-in"), password=one_time["password"])
    assert page.title.startswith("Choose a new password")


async def test_a_lockdown_uses_nothing_up(world: World) -> None:
    user, lost = with_app(world)
    eve, _ = with_app(world, "eve")
    boss = await admin(world)
    browser, page = await opened(world, await given(boss, user))
    page, app = await begun(browser, page)
    form = {"token": (await given(boss, eve)).partition("token=")[2], "password": PASSWORD}
    with world.change() as session:
        lockdown.begin(session, lockdown.hold(session), "x", end_tokens=False)
    confirmed = await browser.submit(page, "confirm", code=app.code())
    assert confirmed.status == 503
    assert (await browser.post("/enrolment", form)).status == 503
    with world.change() as session:
        assert recovery.left(session, user.id)[0] == len(lost.recovery_codes)
        lockdown.lift(session, lockdown.hold(session))
    assert (await browser.post("/enrolment", form)).status == 200
    assert (await browser.submit(page, "confirm", code=app.code())).status == 200


async def test_links_are_forgotten_after_a_month_and_go_with_their_user(world: World) -> None:
    user, _ = with_app(world)
    boss = await admin(world)
    with clock.frozen() as now:
        await given(boss, user)
        now.tick(timedelta(days=32))
        with world.change() as session:
            enrolment.prune(session)
            assert session.exec(select(EnrolmentLink)).all() == []
    await given(await admin(world), user)
    await (await admin(world)).done("DELETE", f"/users/{user.id}")
    with world.change() as session:
        assert session.exec(select(EnrolmentLink)).all() == []
