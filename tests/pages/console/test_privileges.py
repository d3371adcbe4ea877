"""Who may what at the console: what the API would refuse is neither shown nor done here."""

import re
from typing import Any

import pytest

from identity.api.application import build
from identity.directory.users import accounts
from identity.oauth.grants.registry import GRANTS
from identity.pages import load
from identity.pages.console.screens import SCREENS
from identity.pages.registry import House
from tests.browsing import code_client
from tests.pages.console.sitting import (
    a_lost_mail,
    administrator,
    at,
    locked,
    post,
    seated,
    somebody,
)
from tests.second_factors import given_app
from tests.world import World

CONSOLE_ALONE = {
    "settings": "the operator's settings, read-only: the API has nothing like it",
    "search": "asks the lists of users and of clients, both at once",
}
"""Screens that no operation of the API is behind, and why."""


async def _desks(world: World) -> list[tuple[Any, Any]]:
    house = House(world.services)
    house.grants = GRANTS
    return [(screen, await load(f"console.{screen.module}").page(house)) for screen in SCREENS]


def _administrative(world: World) -> dict[str, set[str]]:
    """Operations of the API that take an administrative scope, and which."""
    app = build(world.services, GRANTS, world.app.lane.described)
    found: dict[str, set[str]] = {}
    for methods in app.openapi()["paths"].values():
        for operation in methods.values():
            scopes = {s for each in operation.get("security", ()) for v in each.values() for s in v}
            scopes = {s for s in scopes if s.endswith((":read", ":write"))}
            if scopes:
                found[operation["operationId"]] = scopes
    return found


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_the_console_does_all_that_the_api_does_and_nothing_else(world: World) -> None:
    operations = _administrative(world)
    assert len(operations) > 30
    screens = {name for screen in SCREENS for name in screen.operations}
    assert screens - operations.keys() == set(), "no such operation"
    assert operations.keys() - screens == set(), "these have no screen"
    without = {screen.module for screen in SCREENS if not screen.operations}
    assert without == CONSOLE_ALONE.keys()


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_deed_takes_the_scope_that_the_api_takes(world: World) -> None:
    operations = _administrative(world)
    for screen, desk in await _desks(world):
        done = {deed.operation for deed in desk.deeds.values()}
        assert done <= set(screen.operations), screen.path
        for name, deed in desk.deeds.items():
            assert {deed.scope} == operations[deed.operation], (screen.path, name)
        for operation in screen.operations:
            reads = {s for s in operations[operation] if s.endswith(":read")}
            shown_to = {*(screen.needs or reads), *screen.also}
            assert operation in done or reads <= shown_to, operation
            if not reads:
                assert operation in done, (screen.path, operation)


async def test_who_only_reads_sees_no_button_and_is_refused(world: World) -> None:
    reads = (
        "users:read", "clients:read", "roles:read", "keys:read", "mail:read", "audit:read",
        "branding:read",
    )  # fmt: skip
    somebody(world, *reads)
    victim = world.user("victim", roles=[])
    lost = a_lost_mail(world)
    await locked(world, "victim")
    code_client(world)
    browser = await seated(world, "ada")
    queries = {
        "user": {"id": victim.id}, "client": {"id": "shop"}, "role": {"name": "adas"},
        "scope": {"name": "users:read"}, "mail": {"id": lost}, "client_logo": {"id": "shop"},
    }  # fmt: skip
    for screen, desk in await _desks(world):
        if not desk.deeds or screen.module in ("client_new", "issuer", "users_import"):
            continue
        query = queries.get(screen.module, {})
        address = at(screen.path.removeprefix("/console"), **query)
        page = await browser.get(address)
        assert page.status == 200, (screen.path, page.answer.text)
        allowed = {name for name, deed in desk.deeds.items() if deed.scope in reads}
        assert set(re.findall(r"do=(\w+)", page.answer.text)) <= allowed, screen.path
        assert not [form for form in page.forms if form.method == "post" and form.buttons]
        for name, deed in desk.deeds.items():
            if name in allowed:
                continue
            refused = await post(browser, address, {"act": name, "user": [victim.id]})
            assert refused.status == 403 and deed.scope in refused.text, (screen.path, name)
            if deed.sheet is not None:
                asked = await browser.get(at(screen.path[8:], **{**query, "do": name}))
                assert asked.status == 403, (screen.path, name)
    assert {e.detail.get("missing") for e in await world.events("access")} >= {"users:write"}


async def test_nobody_gives_what_they_do_not_hold(world: World) -> None:
    eve = somebody(world, "users:read", "users:write", username="eve")
    administrator(world)
    browser = await seated(world, "eve")
    page = await post(
        browser, at("/user", id=eve.id, do="roles"), {"act": "roles", "roles": ["eves", "admin"]}
    )
    assert page.status == 403 and "admin" in page.text
    with world.change() as session:
        assert accounts.roles_of(session, eve.id) == ["eves"]
        root = accounts.find_by_login(session, "root")
    assert root is not None
    for act in ("disable", "delete", "password", "sign_out"):
        address = at("/user", id=root.id, do=act)
        form = {"act": act, "confirm": "root", "password": "a long new password 7"}
        assert (await post(browser, address, form)).status == 403, act


async def test_a_role_that_wants_a_second_factor_does_not_count_without(world: World) -> None:
    administrator(world)
    with world.change() as session:
        from identity.directory.access import editing

        editing.update_role(session, editing.get_role(session, "admin"), {"acr": "aal2"}, None)
    browser = await seated(world)
    page = await browser.get("/console/users")
    assert page.status == 403 and "second factor" in page.text and "Set one up" in page.text


async def test_the_last_administrator_stays(world: World) -> None:
    with world.change() as session:
        first = accounts.find_by_login(session, "admin")
        assert first is not None
        user_id = first.id
        first.password_hash = world.services.hasher.hash("tangerine harbour 71")
        session.add(first)
    browser = await seated(world, "admin")
    for act, form in (("disable", {}), ("delete", {"confirm": "admin"}), ("roles", {})):
        page = await post(browser, at("/user", id=user_id, do=act), {"act": act, **form})
        assert page.status == 409 and "last administrator" in page.text, act


async def test_who_has_a_second_factor_acts_with_it(world: World) -> None:
    root = administrator(world)
    app = given_app(world, root)
    browser = await seated_with_code(world, app.code())
    assert (await browser.get("/console/users")).status == 200


async def seated_with_code(world: World, code: str) -> Any:
    from tests.browsing import Browser

    browser = Browser(world.api)
    page = await browser.sign_in(await browser.get("/sign-in?to=%2Fconsole"), "root")
    await browser.submit(page, "code", code=code)
    return browser
