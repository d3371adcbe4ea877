"""Every screen of the console by forms alone: shown, and refused to whom it is not for."""

import pytest

from identity.pages import load
from identity.pages.console.screens import SCREENS
from tests.browsing import Browser, code_client
from tests.pages.console.sitting import administrator, at, seated, somebody
from tests.world import World

QUERIES = {
    "/console/user": {"id": "nobody"},
    "/console/client": {"id": "shop"},
    "/console/client-logo": {"id": "shop"},
    "/console/role": {"name": "admin"},
    "/console/scope": {"name": "users:read"},
    "/console/issuer": {"id": "nobody"},
    "/console/mail": {"id": "nobody"},
    "/console/search": {"q": "a"},
    "/console/client-preview": {"id": "shop"},
}


async def test_every_screen_is_shown_to_an_administrator(world: World) -> None:
    user = administrator(world)
    code_client(world)
    browser = await seated(world)
    for screen in SCREENS:
        query = dict(QUERIES.get(screen.path, {}))
        if screen.path in ("/console/user", "/console/user-why"):
            query = {"id": user.id}
        page = await browser.get(at(screen.path.removeprefix("/console"), **query))
        wanted = 404 if screen.path in ("/console/issuer", "/console/mail") else 200
        assert page.status == wanted, (screen.path, page.answer.text)
        if screen.module != "audit_export":
            headers = page.answer.headers
            assert headers["cache-control"] == "no-store"
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert "form-action 'self'" in headers["content-security-policy"]
            assert "style=" not in page.answer.text


async def test_every_sheet_is_shown(world: World) -> None:
    user = administrator(world)
    code_client(world)
    other = somebody(world, "clerks:do")
    browser = await seated(world)
    kid = world.services.ring.signer.kid
    queries = {
        "user": {"id": other.id},
        "client": {"id": "shop", "secret": "x"},
        "client_logo": {"id": "shop"},
        "client_new": {"kind": "web"},
        "role": {"name": "adas"},
        "scope": {"name": "clerks:do"},
        "keys": {"kid": kid},
    }
    seen = 0
    for screen in SCREENS:
        if screen.module == "issuer":
            continue
        module = load(f"console.{screen.module}")
        desk = await module.page(_house(world))
        for name, deed in desk.deeds.items():
            if deed.sheet is None:
                continue
            query = {**queries.get(screen.module, {}), "do": name}
            page = await browser.get(at(screen.path.removeprefix("/console"), **query))
            assert page.status == 200, (screen.path, name, page.answer.text)
            assert page.forms[-1].method == "post", (screen.path, name)
            seen += 1
    assert seen >= 20 and user.id


def _house(world: World):  # type: ignore[no-untyped-def]
    from identity.oauth.grants.registry import GRANTS
    from identity.pages.registry import House

    house = House(world.services)
    house.grants = GRANTS
    return house


async def test_who_is_not_signed_in_is_led_there_and_back(world: World) -> None:
    administrator(world)
    browser = Browser(world.api)
    page = await browser.get(at("/users", q="root"))
    assert page.title.startswith("Sign in")
    page = await browser.sign_in(page, "root")
    assert page.title.startswith("Users") and "q=root" in str(page.answer.url)


async def test_somebody_without_any_administrative_scope_gets_a_page_that_says_so(
    world: World,
) -> None:
    somebody(world)
    browser = await seated(world, "ada")
    for screen in SCREENS:
        page = await browser.get(screen.path)
        assert page.status == 403 and "Not for you" in page.text, screen.path
        assert "/console/users" not in page.answer.text
    events = await world.events("access")
    assert len(events) == len(SCREENS) + 1 and {e.outcome for e in events} == {"refused"}


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_screen_takes_its_scope(world: World) -> None:
    somebody(world, "users:read")
    browser = await seated(world, "ada")
    for screen in SCREENS:
        page = await browser.get(screen.path)
        allowed = not screen.needs or "users:read" in screen.needs
        assert (page.status == 403) is not allowed, screen.path
        if not allowed:
            assert f"scope {screen.needs[0]}" in page.text
