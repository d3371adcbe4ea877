"""`/account` by forms alone, as a browser without scripts sends them."""

import json
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urljoin

import pytest
from sqlalchemy import text
from sqlmodel import select

from identity import clock
from identity.authentication import leaving
from identity.directory.users import accounts
from identity.records.audit import AuditEvent
from identity.service import own_account
from identity.service.housekeeping import Housekeeping
from identity.tokens.sessions.table import BrowserSession, LoginSession
from tests.browsing import Browser, Flow, Form, Page, code_client
from tests.second_factors import App, given_app, with_app
from tests.serving import ADMIN_PASSWORD
from tests.world import PASSWORD, World, bearer

NEW = "walnut grove under a red kite"
only = pytest.mark.parametrize("dialect", ["sqlite"])
PAGES = ("", "/profile", "/email", "/password", "/factors", "/sessions", "/applications",
         "/history", "/not-me", "/data", "/delete")  # fmt: skip


async def signed_in(world: World, username: str = "ada", app: App | None = None) -> Browser:
    browser = Browser(world.api)
    page = await browser.sign_in(await browser.get("/sign-in"), username)
    if app is not None:
        page = await browser.submit(page, "code", code=app.code())
    assert page.title.startswith("Your account"), page.text
    return browser


async def press(browser: Browser, page: Page, words: str, at: int = 0, **fields: str) -> Page:
    found = [each for each in page.forms if words in {value for _, value, _ in each.buttons}]
    assert len(found) > at, page.answer.text
    form = found[at]
    pressed = {name: value for name, value, _ in form.buttons if value == words}
    address = urljoin(str(page.answer.url), form.action)
    return await browser.post(address, form.fields | fields | pressed)


async def test_every_page_is_for_who_is_signed_in_and_says_nothing_without(world: World) -> None:
    user = world.user(email="ada@example.com", name="Ada Lovelace")
    stranger, browser = Browser(world.api), await signed_in(world)
    for path in PAGES:
        page = await stranger.get(f"/account{path}")
        assert page.title.startswith("Sign in"), path
        page = await browser.get(f"/account{path}")
        assert page.status == 200, (path, page.text)
        headers = page.answer.headers
        assert headers["cache-control"] == "no-store"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "form-action 'self'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "same-origin"
        assert page.answer.text.count('aria-current="page"') == 1, path
        assert 'href="#main"' in page.answer.text and "hash" not in page.answer.text
        assert user.id not in page.title


@only
async def test_what_takes_a_fresh_proof_asks_for_it_before_the_form_and_goes_on(
    world: World,
) -> None:
    world.user()
    with clock.frozen() as hand:
        browser = await signed_in(world)
        hand.tick(timedelta(minutes=6))
        for path in ("", "/profile", "/sessions", "/applications", "/history"):
            assert (await browser.get(f"/account{path}")).title.startswith("Sign in") is False
        for path in ("/email", "/password", "/not-me", "/data", "/delete", "/factors"):
            page = await browser.get(f"/account{path}")
            assert "Confirm that it is you" in page.text, path
            assert page.form.fields["username"] == "ada"
            page = await browser.sign_in(page)
            assert str(page.answer.url).endswith(f"/account{path}"), path
            hand.tick(timedelta(minutes=6))
            if path != "/factors":  # and a form that lay there too long does nothing
                page = await browser.post(f"/account{path}", page.forms[0].fields)
                assert "Confirm that it is you" in page.text, path


async def test_a_profile_is_changed_by_the_rules_of_the_api(world: World) -> None:
    user = world.user(email="ada@example.com")
    browser = await signed_in(world)
    page = await browser.get("/account/profile")
    page = await browser.submit(
        page, name="Ada Lovelace", locale="de_at", zoneinfo="Europe/Vienna",
        phone_number="+44 20 7946 0000", **{"address.locality": "London"},
    )  # fmt: skip
    assert page.status == 200 and '<html lang="de"' in page.answer.text  # these pages follow it
    with world.change() as session:
        row = accounts.get(session, user.id)
        assert (row.name, row.locale, row.phone_number) == (
            "Ada Lovelace", "de-AT", "+442079460000",
        )  # fmt: skip
        assert row.address == {"locality": "London"} and row.email == "ada@example.com"
    first = await browser.get("/account/profile")
    page = await browser.submit(first, name="Ada Byron", locale="en")
    assert "Your profile is saved." in page.text
    page = await browser.submit(first, name="Ada King")  # a tab from before
    assert page.status == 409 and "changed elsewhere" in page.text
    assert page.form.fields["name"] == "Ada Byron"
    page = await browser.submit(
        page, locale="no language at all", picture="http://x.example/", name="x" * 201
    )
    assert page.status == 422 and "There are 3 problems." in page.text
    assert page.form.fields["picture"] == "http://x.example/"  # nothing typed is lost
    html = page.answer.text
    assert 'aria-describedby="locale-wrong locale-hint"' in html and 'href="#picture"' in html
    page = await browser.submit(page, name="", locale="", picture="")
    with world.change() as session:
        assert accounts.get(session, user.id).name is None


@only
async def test_nobody_writes_more_of_themselves_than_a_profile(world: World) -> None:
    user = world.user(email="ada@example.com")
    browser = await signed_in(world)
    page = await browser.get("/account/profile")
    form = page.form.fields | {
        "username": "root", "email": "eve@example.com", "status": "disabled", "roles": "admin",
        "email_verified": "1", "phone_number_verified": "1", "attributes": "{}", "id": "x",
    }  # fmt: skip
    assert "Your profile is saved." in (await browser.post("/account/profile", form)).text
    with world.change() as session:
        row = accounts.get(session, user.id)
        assert (row.username, row.email, row.email_verified) == ("ada", "ada@example.com", False)
        assert accounts.roles_of(session, user.id) == []


async def test_an_email_address_is_changed_and_what_is_taken_is_told_rarely(world: World) -> None:
    user = world.user()
    world.user("eve", email="eve@example.com")
    browser = await signed_in(world)
    page = await browser.get("/account/email")
    for wrong in ("nothing", "a" * 400 + "@example.com", "ada@"):
        page = await browser.submit(page, email=wrong)
        assert page.status == 422 and "That is no e-mail address." in page.text
    for _ in range(10):
        page = await browser.submit(page, email="EVE@example.com")
        assert page.status == 422 and "Another account" in page.text
    page = await browser.submit(page, email="eve@example.com")
    assert page.status == 429
    with clock.frozen() as hand:
        hand.tick(timedelta(minutes=5, seconds=1))
        page = await browser.sign_in(await browser.get("/account/email"))
        page = await browser.submit(page, email="ada@example.com")
    assert "Your e-mail address is changed." in page.text and "not verified" in page.text
    with world.change() as session:
        assert accounts.get(session, user.id).email == "ada@example.com"


async def test_a_new_password_ends_the_other_sessions_and_says_why_one_is_refused(
    world: World,
) -> None:
    user = world.user(email="lovelace.ada@example.com")
    own = Flow(world, code_client(world, "own", first_party=True))
    browser, other = await signed_in(world), await signed_in(world)
    kept, lost = await own.tokens(browser), await own.tokens(other)
    alone = await world.log_in()
    page = await browser.get("/account/password")
    for new, why in (
        ("short", "at least 15 characters"), ("fourteen chars", "at least 15 characters"),
        (PASSWORD, "The new password is the current one."),
        ("lovelace.ada@example.com", "must not be the username"),
        ("aaaaaaaaaaaaaaaaaaaa", "repeats or counts up"), ("x" * 1025, "longer than 1024"),
    ):  # fmt: skip
        page = await browser.submit(page, new_password=new, repeated=new)
        assert page.status == 422 and why in page.text, (new, page.text)
        assert f'value="{new}"' not in page.answer.text and PASSWORD not in page.answer.text
    page = await browser.submit(page, new_password=NEW, repeated=NEW + "x")
    assert page.status == 422 and "not the same" in page.text and NEW not in page.answer.text
    before = browser.cookies["identity"]
    page = await browser.submit(page, new_password=NEW, repeated=NEW)
    assert page.title.startswith("Your account") and "password is changed" in page.text
    assert browser.cookies["identity"] != before  # whoever had it has it no longer
    assert (await other.get("/account")).title.startswith("Sign in")
    assert await world.active(kept["access_token"])
    assert not await world.active(lost["access_token"])
    assert not await world.active(alone["access_token"])
    thief = Browser(world.api)
    thief.cookies.set("identity", before, domain="127.0.0.1", path="/")
    assert (await thief.get("/account")).title.startswith("Sign in")
    assert len(await world.events("user.password_changed")) == 1
    assert (await world.token(grant_type="password", username="ada", password=NEW)).is_success
    assert user.username == "ada"


@only
async def test_with_a_second_factor_eight_characters_will_do(world: World) -> None:
    _user, app = with_app(world)
    browser = await signed_in(world, app=app)
    page = await browser.get("/account/password")
    assert "At least 8 characters." in page.text
    page = await browser.submit(page, new_password="kelp 7!r", repeated="kelp 7!r")
    assert "Your password is changed" in page.text, page.text


async def test_this_was_not_me_ends_everything_at_once_and_goes_on_with_a_new_password(
    world: World,
) -> None:
    world.user()
    own = Flow(world, code_client(world, "own", first_party=True))
    browser, thief = await signed_in(world), await signed_in(world)
    mine, theirs = await own.tokens(browser), await own.tokens(thief)
    page = await browser.get("/account/not-me")
    page = await browser.submit(page, new_password="short", repeated="short")
    assert page.status == 422
    assert await world.active(theirs["access_token"])  # one without the other is nothing
    before = browser.cookies["identity"]
    page = await browser.submit(page, new_password=NEW, repeated=NEW)
    assert page.title.startswith("Your account") and "Everything that was signed in" in page.text
    assert (await thief.get("/account")).title.startswith("Sign in")
    assert browser.cookies["identity"] != before
    for tokens in (mine, theirs):
        assert not await world.active(tokens["access_token"])
    assert (await world.token(grant_type="password", username="ada", password=PASSWORD)
            ).status_code == 400  # fmt: skip
    assert [each.detail for each in await world.events("user.secured")] == [{"by": "page"}]


async def test_sessions_are_shown_and_ended_one_by_one_or_all_but_this(world: World) -> None:
    world.user()
    own = Flow(world, code_client(world, "own", first_party=True, name="Own"))
    browser, other, third = [await signed_in(world) for _ in range(3)]
    tokens = await own.tokens(other)
    login = await world.log_in()
    page = await browser.get("/account/sessions")
    assert page.text.count("this one") == 1 and page.text.count("Own") == 1
    assert "The program python-httpx" in page.text and "127.0.0.1" in page.text
    mine = await browser.get("/account/sessions")
    page = await press(browser, mine, "login")
    assert "That session has ended." in page.text
    assert not await world.active(login["access_token"])
    page = await press(browser, mine, "login")  # from the page of before
    assert "had ended already" in page.text
    while "browser" in {value for form in page.forms for _, value, _ in form.buttons}:
        page = await press(browser, page, "browser")
    assert not await world.active(tokens["access_token"])
    for ended in (other, third):
        assert (await ended.get("/account")).title.startswith("Sign in")
    again, login = await signed_in(world), await world.log_in()
    kept = await own.tokens(browser)
    page = await press(browser, await browser.get("/account/sessions"), "others")
    assert "signed out everywhere but here" in page.text
    assert (await again.get("/account")).title.startswith("Sign in")
    assert not await world.active(login["access_token"])
    assert await world.active(kept["access_token"])


async def test_applications_are_shown_with_what_they_may_and_lose_it(world: World) -> None:
    world.user()
    shop = Flow(world, code_client(world, name="<b>The Shop</b>"))
    own = Flow(world, code_client(world, "own", first_party=True, name="Own"))
    browser = await signed_in(world)
    theirs, ours = await shop.tokens(browser), await own.tokens(browser)
    page = await browser.get("/account/applications")
    assert "See your e-mail address" in page.text and "<b>The Shop</b>" in page.text
    assert "<b>" not in page.answer.text
    page = await press(browser, page, "revoke")  # by name: the shop's is first
    assert "can do nothing in your name" in page.text and "The Shop" not in page.text
    assert not await world.active(theirs["access_token"])
    assert (await world.refresh(theirs["refresh_token"], shop.client)).status_code == 400
    assert await world.active(ours["access_token"])
    assert (await shop.start(browser))[0].title.startswith("Allow access")  # asked again
    page = await press(browser, page, "revoke")
    assert not await world.active(ours["access_token"])
    assert "No application may act" in page.text


# --- What is anothers --------------------------------------------------------------------------


async def test_nobody_ends_a_session_or_takes_back_a_consent_of_another(world: World) -> None:
    world.user()
    eve = world.user("eve")
    shop = Flow(world, code_client(world))
    victim, thief = await signed_in(world), await signed_in(world, "eve")
    tokens = await shop.tokens(victim)
    login = await world.log_in()
    page = await victim.get("/account/sessions")
    ids = re.findall(r'name="session" value="([^"]+)"', page.answer.text)
    events = [event.detail for event in await world.events("login")]
    assert ids and events
    with world.change() as session:
        ids += session.exec(select(BrowserSession.id).where(BrowserSession.user_id != eve.id)).all()
        ids += session.exec(select(LoginSession.id).where(LoginSession.user_id != eve.id)).all()
    for session_id in {*ids, "x", ""}:
        for act in ("browser", "login", "others", "revoke", ""):
            form = {"user": eve.id, "act": act, "session": session_id}
            assert (await thief.post("/account/sessions", form)).status == 200
    form = {"user": eve.id, "act": "revoke", "client": shop.client.id}
    page = await thief.post("/account/applications", form)
    assert "could do nothing in your name already" in page.text
    assert await world.active(tokens["access_token"]) and await world.active(login["access_token"])
    assert "The Shop" in (await victim.get("/account/applications")).text
    assert (await victim.get("/account")).title.startswith("Your account")


@only
@pytest.mark.parametrize("path", [path for path in PAGES if path not in ("", "/history")])
async def test_a_form_of_somebody_who_was_here_before_does_nothing_to_who_is_now(
    world: World, path: str
) -> None:
    """In another tab another has signed in, who has stepped up; or the form says who it is for, and
    it is not who sits there."""
    ada, eve = world.user(email="ada@example.com"), world.user("eve")
    browser = await signed_in(world)
    page = await browser.get(f"/account{path}")
    forms = [*page.forms, Form(f"/account{path}", "post", {"user": ada.id, "act": "others"})]
    await browser.post("/sign-in", {"username": "eve", "password": PASSWORD})
    assert (await browser.get("/account")).text.count("eve") >= 1
    typed = {"new_password": NEW, "repeated": NEW, "name": "Ada", "email": "new@example.com",
             "typed": "eve"}  # fmt: skip
    for form in forms:
        acts = {name: value for name, value, _ in form.buttons if name}
        answer = await browser.post(f"/account{path}", {**form.fields, **acts, **typed})
        assert answer.status == 409 and "Somebody else has signed in" in answer.text
    answer = await browser.post(f"/account{path}", {**typed, "act": "others"})
    assert answer.status == 409
    with world.change() as session:
        row = accounts.get(session, eve.id)
        assert (row.name, row.email, row.deletion_due_at) == (None, None, None)
    assert (await world.token(grant_type="password", username="eve", password=PASSWORD)).is_success


@only
async def test_what_anybody_writes_about_themselves_is_shown_as_text(world: World) -> None:
    evil = '"><img src=x onerror=alert(1)>{{7*7}}%(x)s'
    world.user("ada", name=evil, known={"family_name": evil, "address": {"formatted": evil}})
    code_client(world, name=evil)
    flow = Flow(world, code_client(world, "evil", name=evil, scopes=["*"]))
    browser = Browser(world.api)
    browser._api.headers["user-agent"] = f"Mozilla/5.0 {evil}"
    await browser.sign_in(await browser.get("/sign-in"))
    await flow.tokens(browser)
    await world.token(grant_type="password", username="ada", password=evil)
    for path in PAGES:
        asked = urlencode({"done": evil, "before": evil})
        page = await browser.get(f"/account{path}?{asked}")
        assert page.status == 200 and "<img src=x" not in page.answer.text, path
    page = await browser.get("/account/profile")
    assert page.form.fields["name"] == evil


# --- What happened -------------------------------------------------------------------------------


async def test_history_tells_ones_own_in_plain_words_and_of_90_days(world: World) -> None:
    user, eve = world.user(), world.user("eve")
    await world.token(grant_type="password", username="ada", password="wrong, but long")
    await world.token(grant_type="password", username="eve", password="wrong, but long")
    browser = await signed_in(world)
    own = Flow(world, code_client(world, "own", first_party=True, name="Own"))
    await own.tokens(browser)
    with world.change() as session:
        accounts.set_roles(session, accounts.get(session, user.id, lock=True), [], None)
        admin: dict[str, Any] = {
            "outcome": "success", "actor_type": "user", "actor": eve.id, "address": "192.0.2.9",
        }  # fmt: skip
        now = clock.utcnow()
        session.add(AuditEvent(event="user.disabled", at=now, subject=user.id, **admin))
        session.add(AuditEvent(event="new.kind", at=now, subject=user.id, **admin))
        old = now - timedelta(days=91)
        session.add(AuditEvent(event="user.enabled", at=old, subject=user.id, **admin))
    page = await browser.get("/account/history")
    assert "You signed in" in page.text and "Somebody gave a wrong password" in page.text
    assert "The account was disabled" in page.text and "by an administrator" in page.text
    assert "Something else: new.kind" in page.text
    assert "enabled again" not in page.text
    for secret in (eve.id, "192.0.2.9"):
        assert secret not in page.answer.text


async def test_a_long_history_comes_in_pages_each_event_once(world: World) -> None:
    user = world.user()
    browser = await signed_in(world)
    said: dict[str, Any] = {
        "outcome": "success", "actor_type": "user", "actor": user.id, "at": clock.utcnow(),
        "subject": user.id,
    }  # fmt: skip
    with world.change() as session:
        session.add_all(AuditEvent(event=f"kind.n{n}", **said) for n in range(120))
        session.add_all(AuditEvent(event="token.issued", **said) for n in range(200))
    seen: list[str] = []
    address: str | None = "/account/history"
    while address:
        page = await browser.get(address)
        seen += re.findall(r"kind\.n\d+", page.text)
        older = re.search(r'href="(/account/history\?before=\d+)"', page.answer.text)
        address = older[1] if older else None
    assert len(seen) == len(set(seen)) == 120
    for wrong in ("x", "-1", "9" * 30, "0", "1e3", "１"):
        assert (await browser.get(f"/account/history?before={wrong}")).status == 200


async def test_history_goes_by_an_index(world: World) -> None:
    query = "SELECT id FROM audit_event WHERE subject = 'x' AND at > '2020-01-01' ORDER BY id DESC"
    assert timedelta(days=90) == own_account.HISTORY
    with world.change() as session:
        if world.services.db.dialect == "postgresql":
            session.execute(text("SET LOCAL enable_seqscan = off"))
            session.execute(text("SET LOCAL enable_bitmapscan = off"))  # of pages that were used
            plan = session.execute(text(f"EXPLAIN {query} LIMIT 51")).all()
        else:
            plan = session.execute(text(f"EXPLAIN QUERY PLAN {query} LIMIT 51")).all()
    words = " ".join(str(row) for row in plan)
    assert "ix_audit_event_subject_id" in words and "TEMP B-TREE" not in words, words
    assert "Sort" not in words, words


# --- Taking it along, and leaving ---------------------------------------------------------------


async def test_what_is_known_is_downloaded_without_a_secret(world: World) -> None:
    user, app = with_app(world, email="ada@example.com", name="Ada")
    shop = Flow(world, code_client(world))
    browser = await signed_in(world, app=app)
    await shop.tokens(browser)
    page = await press(browser, await browser.get("/account/data"), "download")
    answer = page.answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"] == 'attachment; filename="account.json"'
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert told["account"]["email"] == "ada@example.com"
    assert told["applications"][0]["client_id"] == "shop"
    assert len(told["browser_sessions"]) == 1 and told["second_factors"]["recovery_codes"]["left"]
    assert "login" in {event["event"] for event in told["history"]}
    with world.change() as session:
        row = accounts.get(session, user.id)
    for secret in (row.password_hash, app.secret, "digest", browser.cookies["identity"], "bs_"):
        assert secret and secret not in answer.text
    assert (await browser._api.get("/account/data")).headers["content-type"].startswith("text/html")


async def test_an_account_is_deleted_after_its_grace_and_had_back_by_signing_in(
    world: World,
) -> None:
    user = world.user()
    login = await world.log_in()
    with clock.frozen() as hand:
        browser = await signed_in(world)
        page = await browser.get("/account/delete")
        page = await browser.submit(page, typed="somebody")
        assert page.status == 422 and "Type your username" in page.text
        assert await world.active(login["access_token"])
        page = await browser.submit(page, typed="ada")
        assert page.title.startswith("Deleted") and "Sign in before then" in page.text
        assert not await world.active(login["access_token"])
        assert (await browser.get("/account")).title.startswith("Sign in")
        hand.tick(timedelta(days=13))
        assert await complete(world) == 0
        browser = await signed_in(world)  # which is all that it takes
        assert len(await world.events("user.deletion_undone")) == 1
        hand.tick(timedelta(days=2))
        assert await complete(world) == 0
        page = await browser.sign_in(await browser.get("/account/delete"))
        page = await browser.submit(page, typed="ada")
        hand.tick(timedelta(days=14, seconds=1))
        await Housekeeping(world.services).delete_left()
        assert await complete(world) == 0
    assert len(await world.events("user.deleted")) == 1
    assert (await world.token(grant_type="password", username="ada", password=PASSWORD)
            ).status_code == 400  # fmt: skip
    (asked, again) = await world.events("user.deletion_requested")
    assert asked.actor == again.actor == user.id


async def complete(world: World) -> int:
    return await world.services.db.write(leaving.complete)


async def test_the_last_administrator_stays(world: World) -> None:
    """Asked, and once it would be done: who was not the last may have become it."""
    browser = await signed_in_as_admin(world)
    page = await browser.submit(await browser.get("/account/delete"), typed="admin")
    assert page.status == 409 and "last administrator" in page.text
    world.user("root", roles=["admin"])
    with clock.frozen() as hand:
        page = await browser.submit(await browser.get("/account/delete"), typed="admin")
        assert page.title.startswith("Deleted")
        with world.change() as session:
            other = accounts.find_by_login(session, "root")
            assert other is not None
            session.delete(other)
        hand.tick(timedelta(days=15))
        assert await complete(world) == 1
    with world.change() as session:
        left = accounts.find_by_login(session, "admin")
        assert left is not None and left.deletion_due_at is None


async def signed_in_as_admin(world: World) -> Browser:
    browser = Browser(world.api)
    page = await browser.sign_in(await browser.get("/sign-in"), "admin", ADMIN_PASSWORD)
    assert page.title.startswith("Your account"), page.text
    return browser


async def test_the_api_does_the_same(world: World) -> None:
    user = world.user(email="ada@example.com")
    with clock.frozen() as hand:
        token = bearer((await world.log_in(scope="account"))["access_token"])
        told = await world.api.get("/users/me/data", headers=token)
        assert told.status_code == 200 and told.json()["account"]["id"] == user.id
        hand.tick(timedelta(minutes=6))
        for method, path in (("GET", "/users/me/data"), ("DELETE", "/users/me")):
            old = await world.api.request(method, path, headers=token)
            assert old.status_code == 403 and 'max_age="300"' in old.headers["www-authenticate"]
        token = bearer((await world.log_in(scope="account"))["access_token"])
        answer = await world.api.delete("/users/me", headers=token)
        assert answer.status_code == 202, answer.text
        assert json.loads(answer.text)["deletion_due_at"]
        assert (await world.api.get("/users/me", headers=token)).status_code == 401
        await world.log_in()  # a program's login has it back as well
        assert len(await world.events("user.deletion_undone")) == 1
    app = given_app(world, user)
    with clock.frozen() as hand:
        hand.tick(timedelta(minutes=1))
        answer = await world.token(
            grant_type="password", username="ada", password=PASSWORD, otp=app.code(),
            scope="account",
        )  # fmt: skip
        token = bearer(answer.json()["access_token"])
        assert (await world.api.delete("/users/me", headers=token)).status_code == 202
