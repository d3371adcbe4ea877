"""Ground rule 4: a form that was not ours does nothing, whatever page it is for."""

import ast

import pytest

from identity.pages.registry import PAGES
from tests.browsing import Browser
from tests.sources import PACKAGE, nodes, trees
from tests.world import PASSWORD, World

only = pytest.mark.parametrize("dialect", ["sqlite"])
OWN = "http://127.0.0.1:8000"
FORMS = [entry.path for entry in PAGES if "POST" in entry.methods and not entry.path.endswith("}")]
FOREIGN: list[dict[str, str]] = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "origin": OWN},
    {"sec-fetch-site": "Same-Origin", "origin": OWN},
    {"sec-fetch-site": "", "origin": OWN},
    {"origin": "null"},
    {"origin": "https://evil.example"},
    {"origin": "http://127.0.0.1:8001"},
    {"origin": "https://127.0.0.1:8000"},
    {"origin": f"{OWN}/"},
    {"origin": OWN.upper()},
]
OURS: list[dict[str, str]] = [
    {"sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "none"},
    {"sec-fetch-site": "same-origin", "origin": "null"},
    {"origin": OWN},
]


async def signed_in(world: World) -> Browser:
    world.user()
    browser = Browser(world.api)
    form = {"username": "ada", "password": PASSWORD}
    await browser._api.post("/sign-in", data=form, headers={"origin": OWN})
    assert "identity" in browser.cookies
    return browser


@only
@pytest.mark.parametrize("path", FORMS)
async def test_no_page_takes_a_form_from_elsewhere(world: World, path: str) -> None:
    browser = await signed_in(world)
    for said in FOREIGN:
        for form in ({}, {"act": "x"}):
            answer = await browser._api.post(path, data=form, headers=said)
            assert answer.status_code == 403, (path, said)
            assert "not sent from our own page" in answer.text
            assert "set-cookie" not in answer.headers
    answer = await browser._api.post(path, data={})  # nothing says where it was
    assert answer.status_code == 403
    assert await world.events("session.ended") == []


@only
@pytest.mark.parametrize("path", FORMS)
async def test_every_page_takes_its_own(world: World, path: str) -> None:
    browser = await signed_in(world)
    for said in OURS:
        form = {"username": "ada", "password": PASSWORD}
        answer = await browser._api.post(path, data=form, headers=said)
        assert answer.status_code != 403 or "not sent" not in answer.text, (path, said)
        again = await browser._api.post("/sign-in", data=form, headers={"origin": OWN})
        assert again.status_code == 303


@only
async def test_signing_in_by_a_form_elsewhere_is_refused_without_any_cookie(world: World) -> None:
    world.user()
    form = {"username": "ada", "password": PASSWORD}
    for said in FOREIGN:
        answer = await world.api.post("/sign-in", data=form, headers=said)
        assert answer.status_code == 403 and "set-cookie" not in answer.headers
    # A program that says nothing and carries nothing is no browser that somebody steers.
    answer = await world.api.post("/sign-in", data=form)
    assert answer.status_code == 303
    # With any cookie of ours it may be one.
    carried = {"cookie": "identity-browser=br_x"}
    assert (await world.api.post("/sign-in", data=form, headers=carried)).status_code == 403


def test_nobody_else_reads_the_cookie_of_a_session() -> None:
    """What it authenticates is behind the guard, or is not told anything by POST: `/authorize` and
    `/logout` turn a form from elsewhere into a GET, which its cookie does not follow."""
    readers = set()
    for path in trees():
        for node in nodes(path):
            if isinstance(node, ast.Name | ast.Attribute):
                name = node.id if isinstance(node, ast.Name) else node.attr
                if name in ("person_at", "looking"):
                    readers.add(str(path.relative_to(PACKAGE)))
    assert {each for each in readers if not each.startswith("pages/")} == {
        "service/people.py", "oauth/authorize/endpoint.py", "oauth/logout.py",
    }, "a reader more: say here why no form from elsewhere gets there"  # fmt: skip
