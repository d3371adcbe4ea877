"""Lists in pages: every item once, in one order, whatever comes and goes."""

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.api.paging import cursor, key_of
from identity.errors import ValidationFailed
from tests import acting
from tests.acting import pointers
from tests.world import World


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_a_cursor_leads_back_to_its_key(key: str) -> None:
    assert key_of(cursor(key)) == key


@given(st.one_of(st.text(), st.from_regex(r"[A-Za-z0-9_-]*", fullmatch=True)))
def test_any_other_text_is_no_cursor(text: str) -> None:
    with suppress(ValidationFailed):
        assert cursor(key_of(text)) == text  # one spelling only


@pytest.mark.parametrize("path", ["/users", "/roles", "/scopes", "/clients"])
async def test_a_walk_shows_everything_once_in_one_order(world: World, path: str) -> None:
    boss = await acting.admin(world)
    for number in (3, 1, 4, 1 + 4, 9, 2, 6):
        name = f"n{number}"
        body = {"username": name} if path == "/users" else {"name": name}
        await boss.done("POST", path, body)
    whole = (await boss.done("GET", path, params={"limit": 200}))["items"]
    for limit in (1, 2, 3, len(whole) - 1, len(whole), len(whole) + 1):
        walked, pages, after = [], 0, None
        while pages == 0 or after:
            query = {"limit": limit} | ({"after": after} if after else {})
            page = await boss.done("GET", path, params=query)
            walked += page["items"]
            pages, after = pages + 1, page["next"]
            assert 0 < len(page["items"]) <= limit
        assert walked == whole
        assert pages == math.ceil(len(whole) / limit)


async def test_a_walk_neither_repeats_nor_skips_while_items_come_and_go(world: World) -> None:
    boss = await acting.admin(world)
    ids = [(await boss.done("POST", "/users", {"username": f"u{n}"}))["id"] for n in range(6)]
    page = await boss.done("GET", "/users", params={"limit": 3})
    await boss.done("DELETE", f"/users/{ids[1]}")  # the last one shown
    await boss.done("DELETE", f"/users/{ids[2]}")  # the next one
    await boss.done("POST", "/users", {"username": "late"})
    rest = await boss.done("GET", "/users", params={"limit": 50, "after": page["next"]})
    assert [user["username"] for user in rest["items"]] == ["u3", "u4", "u5", "late"]


async def test_a_page_that_makes_no_sense_is_refused(world: World) -> None:
    boss = await acting.admin(world)
    for query, where in (
        ("limit=0", "?limit"), ("limit=201", "?limit"), ("limit=-1", "?limit"),
        ("limit=1.5", "?limit"), ("limit=" + "9" * 5000, "?limit"), ("limit=", "?limit"),
        ("after=", "?after"), ("after=%00", "?after"), ("after=AA", "?after"),
        ("after=YQ==", "?after"), ("after=YR", "?after"), ("after=7aCA", "?after"),
        ("after=" + "x" * 401, "?after"), ("q=%00", "?q"), ("q=" + "x" * 201, "?q"),
    ):  # fmt: skip
        assert pointers(await boss("GET", f"/users?{query}")) == {where}, query
