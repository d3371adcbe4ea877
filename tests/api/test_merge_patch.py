"""Merge patches, lost updates, and bodies of any bytes."""

import asyncio
from typing import Any

import pytest

from tests import acting
from tests.acting import Actor, pointers, problem
from tests.world import World

THINGS: dict[str, tuple[dict[str, Any], str, Any]] = {
    "/users": ({"username": "ada"}, "name", "Ada"),
    "/clients": ({"id": "ada", "name": "A"}, "name", "Ada"),
    "/roles": ({"name": "ada"}, "description", "Ada"),
    "/scopes": ({"name": "ada"}, "description", "Ada"),
}


async def made(boss: Actor, path: str) -> tuple[str, str, str, Any]:
    """Address and version of a new thing, and a member to change."""
    body, member, value = THINGS[path]
    answer = await boss("POST", path, body)
    assert answer.status_code == 201
    return answer.headers["location"], answer.headers["etag"], member, value


@pytest.mark.parametrize("path", THINGS)
async def test_an_editor_who_read_an_older_version_changes_nothing(world: World, path: str) -> None:
    boss = await acting.admin(world)
    address, tag, member, value = await made(boss, path)
    assert (await boss("GET", address)).headers["etag"] == tag
    answer = await boss("PATCH", address, {member: value}, headers={"if-match": tag})
    assert answer.status_code == 200
    newer = answer.headers["etag"]
    assert newer != tag
    for stale in (tag, f"W/{newer}", newer.strip('"'), '"other"', "nonsense", ""):
        for method, body in (("PATCH", {member: "x"}), ("DELETE", None)):
            problem(await boss(method, address, body, headers={"if-match": stale}), 412)
    assert (await boss.done("GET", address))[member] == value
    for good in ("*", f'"x", {newer}'):
        answer = await boss("PATCH", address, {}, headers={"if-match": good})
        assert (answer.status_code, answer.headers["etag"]) == (200, newer)
    assert (await boss("DELETE", address, headers={"if-match": newer})).status_code == 204


@pytest.mark.parametrize("path", THINGS)
async def test_of_editors_who_read_the_same_version_one_wins(world: World, path: str) -> None:
    boss = await acting.admin(world)
    address, tag, member, _ = await made(boss, path)
    answers = await asyncio.gather(
        *(
            boss("PATCH", address, {member: f"editor {number}"}, headers={"if-match": tag})
            for number in range(4)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    (winner,) = [answer.json() for answer in answers if answer.is_success]
    assert (await boss.done("GET", address))[member] == winner[member]


async def test_my_own_account_and_the_roles_of_users_are_guarded_too(world: World) -> None:
    boss = await acting.admin(world)
    stale = {"if-match": '"0"'}
    problem(await boss("PATCH", "/users/me", {"name": "x"}, headers=stale), 412)
    me = await world.me(boss.token)
    problem(await boss("PUT", f"/users/{me.json()['id']}/roles", ["admin"], headers=stale), 412)
    fresh = {"if-match": me.headers["etag"]}
    assert (await boss("PATCH", "/users/me", {"name": "x"}, headers=fresh)).status_code == 200


BODIES: list[tuple[str, bytes, int]] = [
    ("application/json", b"{", 422),
    ("application/json", b"\xff", 422),
    ("application/json", b'{"name": "\xed\xa0\x80"}', 422),
    ("application/json", b'{"name": "\\ud800"}', 422),
    ("application/json", b'{"name": NaN}', 422),
    ("application/json", b'{"name": "x", "name": "y"}', 422),
    ("application/json", b'{"name": "x", "attributes": {"a": 1, "a": 2}}', 422),
    ("application/json", b'{"name": ' + b"[" * 1000 + b"]" * 1000 + b"}", 422),
    ("application/json", b'{"name": ' + b"9" * 10_000 + b"}", 422),
    ("application/json", b"[" * 60_000, 422),
    ("application/json", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 422),
    ("application/json", b"null", 422),
    ("application/json", b'"name"', 422),
    ("application/json", b"", 422),
    ("application/json", b" " * 65_537, 413),
    ("text/plain", b"{}", 415),
    ("application/x-www-form-urlencoded", b"name=x", 415),
    ("multipart/form-data; boundary=x", b"--x--", 415),
    ("application/jsonx", b"{}", 415),
    ("application/json; charset=utf-8", b"{}", 200),
    ("Application/Merge-Patch+JSON", b"{}", 200),
]


async def test_a_body_of_any_bytes_is_refused_by_name(world: World) -> None:
    boss = await acting.admin(world)
    for media, body, status in BODIES:
        answer = await boss("PATCH", "/users/me", content=body, headers={"content-type": media})
        if status == 200:
            assert answer.status_code == 200, (media, body[:20])
        else:
            assert problem(answer, status), (media, body[:20])
    twice = b'{"name": "x", "name": "y"}'
    headers = {"content-type": "application/json"}
    refusal = problem(await boss("PATCH", "/users/me", content=twice, headers=headers), 422)
    assert refusal["errors"][0]["detail"] == "must name each member once: 'name' comes again"
    many = {f"m{number}": 1 for number in range(1000)}
    assert len(pointers(await boss("PATCH", "/users/me", many))) == 20


async def test_a_body_without_a_media_type_is_refused(world: World) -> None:
    boss = await acting.admin(world)
    problem(await boss("PATCH", "/users/me", content=b"{}"), 415)


async def test_every_operation_is_described_with_its_errors(world: World) -> None:
    document = (await world.api.get("/openapi.json")).json()
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(names) == len(set(names))
    assert "ProblemBody" in document["components"]["schemas"]
    for method, path, operation in operations:
        assert operation["summary"], (method, path)
        if operation["tags"][0] in ("Discovery", "Operations", "OAuth"):
            continue
        responses = operation["responses"]
        assert {"503"} <= responses.keys(), (method, path)
        if operation.get("security"):
            assert {"401", "403"} <= responses.keys(), (method, path)
        if "requestBody" in operation:
            assert {"408", "413", "415", "422"} <= responses.keys(), (method, path)
        for status, response in responses.items():
            if status >= "400":
                assert list(response["content"]) == ["application/problem+json"], (method, path)
        if method == "patch":
            media = operation["requestBody"]["content"]
            assert set(media) == {"application/json", "application/merge-patch+json"}
