"""Pages answer from memory that is as it was when they were asked for, and ask the database once
for it; a form has come when it has been read."""

from collections.abc import AsyncIterator, Callable

import pytest

from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.errors import Unavailable
from tests.browsing import Browser
from tests.pages.console.sitting import administrator, at, seated
from tests.world import FORM, World


@pytest.fixture
def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """As often as the feed was."""
    really, found = world.services.feed.catch_up, list[None]()

    async def catch_up() -> None:
        found.append(None)
        await really()

    monkeypatch.setattr(world.services.feed, "catch_up", catch_up)
    return found


@pytest.mark.parametrize(
    "address", ["/sign-in", "/account", "/account/password", at("/users"), at("/users", q="root")]
)
async def test_a_page_asks_once_for_all_that_it_looks_at(
    world: World, asked: list[None], address: str
) -> None:
    administrator(world)
    browser = await seated(world) if address != "/sign-in" else Browser(world.api)
    asked.clear()
    assert (await browser.get(address)).status == 200
    assert len(asked) == 1


async def test_what_was_asked_in_vain_is_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds out that the database cannot be asked says so, and nobody is let in."""
    administrator(world)
    browser = await seated(world)

    async def fails() -> None:
        raise Unavailable

    monkeypatch.setattr(world.services.feed, "catch_up", fails)
    assert (await browser.get(at("/users"))).status == 503
    assert (await browser.get("/sign-in")).status == 503


async def test_whoever_is_disabled_while_their_form_is_sent_does_nothing_by_it(
    world: World,
) -> None:
    ada = administrator(world)
    form = f"user={ada.id}&act=create&username=grace&first=none".encode()
    for address in (at("/users", do="create"), "/account/profile"):
        browser = await seated(world)
        assert (await browser.get(address)).status == 200
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        answer = await world.api.post(
            address,
            content=_slowly(form, lambda: _with_status(world, ada, "disabled")),
            headers={"content-type": FORM, "sec-fetch-site": "same-origin", "cookie": cookies},
        )
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in")
        _with_status(world, ada, "active")
    with world.change() as session:
        assert accounts.find_by_login(session, "grace") is None


async def _slowly(form: bytes, meanwhile: Callable[[], None]) -> AsyncIterator[bytes]:
    yield form[:10]
    meanwhile()
    yield form[10:]


def _with_status(world: World, user: User, status: str) -> None:
    with world.change() as session:
        accounts.set_status(session, accounts.get(session, user.id), status, None)
