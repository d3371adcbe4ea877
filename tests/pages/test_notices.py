"""Whether mails tell of new devices is everybody's own choice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from identity import clock
from tests.acting import Actor, problem
from tests.browsing import Browser, Page
from tests.mailbox import sent
from tests.world import World

HERE = "/account/notices"


@pytest.fixture
def settings(make_settings: Callable[..., Any], tmp_path: Path) -> Any:
    return make_settings(mail_folder=tmp_path / "mail")


async def signed_in(world: World, agent: str, to: str = "") -> tuple[Browser, Page]:
    browser = Browser(world.api)
    browser._api.headers["user-agent"] = agent
    return browser, await browser.sign_in(await browser.get(f"/sign-in{to}"))


async def told(world: World) -> int:
    return len([m for m in await sent(world) if m.subject == "You signed in with a new device"])


async def test_somebody_does_without_mails_about_new_devices_and_has_them_back(
    world: World,
) -> None:
    world.user(email="ada@example.com")
    browser, page = await signed_in(world, "first", "?to=%2Faccount%2Fnotices")
    assert page.title.startswith("Mails about new devices") and " checked" in page.answer.text
    await signed_in(world, "second")
    assert await told(world) == 1
    form = {name: value for name, value in page.form.fields.items() if name != "new_device"}
    page = await browser.post(HERE, form)
    assert "Saved." in page.text and " checked" not in page.answer.text
    await signed_in(world, "third")
    assert await told(world) == 1
    page = await browser.post(HERE, form | {"new_device": "yes"})
    assert " checked" in page.answer.text
    await signed_in(world, "fourth")
    assert await told(world) == 2
    events = await world.events("user.notices_chosen")
    assert [each.detail for each in events] == [{"new_device": False}, {"new_device": True}]


async def test_the_api_has_the_same_choice(world: World) -> None:
    world.user(email="ada@example.com")
    me = Actor(world, await world.log_in(scope="*"))
    assert await me.done("GET", "/users/me/notices") == {"new_device": True}
    assert await me.done("PUT", "/users/me/notices", {"new_device": False}) == {"new_device": False}
    assert await me.done("GET", "/users/me/notices") == {"new_device": False}
    wrong: Any
    for wrong in ({}, {"new_device": "no"}, {"new_device": True, "more": 1}, []):
        problem(await me("PUT", "/users/me/notices", wrong), 422)
    await signed_in(world, "first")
    await signed_in(world, "second")
    assert await told(world) == 0


async def test_it_takes_a_fresh_proof_to_hear_of_nothing_any_more(world: World) -> None:
    world.user(email="ada@example.com")
    with clock.frozen() as now:
        me = Actor(world, await world.log_in(scope="*"))
        browser, page = await signed_in(world, "first", "?to=%2Faccount%2Fnotices")
        form = page.form.fields
        form.pop("new_device", None)
        now.tick(301)
        refused = await me("PUT", "/users/me/notices", {"new_device": False})
        assert "max_age" in refused.headers["www-authenticate"]
        assert (await browser.post(HERE, form)).title.startswith("Sign in")
        assert (await browser.get(HERE)).title.startswith("Sign in")
    assert not await world.events("user.notices_chosen")
