"""What administrators do when something is wrong, in a real browser: stop everything, end sessions,
let somebody go, send a mail again, ask whether the audit is whole."""

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from identity.authentication.throttle import LoginFailure
from identity.clock import utcnow
from identity.directory.users import accounts
from identity.keys import master
from identity.opaque import new_id
from identity.records import audit
from identity.service.opening import audit_keys
from identity.store import Database
from identity.tokens import lockdown
from identity.tokens.sessions.table import LoginSession
from tests.pages.console.test_in_chromium import CHROMIUM, PHONE, TWICE, UNNAMED, Tab
from tests.serving import Server

pytestmark = [
    pytest.mark.parametrize("dialect", ["sqlite"]),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: no page was looked at"),
]
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0"
STRETCH = 10_000
ADDRESSES = (
    "", "/sessions", "/sessions?kind=browser&user=admin&since=2026-11-24", "/sessions?user=no",
    "/blocks", "/mails", "/mails?do=test", "/audit", "/audit-check", "/lockdown",
    "/lockdown?do=begin",
)  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    missing = "playwright is not installed: no page was looked at"
    api = pytest.importorskip("playwright.sync_api", reason=missing)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def service(server: Callable[..., Server], db: Database, tmp_path: Path) -> Server:
    started = server(MAIL_FOLDER=str(tmp_path / "mail"))
    later = utcnow() + timedelta(days=1)
    with db.transaction() as session:
        users = [
            accounts.create(session, username=f"somebody.with.a.rather.long.name.{n:03}", held=None)
            for n in range(3)
        ]
        session.add_all(
            LoginSession(
                id=new_id(), user_id=users[n % 3].id, client_id="first-party", scope="account",
                audience="x", expires_at=later, access_expires_at=later, acr="aal1",
                address=f"2001:db8:1234:5678::{n:x}", user_agent=AGENT,
            )
            for n in range(120)
        )  # fmt: skip
        session.add_all(
            LoginFailure(
                key=f"{n:064x}", count=12, expires_at=later, locked=True, network="203.0.113.7",
                kind="pair" if n else "address", user_id=users[n].id if n else None,
            )
            for n in range(3)
        )  # fmt: skip
    return started


def a_mail(db: Database, settings: Any) -> str:
    """That was given up."""
    from identity.authentication.mail.outbox import Outbox, OutgoingMail

    with db.transaction() as session:
        mails = Outbox(settings, master.load(session, settings))
        mails.on = True
        mail_id = mails.write(session, "verify", to="somebody.with.a.long.address@example.com")
        session.flush()
        row = session.get_one(OutgoingMail, str(mail_id))
        row.given_up_at = utcnow()
        row.last_error = "(550, 'no such box, and a reason that goes on and on and on and on')"
        session.add(row)
    return str(mail_id)


@pytest.mark.parametrize("scripts", [True, False])
def test_everything_is_stopped_and_lifted_again_by_keyboard_alone(
    chromium: Any, service: Server, db: Database, scripts: bool
) -> None:
    tab = Tab(chromium, service, java_script_enabled=scripts)
    page = tab.page
    tab.sign_in("/console/lockdown")
    press(page, "a:has-text('See what would stop')")
    page.wait_for_selector("h1:has-text('Stop every sign-in')")
    page.focus("#reason")
    page.keyboard.type("Passwords leaked")
    press(page, "button.danger")
    page.wait_for_selector("[role=status]:has-text('Every sign-in is stopped')")
    tab.go("/console/users")
    page.wait_for_selector(".locked:has-text('Passwords leaked')")
    press(page, ".locked a")
    page.wait_for_selector("h1:has-text('Lockdown')")
    press(page, "a:has-text('Lift the lockdown')")
    page.wait_for_selector("h1:has-text('Lift the lockdown')")
    press(page, "button.primary")
    page.wait_for_selector("[role=status]:has-text('Everybody can sign in again')")
    assert page.locator(".locked").count() == 0
    with db.transaction() as session:
        assert not lockdown.look(session).active
    tab.close()


def press(page: Any, what: str) -> None:
    page.focus(what)
    page.keyboard.press("Enter")


@pytest.mark.parametrize("scripts", [True, False])
def test_sessions_are_ticked_looked_at_and_ended(
    chromium: Any, service: Server, scripts: bool
) -> None:
    tab = Tab(chromium, service, java_script_enabled=scripts)
    page = tab.page
    tab.sign_in("/console/sessions")
    boxes = page.locator("input[type=checkbox][name=session]")
    assert boxes.count() == 25
    for n in (0, 1, 2):
        boxes.nth(n).check()
    page.click("button:has-text('End those that are ticked')")
    page.wait_for_selector("p:has-text('It ends 3 sessions.')")
    page.click("button:has-text('End them')")
    page.wait_for_selector("[role=status]:has-text('3 sessions have ended.')")
    page.click("a:has-text('Back to the list')")
    page.wait_for_selector("h1:has-text('Sessions')")
    page.fill("input[name=user]", "somebody.with.a.rather.long.name.001")
    page.click("button:has-text('Show')")
    page.wait_for_selector("button:has-text('End all that these filters find')")
    assert "user=somebody.with" in page.url
    page.click("button:has-text('End all that these filters find')")
    page.wait_for_selector("p:has-text('It ends 39 sessions.')")
    page.click("button:has-text('End them')")
    page.wait_for_selector("[role=status]:has-text('39 sessions have ended.')")
    tab.close()


def test_somebody_is_let_go_and_a_mail_is_sent_again(
    chromium: Any, service: Server, db: Database, settings: Any
) -> None:
    mail = a_mail(db, settings)
    tab = Tab(chromium, service)
    page = tab.page
    tab.sign_in("/console")
    page.click("a[href='/console/blocks']:has-text('Look there')")
    page.wait_for_selector("h1:has-text('Blocked sign-ins')")
    page.click("tr:has-text('name.001') button:has-text('Release')")
    page.wait_for_selector("[role=status]:has-text('They can try again at once')")
    assert page.locator("tr:has-text('name.001')").count() == 0
    tab.go("/console")
    page.click("a[href*='/console/mails']:has-text('Look there')")
    page.wait_for_selector("h1:has-text('Mails')")
    page.click(f"a[href*='{mail}']")
    page.wait_for_selector("pre.mail")
    page.click("button:has-text('Send it now')")
    page.wait_for_selector("[role=status]:has-text('Tried again now')")
    tab.go("/console/mails?do=test")
    page.fill("#to", "ada@example.com")
    page.click("button.primary")
    page.wait_for_selector("[role=status]:has-text('It is on its way')")
    tab.close()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_long_audit_is_looked_through_by_itself_where_scripts_run(
    chromium: Any, service: Server, db: Database, settings: Any, scripts: bool
) -> None:
    with db.transaction() as session:
        key = audit_keys(master.load(session, settings))[0]
        for n in range(STRETCH):
            audit.record(session, "user.created", subject=f"subject {n}")
    more = True
    while more:
        with db.transaction() as session:
            audit.seal(session, key)
            more = audit.unsealed(session)
    tab = Tab(chromium, service, java_script_enabled=scripts)
    page = tab.page
    tab.sign_in("/console/audit")
    page.click("a:has-text('Is it whole?')")
    if not scripts:
        page.wait_for_selector(f"p:has-text('Events 1 to {STRETCH} are as they were written')")
        page.click("a:has-text('Go on')")
    page.wait_for_selector("[role=status]:has-text('Yes: it is as it was written')")
    if scripts:
        page.go_back()
        page.wait_for_selector("h1:has-text('Audit')")
    tab.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_of_these_fits_a_small_phone_in_light_and_dark(
    chromium: Any, service: Server, db: Database, settings: Any, scheme: str
) -> None:
    mail = a_mail(db, settings)
    tab = Tab(chromium, service, viewport=PHONE, color_scheme=scheme)
    page = tab.page
    tab.sign_in()
    for address in (*ADDRESSES, f"/mail?id={mail}"):
        look(tab, scheme, address)
    tab.go("/console/sessions?user=somebody.with.a.rather.long.name.001")
    for button in ("End those that are ticked", "End all that these filters find"):
        page.locator("input[type=checkbox][name=session]").nth(0).check()
        page.click(f"button:has-text('{button}')")
        page.wait_for_selector("button:has-text('End them')")
        fits(tab, scheme, button)
        page.click("a:has-text('Cancel')")
        page.wait_for_selector("input[name=session]")
    tab.go("/console/lockdown?do=begin")
    page.fill("#reason", "a reason without any space " + "w" * 80)
    page.click("button.danger")
    page.wait_for_selector(".locked")
    for address in ("/lockdown", "/users", "/lockdown?do=lift", "/lockdown?do=begin"):
        look(tab, scheme, address, "stopped ")
    tab.close()


def test_axe_finds_nothing_on_any_page_of_these(
    chromium: Any, service: Server, db: Database, settings: Any, axe: str
) -> None:
    mail, found = a_mail(db, settings), []
    for scheme in ("light", "dark"):
        tab = Tab(chromium, service, viewport=PHONE, color_scheme=scheme)
        tab.sign_in()
        for address in (*ADDRESSES, f"/mail?id={mail}"):
            tab.go(f"/console{address}")
            tab.page.evaluate(axe)
            for each in tab.page.evaluate("axe.run().then(found => found.violations)"):
                found.append((scheme, address, each["id"], each["nodes"][0]["html"][:200]))
        tab.close()
    assert found == []


def look(tab: Tab, scheme: str, address: str, when: str = "") -> None:
    tab.go(f"/console{address}")
    fits(tab, scheme, f"{when}{address}")


def fits(tab: Tab, scheme: str, name: str) -> None:
    page = tab.page
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"], (name, width)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(int(n) for n in ground[4:-1].split(",")[:3]) > 384
    assert light == (scheme == "light"), (name, ground)
    assert page.evaluate(UNNAMED) == 0, name
    assert page.evaluate(TWICE) == [], name
    if folder := os.environ.get("SCREENS"):
        kept = name.strip("/").translate(str.maketrans("/?=& ", "-----"))[:40] or "overview"
        page.screenshot(path=f"{folder}/phone-{scheme}-{kept}.png", full_page=True)
        page.set_viewport_size({"width": 1280, "height": 900})
        page.screenshot(path=f"{folder}/desk-{scheme}-{kept}.png")
        page.set_viewport_size(PHONE)
