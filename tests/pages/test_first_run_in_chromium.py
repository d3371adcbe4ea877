"""The first run, and the way back, in a real browser: by keyboard, with and without scripts, light
and dark, on a small phone, from right to left; a console error fails."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session

from identity.authentication import enrolment
from identity.directory.users import accounts
from identity.keys import master
from identity.store import Database
from tests.databases import free_port
from tests.keyboard import enter
from tests.mailbox import kept
from tests.pages.test_account_in_chromium import DESK, PHONE, look
from tests.pages.test_account_in_chromium import Tab as PlainTab
from tests.pages.test_in_chromium import CHROMIUM, chromium
from tests.pages.test_passkeys_in_chromium import Tab
from tests.second_factors import App
from tests.serving import ADMIN_PASSWORD, Server

__all__ = ["chromium"]
pytestmark = [
    pytest.mark.parametrize("dialect", ["sqlite"]),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: no page was looked at"),
]
Start = Callable[..., Server]
LOOKS = (("light", PHONE, "en"), ("dark", DESK, "de"), ("light", PHONE, "ar-XB"))
NEW = "walnut grove under a red kite"


@pytest.fixture
def service(server: Start, tmp_path: Path) -> Server:
    """Under the name that every machine has for itself, and everything of this page switched on."""
    port = free_port()
    return server(
        port=port, ISSUER=f"http://localhost:{port}", OFFER_SECOND_FACTOR="true", SIGN_UP="true",
        MAIL_FOLDER=str(tmp_path / "mail"),
    )  # fmt: skip


@pytest.fixture
def tab(chromium: Any, service: Server) -> Iterator[Tab]:
    tab = Tab(chromium, service.url.replace("127.0.0.1", "localhost"))
    yield tab
    tab.close()


def heading(tab: Tab | PlainTab, words: str) -> None:
    tab.page.wait_for_selector(f"h1:text-is('{words}')")


def app_shown(tab: Tab | PlainTab) -> App:
    return App(tab.page.inner_text("#key").replace(" ", ""))


def link(db: Database, settings: Any) -> tuple[str, App]:
    """For the administrator, who has lost the app."""

    def unit(session: Session) -> tuple[str, App]:
        key = master.load(session, settings)
        user = accounts.find_by_login(session, "admin")
        assert user is not None
        from identity.authentication import totp

        lost = App.scanned(totp.begin(session, key, "http://localhost", user).uri)
        waiting = totp.waiting(session, key, "http://localhost", user)
        assert waiting and totp.confirm(session, waiting, user, lost.code())
        user.second_factor = True
        accounts.touch(session, user)
        return enrolment.issue(session, user, None, "lost").token, lost

    with db.transaction() as session:
        return unit(session)


def test_the_first_sign_in_offers_a_passkey_and_the_next_does_not(tab: Tab) -> None:
    tab.go("/sign-in")
    tab.asleep()
    enter(tab.page, "#username", "admin", ADMIN_PASSWORD)
    heading(tab, "Make your account safer")
    tab.page.click("text=Not now")
    heading(tab, "Your account")
    tab.sign_out()
    tab.go("/sign-in")
    tab.by_password()
    heading(tab, "Your account")
    tab.awake()
    tab.go("/account/offer")
    tab.page.click("text=Add a passkey")
    heading(tab, "Add a passkey")
    tab.add("Laptop")
    heading(tab, "Recovery codes")


def test_somebody_who_lost_everything_comes_back_by_a_passkey(
    tab: Tab, db: Database, settings: Any
) -> None:
    token, _lost = link(db, settings)
    tab.go(f"/enrolment?token={token}")
    heading(tab, "Set up a new second factor")
    enter(tab.page, "#password", ADMIN_PASSWORD)
    tab.page.wait_for_selector("[data-passkey-ask]:visible")
    tab.page.focus("#name")
    enter(tab.page, "#name", "New telephone")
    heading(tab, "Your new second factor is set up")
    assert len(tab.keys()) == 1
    assert tab.page.locator(".codes li").count() == 10
    tab.page.keyboard.press("Enter")  # the way on has the focus
    heading(tab, "Your account")
    tab.go(f"/enrolment?token={token}")
    heading(tab, "This link is good no longer")


@pytest.mark.parametrize("scripts", [True, False])
def test_somebody_who_lost_everything_comes_back_by_an_app_and_keyboard(
    chromium: Any, service: Server, db: Database, settings: Any, scripts: bool
) -> None:
    token, _lost = link(db, settings)
    tab = PlainTab(chromium, service, java_script_enabled=scripts)
    tab.url = tab.url.replace("127.0.0.1", "localhost")
    tab.go(f"/enrolment?token={token}")
    enter(tab.page, "#password", "not this one at all")
    tab.page.wait_for_selector("[role=alert]:has-text('The password is wrong')")
    enter(tab.page, "#password", ADMIN_PASSWORD)
    tab.page.wait_for_selector("button:has-text('Set up an authenticator app')")
    tab.page.focus("button:has-text('Set up an authenticator app')")
    tab.page.keyboard.press("Enter")
    heading(tab, "Set up an authenticator app")
    enter(tab.page, "#code", app_shown(tab).code())
    heading(tab, "Your new second factor is set up")
    tab.page.keyboard.press("Enter")
    heading(tab, "Your account")
    tab.close()


def test_somebody_makes_an_account_without_scripts(
    chromium: Any, service: Server, tmp_path: Path
) -> None:
    tab = PlainTab(chromium, service, java_script_enabled=False)
    tab.url = tab.url.replace("127.0.0.1", "localhost")
    tab.go("/sign-in")
    tab.page.click("text=Make one")
    heading(tab, "Make an account")
    enter(tab.page, "#email", "ada@example.com")
    heading(tab, "Look into your mail")
    (mail,) = arrived(tmp_path / "mail")
    tab.go(mail.path)
    enter(tab.page, "#username", "ada", "short")
    tab.page.wait_for_selector("[role=alert]")
    assert tab.page.input_value("#username") == "ada" and not tab.page.input_value("#password")
    enter(tab.page, "#password", NEW)
    heading(tab, "Your account is there")
    tab.page.click("text=Sign in")
    tab.page.wait_for_selector("#password")
    enter(tab.page, "#username", "ada", NEW)
    heading(tab, "Make your account safer")
    tab.close()


def arrived(folder: Path) -> list[Any]:
    from tests.databases import wait_until

    wait_until(lambda: len(kept(folder)) > 0, 60, lambda: "no mail has come")
    return kept(folder)


def test_every_page_is_whole_in_light_and_dark_on_a_phone_and_from_right_to_left(
    chromium: Any, service: Server, db: Database, settings: Any, tmp_path: Path
) -> None:
    looked, wrong = 0, list[object]()
    for number, (scheme, viewport, tag) in enumerate(LOOKS):
        token, _lost = link(db, settings)
        tab = PlainTab(chromium, service, viewport=viewport, color_scheme=scheme)
        tab.url = tab.url.replace("127.0.0.1", "localhost")
        tab.context.add_cookies([{"name": "identity-language", "value": tag, "url": tab.url}])

        def see(name: str, tab: Any = tab, about: Any = (scheme, viewport, tag)) -> None:
            nonlocal looked
            looked += 1
            wrong.extend(look(tab, *about, f"/first-run-{name}"))

        tab.go(f"/enrolment?token={token}")
        see("enrolment-ask")
        enter(tab.page, "#password", ADMIN_PASSWORD)
        tab.page.wait_for_selector("[data-passkey-ask]:visible")
        see("enrolment-choose")
        tab.page.click("button[value=totp]")
        tab.page.wait_for_selector("#code")
        see("enrolment-app")
        enter(tab.page, "#code", app_shown(tab).code())
        tab.page.wait_for_selector(".codes")
        see("enrolment-done")
        tab.go(f"/enrolment?token={token}")
        see("enrolment-dead")
        tab.go("/account/notices")
        see("notices")
        with db.transaction() as session:
            user = accounts.find_by_login(session, "admin")
            assert user is not None
            user.second_factor = False
            accounts.touch(session, user)
        tab.go("/account/offer")
        see("offer")
        tab.context.clear_cookies(name="identity")
        tab.go("/sign-in")
        see("sign-in")
        tab.go("/sign-up")
        see("sign-up-ask")
        before = len(kept(tmp_path / "mail"))
        enter(tab.page, "#email", f"somebody{number}@example.com")
        tab.page.wait_for_selector("a.button")
        see("sign-up-asked")
        tab.go(newest(tmp_path / "mail", before, f"somebody{number}@example.com").path)
        see("sign-up-choose")
        enter(tab.page, "#username", "two words", "short")
        tab.page.wait_for_selector("[role=alert]")
        see("sign-up-wrong")
        tab.close()
    assert wrong == []
    assert looked == 12 * len(LOOKS)


def newest(folder: Path, before: int, to: str) -> Any:
    from tests.databases import wait_until

    def mine() -> list[Any]:
        return [mail for mail in kept(folder)[before:] if mail.to == to]

    wait_until(lambda: bool(mine()), 60, lambda: "no mail has come")
    return mine()[-1]
