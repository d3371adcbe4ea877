"""What people get by mail, and what its links do: a new password, an address, an invitation."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from identity import clock
from identity.app import create_app
from identity.authentication.mail import links
from identity.directory.users import accounts
from identity.directory.users.table import User
from tests.acting import Actor, admin, problem
from tests.browsing import Browser, Page
from tests.mailbox import last, sent
from tests.second_factors import given_app
from tests.serving import running
from tests.transport import served
from tests.world import PASSWORD, World

BASE = "http://127.0.0.1:8000"
NEW = "marmalade lighthouse 33"


@pytest.fixture
def settings(make_settings: Callable[..., Any], tmp_path: Path) -> Any:
    return make_settings(mail_folder=tmp_path / "mail")


def account(world: World, user_id: str) -> User:
    with world.change() as session:
        return accounts.get(session, user_id)


async def ask(browser: Browser, login: str) -> Page:
    page = await browser.get("/sign-in")
    assert 'href="/reset-password"' in page.answer.text
    page = await browser.get("/reset-password")
    return await browser.submit(page, username=login)


async def reset_link(world: World, browser: Browser, login: str, to: str) -> str:
    await ask(browser, login)
    return (await last(world, to=to)).path


async def can_log_in(world: World, password: str, username: str = "ada") -> bool:
    answer = await world.token(None, grant_type="password", username=username, password=password)
    return answer.status_code == 200


async def test_a_password_is_reset_by_mail(world: World, api: Any) -> None:
    user = world.user(email="ada@example.com")
    tokens = await world.log_in("ada")
    browser = Browser(api)
    page = await browser.get(await reset_link(world, browser, "ada", "ada@example.com"))
    assert page.status == 200 and page.form.fields["username"] == "ada"
    assert await can_log_in(world, PASSWORD), "to look at the link has changed nothing"
    page = await browser.submit(page, new_password=NEW)
    assert page.title.startswith("Your password is set")
    assert not browser.cookies, "nobody has been signed in"
    assert await can_log_in(world, NEW) and not await can_log_in(world, PASSWORD)
    assert not await world.active(tokens["access_token"])
    assert not account(world, user.id).email_verified, "it changes the password and nothing else"
    notice = await last(world, to="ada@example.com")
    assert notice.subject == "Your password was changed"


async def test_a_password_chosen_by_a_link_is_as_long_as_what_alone_lets_in(
    world: World, api: Any
) -> None:
    """As on the account's pages: the page says how long, and with a second factor 8 will do."""
    user = world.user(email="ada@example.com")
    browser = Browser(api)
    link = await reset_link(world, browser, "ada", "ada@example.com")
    page = await browser.get(link)
    assert "At least 15 characters" in page.text
    refused = await browser.submit(page, new_password="violet dune 77")
    assert refused.status == 422 and "at least 15 characters" in refused.text
    assert "violet dune 77" not in refused.answer.text and await can_log_in(world, PASSWORD)
    browser._api.headers["accept-language"] = "de"
    refused = await browser.submit(page, new_password="violet dune 77")
    assert "mindestens 15 Zeichen" in refused.text
    given_app(world, user)
    del browser._api.headers["accept-language"]
    page = await browser.get(link)
    assert "At least 8 characters" in page.text
    page = await browser.submit(page, new_password="violet dune 77")
    assert page.title.startswith("Your password is set")


async def test_a_link_is_good_once_and_for_half_an_hour(world: World, api: Any) -> None:
    world.user(email="ada@example.com")
    browser = Browser(api)
    used = await reset_link(world, browser, "ada@example.com", "ada@example.com")
    await browser.submit(await browser.get(used), new_password=NEW)
    assert (await browser.get(used)).status == 410
    page = await browser.post("/reset-password", {"token": used[-46:], "new_password": "x" * 20})
    assert page.status == 410 and await can_log_in(world, NEW)
    with clock.frozen() as now:
        late = await reset_link(world, browser, "ada", "ada@example.com")
        now.tick(timedelta(minutes=29))
        assert (await browser.get(late)).status == 200
        now.tick(timedelta(minutes=2))
        if world.services.db.dialect == "sqlite":
            assert (await browser.get(late)).status == 410


async def test_a_link_does_nothing_for_another_purpose_user_or_password(
    world: World, api: Any
) -> None:
    world.user(email="ada@example.com")
    world.user("bob", email="bob@example.com")
    browser = Browser(api)
    ada = await reset_link(world, browser, "ada", "ada@example.com")
    bob = await reset_link(world, browser, "bob", "bob@example.com")
    token = ada.partition("token=")[2]
    for page in ("/verify-email", "/invitation"):
        assert (await browser.get(f"{page}?token={token}")).status == 410
        answer = await browser.post(page, {"token": token, "new_password": NEW})
        assert answer.status == 410
    answer = await browser.post("/reset-password", {"token": token, "act": "not_me"})
    assert answer.status == 410
    page = await browser.get(ada)
    form = page.form.fields | {"username": "bob", "new_password": NEW}
    assert (await browser.post("/reset-password", form)).status == 200
    assert not await can_log_in(world, NEW, "bob") and await can_log_in(world, NEW, "ada")
    await browser.submit(await browser.get(bob), new_password=NEW)
    two = await reset_link(world, browser, "bob", "bob@example.com")
    me = Actor(world, await world.log_in("bob", NEW, scope="*"))
    changed = {"current_password": NEW, "new_password": PASSWORD}
    await me.done("POST", "/users/me/password", changed)
    assert (await browser.get(two)).status == 410, "the password is another since"


async def test_a_password_that_will_not_do_leaves_the_link_good(world: World, api: Any) -> None:
    world.user(email="ada@example.com")
    browser = Browser(api)
    page = await browser.get(await reset_link(world, browser, "ada", "ada@example.com"))
    page = await browser.submit(page, new_password="short")
    assert page.status == 422 and "at least 15" in page.text
    page = await browser.submit(page, new_password=NEW)
    assert page.status == 200 and await can_log_in(world, NEW)


async def test_who_asks_cannot_tell_whether_there_is_an_account(world: World, api: Any) -> None:
    world.user(email="ada@example.com")
    world.user("idle", email="idle@example.com", status="disabled")
    world.user("plain")
    asked = []
    for login in (
        "ada",
        "ada@example.com",
        "idle",
        "plain",
        "nobody",
        "no@body.example",
        "\u202e x",
    ):
        page = await ask(Browser(api), login)
        asked.append((page.status, page.answer.text.replace(login, "")))
    assert len(set(asked)) == 1
    assert {mail.to for mail in await sent(world)} == {"ada@example.com"}


async def test_of_one_account_and_from_one_network_only_so_many_are_sent(
    world: World, api: Any
) -> None:
    world.user(email="ada@example.com")
    pages = {(await ask(Browser(api), "ada")).answer.text for _ in range(5)}
    pages |= {(await ask(Browser(api), "ADA@example.com")).answer.text for _ in range(2)}
    assert len(pages) == 1
    assert len(await sent(world)) == 3
    for number in range(8):
        world.user(f"u{number}", email=f"u{number}@example.com")
        await ask(Browser(api), f"u{number}")
    assert len(await sent(world)) == 3 + 10 - 7


async def test_a_link_leads_to_the_issuer_whatever_the_request_called_us(
    world: World, api: Any
) -> None:
    world.user(email="ada@example.com")
    browser = Browser(api)
    said = {"host": "evil.example", "x_forwarded_host": "evil.example"}
    await browser.post("/reset-password", {"username": "ada"}, **said)
    (mail,) = await sent(world)
    assert mail.link.startswith(f"{world.services.settings.issuer}/reset-password?token=")
    assert "evil" not in mail.text + mail.html + str(mail.message)


async def test_a_second_factor_is_asked_for_after_a_reset(world: World, api: Any) -> None:
    user = world.user(email="ada@example.com")
    given_app(world, user)
    browser = Browser(api)
    page = await browser.get(await reset_link(world, browser, "ada", "ada@example.com"))
    await browser.submit(page, new_password=NEW)
    page = await browser.sign_in(await browser.get("/sign-in"), password=NEW)
    assert "code" in page.form.fields


# --- Addresses ------------------------------------------------------------------------------


async def test_an_address_is_verified_by_a_button_and_not_by_looking(
    world: World, api: Any
) -> None:
    user = world.user(email="ada@example.com")
    me = Actor(world, await world.log_in("ada", scope="*"))
    await me.done("POST", "/users/me/verify-email")
    mail = await last(world, to="ada@example.com")
    browser = Browser(api)
    for _ in range(3):  # as programs do that look at links before people
        page = await browser.get(mail.path)
    assert not account(world, user.id).email_verified
    page = await browser.submit(page)
    assert page.status == 200 and account(world, user.id).email_verified
    assert (await browser.submit(await browser.get("/reset-password"), username="")).status == 200
    assert (await browser.get(mail.path)).status == 410


async def test_a_new_address_counts_once_confirmed_and_can_be_taken_back(
    world: World, api: Any
) -> None:
    user = world.user(email="ada@example.com", email_verified=True)
    me = Actor(world, await world.log_in("ada", scope="*"))
    shown = await me.done("PATCH", "/users/me", {"email": "Eve@Example.net", "name": "Ada L"})
    assert shown["email"] == "ada@example.com" and shown["name"] == "Ada L"
    mail = await last(world, to="Eve@example.net")
    browser = Browser(api)
    assert account(world, user.id).email == "ada@example.com"
    await browser.submit(await browser.get(mail.path))
    now = account(world, user.id)
    assert now.email == "Eve@example.net" and now.email_verified
    told = await last(world, to="ada@example.com")
    # Whoever did it goes on: the password becomes another, and the address another still.
    me = Actor(world, await world.log_in("ada", scope="*"))
    changed = {"current_password": PASSWORD, "new_password": NEW}
    await me.done("POST", "/users/me/password", changed)
    tokens = await world.log_in("ada", NEW, scope="*")
    await Actor(world, tokens).done("PATCH", "/users/me", {"email": "third@example.org"})
    third = await last(world, to="third@example.org")
    await browser.submit(await browser.get(third.path))
    second = await last(world, to="Eve@example.net")
    page = await browser.submit(await browser.get(told.path))
    assert page.form.fields["username"] == "ada", "a new password is next"
    now = account(world, user.id)
    assert now.email == "ada@example.com" and now.email_verified and now.password_hash is None
    assert not await world.active(tokens["access_token"])
    assert not await can_log_in(world, NEW)
    await browser.submit(page, new_password="quince orchard 90 apart")
    assert await can_log_in(world, "quince orchard 90 apart")
    assert (await browser.get(second.path)).status == 410, "a later change takes nothing back"


async def test_whether_an_address_is_taken_is_told_its_owner_alone(world: World) -> None:
    world.user(email="ada@example.com")
    world.user("bob", email="bob@example.com")
    me = Actor(world, await world.log_in("ada", scope="*"))
    answers = []
    for address in ("bob@example.com", "free@example.com"):
        answer = await me("PATCH", "/users/me", {"email": address})
        answers.append((answer.status_code, answer.content, answer.headers["etag"]))
    assert answers[0] == answers[1]
    mails = {mail.to: mail.subject for mail in await sent(world)}
    assert mails == {
        "bob@example.com": "Somebody wanted to use your e-mail address",
        "free@example.com": "Confirm your new e-mail address",
    }


async def test_an_address_that_somebody_has_got_meanwhile_is_not_confirmed(
    world: World, api: Any
) -> None:
    user = world.user(email="ada@example.com")
    me = Actor(world, await world.log_in("ada", scope="*"))
    await me.done("PATCH", "/users/me", {"email": "new@example.com"})
    mail = await last(world, to="new@example.com")
    world.user("bob", email="new@example.com")
    browser = Browser(api)
    page = await browser.submit(await browser.get(mail.path))
    assert page.status == 410 and account(world, user.id).email == "ada@example.com"


# --- Invitations ----------------------------------------------------------------------------


async def test_somebody_invited_sets_a_password(world: World, api: Any) -> None:
    boss = await admin(world)
    made = await boss.done(
        "POST", "/users",
        {"username": "eva", "email": "eva@example.com", "invite": True, "locale": "de-AT"},
    )  # fmt: skip
    mail = await last(world, to="eva@example.com")
    assert mail.subject.startswith("Ihr Konto bei") and "eva" in mail.text
    browser = Browser(api)
    page = await browser.submit(await browser.get(mail.path), new_password=NEW)
    assert page.status == 200 and await can_log_in(world, NEW, "eva")
    assert account(world, made["id"]).email_verified
    again = await boss("POST", f"/users/{made['id']}/invitation")
    problem(again, 409)


async def test_an_invitation_that_has_ended_sends_another_to_its_own_address(
    world: World, api: Any
) -> None:
    boss = await admin(world)
    await boss.done(
        "POST", "/users", {"username": "eva", "email": "eva@example.com", "invite": True}
    )
    mail = await last(world, to="eva@example.com")
    with world.change() as session:
        found = links.find(session, mail.token)
        assert found is not None
        found[0].expires_at -= timedelta(days=8)
        session.add(found[0])
    browser = Browser(api)
    page = await browser.get(mail.path)
    assert page.status == 410
    page = await browser.submit(page, "again")
    assert page.status == 200
    again = await last(world, to="eva@example.com")
    assert again.token != mail.token
    page = await browser.submit(await browser.get(again.path), new_password=NEW)
    assert page.status == 200 and await can_log_in(world, NEW, "eva")
    assert (await browser.submit(await browser.get(mail.path), "again")).status == 200
    assert (await last(world, to="eva@example.com")).subject == "Your password was changed"


@pytest.mark.parametrize(
    "wrong", [{"email": None}, {"email": "e@example.com", "password": PASSWORD}]
)
async def test_nobody_is_invited_without_an_address_or_with_a_password(
    world: World, wrong: dict[str, Any]
) -> None:
    boss = await admin(world)
    problem(await boss("POST", "/users", {"username": "eva", "invite": True, **wrong}), 422)


# --- Notices --------------------------------------------------------------------------------


async def test_a_sign_in_with_a_new_browser_is_told_and_can_be_denied(
    world: World, api: Any
) -> None:
    user = world.user(email="ada@example.com")
    known = Browser(api)
    await known.sign_in(await known.get("/sign-in"))
    assert await sent(world) == [], "the first browser is no news"
    await known.sign_in(await known.get("/sign-in?again=1&to=/device"))
    assert await sent(world) == []
    other = Browser(api)
    other._api.headers["user-agent"] = "Mozilla/5.0 (X11; Linux) Firefox/150 http://evil.example"
    await other.sign_in(await other.get("/sign-in"))
    (mail,) = await sent(world)
    assert mail.subject == "You signed in with a new device" and "Firefox, Linux" in mail.text
    assert "evil" not in mail.text + mail.html
    page = await known.submit(await known.get(mail.path), "not_me")
    assert page.form.fields["username"] == "ada"
    assert account(world, user.id).password_hash is None
    assert (await other.get("/account/factors")).title.startswith("Sign in")
    await known.submit(page, new_password=NEW)
    assert await can_log_in(world, NEW)


async def test_second_factors_that_come_and_go_are_told(world: World) -> None:
    user = world.user(email="ada@example.com")
    given_app(world, user)
    boss = await admin(world)
    await boss.done("DELETE", f"/users/{user.id}/factors")
    assert [mail.subject for mail in await sent(world)] == [
        "A second factor was added",
        "Your second factors were removed",
    ]


async def test_without_a_way_to_send_mails_there_are_no_such_pages(
    make_settings: Callable[..., Any],
) -> None:
    app = create_app(make_settings())
    async with running(app), httpx.AsyncClient(transport=served(app), base_url=BASE) as api:
        assert "Forgot" not in (await api.get("/sign-in")).text
        for path in ("/reset-password", "/verify-email?token=x", "/invitation", "/dev/mail"):
            assert (await api.get(path)).status_code == 404
