"""What is known of users beside their names: who writes it, and what is refused."""

from typing import Any

import pytest

from tests import acting
from tests.acting import Actor, pointers, problem
from tests.world import KNOWN, World

PROFILE = KNOWN | {"address": {"street_address": "12 St James's Square\nLondon", "country": "UK"}}
ATTRIBUTES = {
    "department": "Analysis", "level": 7, "rate": 0.5, "sworn": True, "teams": ["a", "b"],
}  # fmt: skip
EMPTY = dict.fromkeys(PROFILE) | {"phone_number_verified": False, "attributes": {}}


def of(user: dict[str, Any]) -> dict[str, Any]:
    return {name: user[name] for name in EMPTY}


async def make(boss: Actor, **fields: Any) -> str:
    made = await boss.done("POST", "/users", {"username": "grace", **fields})
    return f"/users/{made['id']}"


async def test_a_profile_is_kept_shown_and_patched_member_by_member(world: World) -> None:
    boss = await acting.admin(world)
    path = await make(boss)
    assert of(await boss.done("GET", path)) == EMPTY
    given = PROFILE | {"attributes": ATTRIBUTES, "phone_number_verified": True}
    assert of(await boss.done("PATCH", path, given)) == given
    assert of(await boss.done("GET", path)) == given
    (listed,) = (await boss.done("GET", "/users", params={"q": "grace"}))["items"]
    assert of(listed) == given
    patch = {"address": {"country": None, "locality": "London"}, "attributes": {"level": None}}
    changed = await boss.done("PATCH", path, patch)
    assert changed["address"] == {
        "street_address": PROFILE["address"]["street_address"], "locality": "London",
    }  # fmt: skip
    assert changed["attributes"] == {n: v for n, v in ATTRIBUTES.items() if n != "level"}
    assert of(await boss.done("PATCH", path, dict.fromkeys([*PROFILE, "attributes"]))) == EMPTY
    twin = await boss.done("POST", "/users", {"username": "twin"} | given)
    assert of(twin) == given
    events = [event.detail for event in await world.events("user.updated")]
    assert "London" not in str(events)
    assert events[0]["changed"] == sorted(given)


async def test_users_write_their_own_profile_and_no_attributes(world: World) -> None:
    world.user(known={"phone_number": "+1 (425) 555-0100", "attributes": {"department": "Sales"}})
    boss = await acting.admin(world)
    me = Actor(world, await world.log_in())
    before = (await world.me(me.token)).json()
    assert before["phone_number"] == "+14255550100"
    path = f"/users/{before['id']}"
    await boss.done("PATCH", path, {"phone_number_verified": True})
    for beyond in ({"attributes": {"department": "Board"}}, {"phone_number_verified": True}):
        assert pointers(await me("PATCH", "/users/me", beyond)) == {f"/{next(iter(beyond))}"}
    changed = await me.done("PATCH", "/users/me", PROFILE)
    kept = {"phone_number_verified": False, "attributes": {"department": "Sales"}}
    assert of(changed) == PROFILE | kept
    assert (await world.me(me.token)).json() == changed == await boss.done("GET", path)
    changed = await me.done("PATCH", "/users/me", {"address": {"country": "France"}})
    assert changed["address"] == PROFILE["address"] | {"country": "France"}
    changed = await me.done("PATCH", "/users/me", dict.fromkeys(PROFILE))
    assert of(changed) == EMPTY | kept


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_what_is_written_is_brought_into_one_form(world: World) -> None:
    boss = await acting.admin(world)
    path = await make(boss)
    for name, written, kept in (
        ("given_name", "  Ada ", "Ada"),
        ("given_name", " ", None),
        ("locale", "EN_gb", "en-GB"),
        ("locale", "zh-hant-tw", "zh-Hant-TW"),
        ("locale", "sl-rozaj-biske", "sl-rozaj-biske"),
        ("locale", "de-CH-u-co-phonebk", "de-CH-u-co-phonebk"),
        ("zoneinfo", "America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("zoneinfo", "Etc/GMT+1", "Etc/GMT+1"),
        ("phone_number", "+44 (20) 7946.0000", "+442079460000"),
        ("phone_number", "+1 425-555-0100;ext=5678", "+14255550100;ext=5678"),
        ("address", {"locality": ""}, None),
        ("address", {}, None),
    ):
        changed = await boss.done("PATCH", path, {name: None})
        changed = await boss.done("PATCH", path, {name: written})
        assert changed[name] == kept, written


BAD: list[tuple[dict[str, Any], str]] = [
    ({"given_name": "a" * 201}, "/given_name"),
    ({"given_name": "a\nb"}, "/given_name"),
    ({"family_name": 1}, "/family_name"),
    ({"family_name": "\0"}, "/family_name"),
    ({"locale": "english"}, "/locale"),
    ({"locale": "en-"}, "/locale"),
    ({"locale": "en\u0660"}, "/locale"),
    ({"zoneinfo": "../../etc/passwd"}, "/zoneinfo"),
    ({"zoneinfo": "Europe//London"}, "/zoneinfo"),
    ({"zoneinfo": "+01:00"}, "/zoneinfo"),
    ({"picture": "http://example.com/a.png"}, "/picture"),
    ({"picture": "data:image/png;base64,AAAA"}, "/picture"),
    ({"picture": "JaVaScRiPt:alert(1)"}, "/picture"),
    ({"picture": "https://user@example.com/"}, "/picture"),
    ({"phone_number": "020 7946 0000"}, "/phone_number"),
    ({"phone_number": "+0123456"}, "/phone_number"),
    ({"phone_number": "+44207946000012345"}, "/phone_number"),
    ({"phone_number": "+4420\u0667946000"}, "/phone_number"),
    ({"phone_number": "+442079460000;tel=1"}, "/phone_number"),
    ({"address": "London"}, "/address"),
    ({"address": {"planet": "Earth"}}, "/address/planet"),
    ({"address": {"country": 1}}, "/address/country"),
    ({"address": {"country": "a" * 501}}, "/address/country"),
    ({"address": {"formatted": "a\x1b[31m"}}, "/address/formatted"),
]
BAD_ATTRIBUTES: list[tuple[Any, str]] = [
    ("x", "/attributes"),
    ({"a": {"b": "c"}}, "/attributes/a"),
    ({"a": [1]}, "/attributes/a"),
    ({"a": [["b"]]}, "/attributes/a"),
    ({"a": "x" * 1001}, "/attributes/a"),
    ({"a": 2**53 + 1}, "/attributes/a"),
    ({"a": "\0"}, "/attributes/a"),
    ({"a": ["x"] * 101}, "/attributes/a"),
    ({"": "x"}, "/attributes/"),
    ({" a": "x"}, "/attributes/ a"),
    ({"a/b~": {}}, "/attributes/a~1b~0"),
    ({"x" * 101: "x"}, "/attributes/" + "x" * 100),
    ({str(n): n for n in range(51)}, "/attributes"),
    ({str(n): "x" * 1000 for n in range(9)}, "/attributes"),
]


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_what_cannot_be_is_refused_and_says_where(world: World) -> None:
    boss = await acting.admin(world)
    path = await make(boss, given_name="Grace")
    world.user()
    me = Actor(world, await world.log_in())
    before = await boss.done("GET", path)
    for wrong, where in BAD + [({"attributes": wrong}, where) for wrong, where in BAD_ATTRIBUTES]:
        assert pointers(await boss("PATCH", path, wrong)) == {where}, wrong
        assert pointers(await boss("POST", "/users", {"username": "x"} | wrong)) == {where}, wrong
        if "attributes" not in wrong:
            assert pointers(await me("PATCH", "/users/me", wrong)) == {where}, wrong
    assert await boss.done("GET", path) == before


async def test_attributes_of_who_holds_more_are_not_written(world: World) -> None:
    boss = await acting.admin(world)
    clerk = await acting.clerk(world, "users:read", "users:write")
    path = await make(boss)
    await clerk.done("PATCH", path, {"attributes": {"department": "Sales"}})
    admin = (await world.me(boss.token)).json()["id"]
    problem(await clerk("PATCH", f"/users/{admin}", {"attributes": {"department": "Sales"}}), 403)


async def test_a_name_is_one_line_and_none_where_it_is_empty(world: World) -> None:
    boss = await acting.admin(world)
    path = await make(boss, name="  Grace  ")
    assert (await boss.done("GET", path))["name"] == "Grace"
    for nothing in ("", "  ", None):
        await boss.done("PATCH", path, {"name": "Grace"})
        assert (await boss.done("PATCH", path, {"name": nothing}))["name"] is None
    for address, body in (
        (path, {"name": "Grace\nHopper"}),
        ("/users/me", {"name": "a\x1bb"}),
    ):
        assert pointers(await boss("PATCH", address, body)) == {"/name"}
    assert pointers(await boss("POST", "/users", {"username": "x", "name": "a\nb"})) == {"/name"}


async def test_what_a_user_has_not_cannot_have_been_verified(world: World) -> None:
    boss = await acting.admin(world)
    path = await make(boss, phone_number_verified=True)
    assert (await boss.done("GET", path))["phone_number_verified"] is False
    for proven, value in (("email", "grace@example.com"), ("phone_number", "+14255550100")):
        verified = f"{proven}_verified"
        assert pointers(await boss("PATCH", path, {verified: True})) == {f"/{verified}"}
        both = {proven: value, verified: True}
        assert (await boss.done("PATCH", path, both))[verified] is True
        both = {proven: None, verified: True}
        assert pointers(await boss("PATCH", path, both)) == {f"/{verified}"}
        assert (await boss.done("PATCH", path, {proven: None}))[verified] is False


async def test_what_is_wrong_with_a_text_is_said_of_its_characters(world: World) -> None:
    boss = await acting.admin(world)
    long, short = "may be 200 characters long at the most", "must not be empty"
    body = {"username": "", "name": "x" * 201, "password": "x" * 1025}
    refusal = problem(await boss("POST", "/users", body), 422)
    assert refusal["errors"] == [
        {"pointer": "/username", "detail": short},
        {"pointer": "/name", "detail": long},
        {"pointer": "/password", "detail": "may be 1024 characters long at the most"},
    ]


@pytest.mark.parametrize(
    ("member", "value"), [("username", "a b"), ("email", "x"), ("locale", "?"), ("roles", ["nix"])]
)
async def test_detail_alone_says_which_member_is_wrong(
    world: World, member: str, value: Any
) -> None:
    boss = await acting.admin(world)
    refusal = problem(await boss("POST", "/users", {"username": "grace", member: value}), 422)
    (error,) = refusal["errors"]
    assert refusal["detail"] == f"/{member}: {error['detail']}"
