"""Administrators at the console, without a window: whoever signs in and what their roles hold."""

from typing import Any
from urllib.parse import urlencode

from sqlmodel import Session

from identity.authentication.mail.outbox import OutgoingMail
from identity.clock import utcnow
from identity.directory.access import editing
from identity.directory.access.table import Scope
from identity.directory.users.table import User
from tests.browsing import Browser, Page
from tests.world import World

CONSOLE = "/console"


def at(path: str, **query: str) -> str:
    return f"{CONSOLE}{path}" + (f"?{urlencode(query)}" if query else "")


def role(world: World, name: str, *scopes: str, acr: str | None = None) -> str:
    with world.change() as session:
        for scope in scopes:
            if session.get(Scope, scope) is None:
                editing.create_scope(session, name=scope)
        editing.create_role(session, name=name, scopes=scopes, acr=acr, held=None)
    return name


def somebody(world: World, *scopes: str, username: str = "ada", **fields: Any) -> User:
    """A user with a role of exactly these scopes."""
    roles = [role(world, f"{username}s", *scopes)] if scopes else []
    return world.user(username, roles=roles, **fields)


def administrator(world: World, username: str = "root", **fields: Any) -> User:
    return world.user(username, roles=["admin"], **fields)


async def seated(world: World, username: str = "root") -> Browser:
    """Signed in a moment ago."""
    browser = Browser(world.api)
    page = await browser.get("/sign-in?to=%2Fconsole")
    await browser.sign_in(page, username)
    assert "identity" in browser.cookies
    return browser


async def act(browser: Browser, address: str, name: str, /, **form: Any) -> Page:
    """Send the sheet at `address` as it is shown, but for `form`, or press a button there."""
    page = await browser.get(address)
    fields = sheet_of(page)
    return await post(browser, address, {**fields, "act": name, **form})


def sheet_of(page: Page) -> dict[str, Any]:
    """What the form of a sheet would send untouched. Boxes and lists are read elsewhere."""
    forms = [form for form in page.forms if form.method == "post"]
    hidden = forms[0].fields if forms else {}
    return {name: value for name, value in hidden.items() if name == "version"}


async def post(browser: Browser, address: str, form: dict[str, Any]) -> Page:
    pairs = [
        (name, each)
        for name, value in form.items()
        for each in (value if isinstance(value, list) else [value])
    ]
    answer = await browser._api.post(
        address,
        content=urlencode(pairs),
        headers={
            "content-type": "application/x-www-form-urlencoded",
            "origin": browser.origin,
            "sec-fetch-site": "same-origin",
        },
    )
    return await browser._follow(answer)


def a_lost_mail(world: World, kind: str = "test", **fields: Any) -> str:
    """A mail that was given up; it cannot be opened unless `fields` say what is sealed."""
    now = utcnow()
    row = OutgoingMail(
        kind=kind, target="nobody", noted_at=now, due_at=now, attempts=3, given_up_at=now,
        **{"last_error": "(550, 'no such box')", **fields},
    )  # fmt: skip
    mail_id = row.id
    with world.change() as session:
        session.add(row)
    return mail_id


async def locked(world: World, username: str, **headers: str) -> None:
    """So many wrong passwords that nobody may try another one from here."""
    form = {"grant_type": "password", "username": username, "password": "wrong"}
    for _ in range(world.services.settings.throttle.login_max_failures):
        await world.api.post("/token", data=form, headers=headers)


def with_session(world: World, unit: Any) -> Any:
    with world.change() as session:
        assert isinstance(session, Session)
        return unit(session)
