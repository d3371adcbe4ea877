"""Users out of the console as a file and into it, and acts on many of them."""

import asyncio
import csv
import html
import io
import json
import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from sqlalchemy import text
from sqlmodel import func, select

from identity import clock
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.pages.console import bulk_acts, users_import
from identity.pages.console.streaming import Pieces
from identity.service import bulk
from identity.service.importing import IMPORT_LIMIT, batches
from tests.browsing import Browser, Page
from tests.pages.console.sitting import administrator, at, post, role, seated, somebody
from tests.world import World

EVIL = "<img src=x onerror=alert(1)>\"'"
FORMULAS = ["=1+1", "+49", "-2", "@SUM(A1)", "\tx", '=HYPERLINK("https://evil.example")']
IMPORT = at("/users-import")


async def send(
    browser: Browser, content: bytes, act: str = "look", name: str = "users.csv", **fields: str
) -> Page:
    """As a browser sends the form."""
    answer = await browser._api.post(
        IMPORT, data={"act": act, **fields}, files={"file": (name, content)},
        headers={"origin": browser.origin, "sec-fetch-site": "same-origin"},
    )  # fmt: skip
    return await browser._follow(answer)


def again(page: Page) -> dict[str, str]:
    """What the form that is shown with a dry run carries."""
    (form,) = [form for form in page.forms if form.method == "post"]
    return {name: value for name, value in form.fields.items() if name != "file"}


def counts(page: Page) -> dict[str, int]:
    """The newest of them."""
    last = page.answer.text.rpartition('<dl class="facts">')[2]
    pairs = re.findall(r"<dt>(.*?)</dt><dd>(\d+)", last)
    return {name: int(value) for name, value in pairs}


def people(world: World) -> int:
    with world.change() as session:
        return session.exec(select(func.count()).select_from(User)).one()


# --- Out -------------------------------------------------------------------------------------


async def exported(browser: Browser, form: str = "csv", **query: str) -> httpx.Response:
    address = at("/users", do="export", **query)
    page = await post(browser, address, {"act": "export", "format": form})
    assert page.status == 200, page.text
    return page.answer


async def test_an_export_has_whom_the_list_shows_and_no_formula(world: World) -> None:
    administrator(world)
    role(world, "clerk")
    for n, name in enumerate(FORMULAS):
        user = world.user(f"user{n}", roles=["clerk"])
        with world.change() as session:  # none with a tab is taken any more
            session.get_one(User, user.id).name = name
    world.user("zoe", name="Zoë")
    browser = await seated(world)
    page = await browser.get(at("/users", role="clerk", q="user"))
    link = re.search(r'href="([^"]+do=export[^"]*)"', page.answer.text)
    assert link is not None and "q=user" in link[1] and "role=clerk" in link[1]
    sheet = await browser.get(html.unescape(link[1]))
    assert "clerk" in sheet.text and "On record" not in sheet.text
    answer = await exported(browser, role="clerk", q="user")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="users.csv"'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [row["name"] for row in rows] == [f"'{name}" for name in FORMULAS]
    assert not any(
        cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values()
    )
    lines = (await exported(browser, "ndjson", q="oë")).text.splitlines()  # inside a name
    assert [json.loads(line)["username"] for line in lines] == ["zoe"]
    assert len((await exported(browser)).text.splitlines()) == people(world) + 1
    (first, *_), (ended, *_) = (
        await world.events("users.exported"),
        await world.events("users.export_ended"),
    )
    assert first.detail["role"] == "clerk" and ended.detail["whole"] is True


async def test_an_export_takes_the_scope_and_a_fresh_proof(world: World) -> None:
    somebody(world, "users:read", username="eve")
    somebody(world, "clients:read", username="bob")
    address = at("/users", do="export")
    with clock.frozen() as hand:
        browser = await seated(world, "eve")
        assert (await browser.get(address)).title.startswith("Export users")
        hand.tick(timedelta(minutes=6))
        for page in (
            await browser.get(address),
            await post(browser, address, {"act": "export", "format": "csv"}),
        ):
            assert "Confirm that it is you" in page.text
        page = await browser.sign_in(await browser.get(address), "eve")
        assert page.title.startswith("Export users")  # and back
    page = await post(await seated(world, "bob"), address, {"act": "export", "format": "csv"})
    assert page.status == 403 and "users:read" in page.text
    cross = await browser.post(address, {"act": "export"}, sec_fetch_site="cross-site")
    assert cross.status == 403
    wrong = await post(browser, address, {"act": "export", "format": "xlsx"})
    assert wrong.status == 422
    assert await world.events("users.exported") == []


# --- In --------------------------------------------------------------------------------------


async def test_a_file_is_looked_at_first_and_then_done(world: World) -> None:
    root = administrator(world)
    role(world, "clerk")
    world.user("ada", name="Ada")
    browser = await seated(world)
    content = (
        b"username,name,roles,email\nada,Countess,,\ngrace,Grace,clerk,grace@example.com\n"
        b"bad name,x,,\nlin,Lin,nobodys,\n"
    )
    before = people(world)
    page = await send(browser, content, update="yes")
    assert page.status == 200 and page.title.startswith("What the file would do")
    assert counts(page) == {
        "Lines read": 4, "would be created": 1, "would be changed": 1, "stay as they are": 0,
        "wrong": 2,
    }  # fmt: skip
    assert "Line 4" in page.text and "Line 5" in page.text and "no such role: nobodys" in page.text
    assert people(world) == before and await world.events("user.created") is not None
    form = again(page)
    assert form["update"] == "yes" and form["format"] == "csv"
    changed = await send(browser, content + b"eve,,,\n", "carry_out", **form)
    assert changed.status == 422 and "not the file that was looked at" in changed.text
    assert people(world) == before
    page = await send(browser, content, "carry_out", **form)
    assert "That was the whole file" in page.text and counts(page)["created"] == 1
    with world.change() as session:
        grace = accounts.find_by_login(session, "grace@example.com")
        ada = accounts.find_by_login(session, "ada")
        assert grace is not None and accounts.roles_of(session, grace.id) == ["clerk"]
        assert ada is not None and ada.name == "Countess"
    (event,) = [e for e in await world.events("user.created") if e.subject == grace.id]
    assert (event.actor_type, event.actor) == ("user", root.id)
    dry, done = await world.events("users.imported")
    assert (dry.detail["dry_run"], done.detail["dry_run"]) == (True, False)
    assert done.detail["created"] == 1 and "why" not in done.detail


@pytest.mark.parametrize(
    ("content", "name", "fields", "words"),
    [
        (b"", "", {}, "Choose a file"),
        (b"", "users.csv", {}, "file is empty"),
        (b"name\nx\n", "users.csv", {}, "username among them"),
        (b"username,password\nx,y\n", "users.csv", {}, "plain passwords"),
        (b"username,username\nx,y\n", "users.csv", {}, "a column twice"),
        (b"username\nx\n", "users.xlsx", {}, "choose it"),
        (b"username\nx\n", "users", {}, "choose it"),
        (b"username\nx\n", "users.csv", {"format": "exe"}, "Choose one of them"),
        (b"{}", "users.json", {"format": "keycloak"}, "list of users"),
        (b"[" * 90_000, "users.json", {"format": "keycloak"}, "users"),
    ],
)
async def test_what_is_no_file_of_users_is_said_on_the_form(
    world: World, content: bytes, name: str, fields: dict[str, str], words: str
) -> None:
    administrator(world)
    browser = await seated(world)
    page = await send(browser, content, name=name, **fields)
    assert page.status == 422 and words in page.text, page.text
    assert 'enctype="multipart/form-data"' in page.answer.text


def wrong_lines() -> list[bytes]:
    """One of every kind."""
    return [
        b'two words,,,,,,', b',no name,,,,,', b'x,,not an address,,,,', b'y,,,$9$what,,,',
        b'z,,,,nobodys,,', b'a,b,c,d,e,f,g,h,i', b'"open,,,,,,', b'w,,,,,perhaps,',
        b'v,,,,,,perhaps', b'\xff\xfe,,,,,,', b'=cmd|calc,,,,,,', b'u' * 300 + b',,,,,,',
        b'ok1,' + b'n' * 500 + b',,,,,', f'{EVIL},,,,,,'.encode(), b'nul\0,,,,,,',
        b'same,,,,,,', b'SAME,,,,,,', b'root,,taken@example.com,,,,',
    ]  # fmt: skip


async def test_ten_thousand_lines_with_every_kind_of_wrong_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users_import, "MOST_SHOWN", 100)
    administrator(world)
    world.user("taken", email="taken@example.com")
    browser = await seated(world)
    head = b"username,name,email,password_hash,roles,status,email_verified"
    kinds, lines = wrong_lines(), []
    for n in range(10_000):
        at_kind = n // 10 % len(kinds)
        wrong = kinds[at_kind].replace(b"x,", b"x%d," % n, 1) if n % 10 == 0 else None
        lines.append(wrong if wrong is not None else b"somebody%d,Some Body %d,,,,," % (n, n))
    content = b"\n".join([head, *lines]) + b"\n"
    before = people(world)
    page = await send(browser, content)
    assert page.status == 200
    told = counts(page)
    assert told["would be created"] > 4_000 and told["wrong"] > 300  # a quote swallows lines
    assert "not shown" in page.text and page.answer.text.count('class="one"') == 100
    assert "<img src=x" not in page.answer.text and len(page.answer.content) < 400_000
    assert people(world) == before
    page = await send(browser, content, "carry_out", **again(page))
    done = counts(page)
    assert done["created"] == told["would be created"] and done["wrong"] == told["wrong"]
    assert people(world) == before + done["created"]
    page = await send(browser, content)  # simply sent again
    assert counts(page)["would be created"] == 0 and "nothing to do" in page.text


async def test_an_import_cut_off_in_the_middle_keeps_whole_batches_and_is_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is closed after the second batch."""
    monkeypatch.setattr(batches, "BATCH", 10)
    administrator(world)
    browser = await seated(world)
    content = b"username\n" + b"".join(b"user%d\n" % n for n in range(50))
    form = again(await send(browser, content))
    before, sent, following = people(world), 0, Pieces.next

    async def following_until_left(self: Pieces) -> bytes | None:
        nonlocal sent
        sent += 1
        if sent == 4:  # behind the head and two batches
            self.close()
        return await following(self)

    monkeypatch.setattr(Pieces, "next", following_until_left)
    page = await send(browser, content, "carry_out", **form)
    monkeypatch.setattr(Pieces, "next", following)
    assert counts(page)["created"] == 20 and "whole file" not in page.text
    assert people(world) == before + 20
    assert bulk._under_way == set()
    (event,) = [e for e in await world.events("users.imported") if not e.detail["dry_run"]]
    assert event.detail["why"] == "cut off" and event.detail["created"] == 20
    page = await send(browser, content, "carry_out", **form)
    assert counts(page)["created"] == 30 and people(world) == before + 50


async def test_nobody_imports_what_they_could_not_give(world: World) -> None:
    somebody(world, "users:read", "users:write", username="eve")
    root = administrator(world)
    browser = await seated(world, "eve")
    content = b"username,roles,status\nmallory,admin,\nroot,,disabled\n"
    page = await send(browser, content, update="yes")
    assert counts(page)["wrong"] == 2 and "you cannot give what you do not hold" in page.text
    page = await send(browser, b"username\nmallory\n", update="yes")
    page = await send(browser, b"username\nmallory\n", "carry_out", **again(page))
    assert counts(page)["created"] == 1
    with world.change() as session:
        mallory = accounts.find_by_login(session, "mallory")
        assert mallory is not None and accounts.roles_of(session, mallory.id) == []
        assert accounts.get(session, root.id).status == "active"


async def test_an_import_takes_the_scope_a_fresh_proof_and_our_own_form(world: World) -> None:
    somebody(world, "users:read", username="bob")
    administrator(world)
    content, before = b"username\nx\n", people(world)
    page = await send(await seated(world, "bob"), content)
    assert page.status == 403 and "users:write" in page.text
    page = await send(Browser(world.api), content)
    assert page.title.startswith("Sign in")
    with clock.frozen() as hand:
        browser = await seated(world)
        page = await browser._api.post(
            IMPORT, data={"act": "look"}, files={"file": ("users.csv", content)},
            headers={"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        )  # fmt: skip
        assert page.status_code == 403
        hand.tick(timedelta(minutes=6))
        for page in (await browser.get(IMPORT), await send(browser, content)):
            assert "Confirm that it is you" in page.text
    assert people(world) == before and await world.events("users.imported") == []


async def test_forms_that_no_browser_sends_are_refused(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    said = {"origin": browser.origin, "sec-fetch-site": "same-origin"}
    for kind, content in (
        ("application/x-www-form-urlencoded", b"act=look&file=x"),
        ("multipart/form-data; boundary=x", b"--x\r\ncut"),
        ("multipart/form-data; boundary=x", b""),
    ):
        answer = await browser._api.post(
            IMPORT, content=content, headers={**said, "content-type": kind}
        )
        assert answer.status_code == 400, answer.text
    page = await send(browser, b"username\nx\n", "nonsense")
    assert page.status == 404
    answer = await browser._api.post(
        IMPORT, content=b"", headers={**said, "content-length": str(IMPORT_LIMIT + 1)}
    )
    assert answer.status_code == 413
    assert bulk._under_way == set()


# --- Many at once ----------------------------------------------------------------------------


async def test_all_that_a_list_finds_are_looked_at_and_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    administrator(world)
    role(world, "clerk")
    with world.change() as session:
        for n in range(70):
            accounts.create(session, username=f"user{n:02}", roles=["clerk"] if n else [])
    browser = await seated(world)
    address = at("/users", role="clerk", q="user")
    asked = {"act": "bulk", "bulk": "disable", "whom": "all"}
    page = await post(browser, address, asked)
    assert "This is about 69 users" in page.text
    (form,) = [form for form in page.forms if form.method == "post"]
    ids = re.findall(r'name="user" value="([^"]+)"', page.answer.text)
    assert len(ids) == 69 and form.action.endswith(address.removeprefix("/console"))
    page = await post(browser, address, {"act": "carry_out", "bulk": "disable", "user": ids})
    assert page.text.count("done") == 69 and "69 of 69" in page.text
    assert {e.subject for e in await world.events("user.disabled")} == set(ids)
    monkeypatch.setattr("identity.pages.console.users.MOST_AT_ONCE", 5)
    monkeypatch.setattr(bulk_acts, "MOST_AT_ONCE", 5)
    page = await post(browser, address, asked)
    assert "This is about 5 users" in page.text and "At most 5 at once" in page.text


async def test_acts_on_many_are_cut_off_where_nobody_listens(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown is done, and nothing behind it."""
    administrator(world)
    users = [world.user(f"a{n}") for n in range(4)]
    browser = await seated(world)
    tried = 0
    act = bulk_acts.BULK["disable"]

    def disable(session: Any, of: str, seat: Any, role: str) -> object:
        nonlocal tried
        tried += 1
        if tried == 3:
            from identity.errors import Unavailable

            raise Unavailable(1, "gone")
        return act.act(session, of=of, seat=seat, role=role)

    monkeypatch.setitem(bulk_acts.BULK, "disable", act._replace(act=disable))
    form = {"act": "carry_out", "bulk": "disable", "user": [user.id for user in users]}
    page = await post(browser, at("/users"), form)
    assert "3 of 4" in page.text and "4 of 4" not in page.text and "1 refusal" in page.text
    assert len(await world.events("user.disabled")) == 2


async def test_dormant_users_are_listed_the_longest_ago_first(world: World) -> None:
    administrator(world)
    with world.change() as session:
        for n in range(60):
            user = accounts.create(session, username=f"user{n:02}")
            user.last_login_at = clock.utcnow() - timedelta(days=200 - n)
            session.add(user)
    browser = await seated(world)
    page = await browser.get(at("/users", view="dormant"))
    seen = re.findall(r"user\d\d", page.text)
    assert seen == [f"user{n:02}" for n in range(40)]
    link = re.search(r'rel="next" href="([^"]+)"', page.answer.text)
    assert link is not None
    page = await browser.get(html.unescape(link[1]))
    assert re.findall(r"user\d\d", page.text) == [f"user{n:02}" for n in range(40, 60)]
    assert (await browser.get(f"{at('/users')}?{urlencode({'view': EVIL})}")).status == 200


async def test_who_ceases_to_be_an_administrator_acts_on_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = administrator(world)
    users = [world.user(f"a{n}") for n in range(4)]
    browser = await seated(world)
    act, done = bulk_acts.BULK["disable"], 0

    def disable(session: Any, of: str, seat: Any, role: str) -> object:
        nonlocal done
        done += 1
        if done == 2:
            demote(session, root.id)
        return act.act(session, of=of, seat=seat, role=role)

    monkeypatch.setitem(bulk_acts.BULK, "disable", act._replace(act=disable))
    form = {"act": "carry_out", "bulk": "disable", "user": [user.id for user in users]}
    page = await post(browser, at("/users"), form)
    assert "You may not do this any more" in page.text and "3 of 4" in page.text
    assert len(await world.events("user.disabled")) == done == 2


def demote(session: Any, user_id: str) -> None:
    accounts.set_roles(session, accounts.get(session, user_id, lock=True), [], None)


async def test_oneself_comes_last_of_many(world: World) -> None:
    """To be signed out, or to lose the role, would be the end of what is under way."""
    root = administrator(world)
    users = [root, *(world.user(f"a{n}") for n in range(3))]
    browser = await seated(world)
    form = {"act": "carry_out", "bulk": "sign_out", "user": [user.id for user in users]}
    page = await post(browser, at("/users"), form)
    assert page.text.count("done") == 4 and "4 of 4" in page.text
    assert (await browser.get(at("/users"))).title.startswith("Sign in")


async def test_of_two_who_give_and_take_at_once_neither_undoes_the_other(
    world: World, dialect: str
) -> None:
    user = world.user("ada", roles=[role(world, "old")])
    role(world, "new")
    seat: Any = SimpleNamespace(held=None)

    def take() -> None:
        with world.change() as session:
            bulk_acts.BULK["take"].act(session, of=user.id, seat=seat, role="old")

    with world.change() as session:
        bulk_acts.BULK["give"].act(session, of=user.id, seat=seat, role="new")
        other = asyncio.create_task(asyncio.to_thread(take))
        await asyncio.sleep(0)
        while dialect == "postgresql" and not waits(session):
            assert not other.done()
    await other
    with world.change() as session:
        assert accounts.roles_of(session, user.id) == ["new"]


def waits(session: Any) -> bool:
    """Whether somebody waits for a lock in this database."""
    asked = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT granted"
    return bool(session.execute(text(f"{asked} AND a.datname = current_database()")).scalar_one())
