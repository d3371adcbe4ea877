"""Users out of the service as a file, and into it."""

import csv
import io
import json
import tracemalloc
from contextlib import suppress
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from identity.clock import frozen
from identity.directory.users import accounts, exporting
from identity.directory.users.listing import Wanted
from identity.service import bulk
from tests import acting
from tests.acting import Actor, problem
from tests.world import PASSWORD, World

HOSTILE = ["=1+1", "+49", "-2", "@SUM(A1)", "\tx", '=HYPERLINK("https://evil.example")']
PLAIN = ["Ada, Countess", 'the "first"', "Zoë", "'quoted'", "'", "''"]
NDJSON = "application/x-ndjson"
LIKE_OURS = ["'=1+1", "''+49", "'"]


async def exported(boss: Actor, **params: Any) -> list[dict[str, str]]:
    answer = await boss("GET", "/users/export", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="users.csv"'
    assert answer.headers["cache-control"] == "no-store"
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


async def imported(
    boss: Actor, content: str, media: str = "text/csv", **params: Any
) -> list[dict[str, Any]]:
    answer = await sent(boss, content, media, **params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def sent(boss: Actor, content: str, media: str, **params: Any) -> httpx.Response:
    headers = {"content-type": media}
    return await boss(
        "POST", "/users/import", params=params, content=content.encode(), headers=headers
    )


async def test_nothing_that_somebody_wrote_of_themselves_runs_in_a_spreadsheet(
    world: World,
) -> None:
    with world.change() as session:
        for n, name in enumerate([*HOSTILE, *PLAIN]):
            # From before names were one line: none with a tab is taken any more.
            accounts.create(session, username=f"user{n}").name = name
        accounts.create(session, username="=cmd", known={"attributes": {"=a": "=b"}})
    boss = await acting.admin(world)
    answer = await boss("GET", "/users/export")
    rows = list(csv.reader(io.StringIO(answer.text, newline="")))
    for row in rows:
        for cell in row:
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), cell
    names = [row["name"] for row in await exported(boss) if row["username"].startswith("user")]
    assert names == [f"'{name}" for name in HOSTILE] + PLAIN


async def test_an_export_has_every_user_of_the_filter_and_no_hash(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "TOGETHER", 3)
    for n in range(8):
        world.user(f"user{n}", roles=["admin"] if n == 0 else [])
    boss = await acting.admin(world)
    rows = await exported(boss)
    assert {row["username"] for row in rows} == {"admin", *(f"user{n}" for n in range(8))}
    assert len(rows) == 9
    assert {row["username"] for row in await exported(boss, role="admin")} == {"admin", "user0"}
    assert len(await exported(boss, search="user")) == 8
    assert len(await exported(boss, q="ser3")) == 1
    answer = await boss("GET", "/users/export", params={"format": "ndjson", "role": "admin"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    first, second = map(json.loads, answer.text.splitlines())
    assert first["roles"] == second["roles"] == ["admin"]
    assert "$" not in answer.text and "hash" not in answer.text


async def test_an_export_is_on_record_before_it_begins_and_when_it_ends(world: World) -> None:
    boss = await acting.admin(world)
    await exported(boss, role="admin")
    (begun,), (ended,) = (
        await world.events("users.exported"),
        await world.events("users.export_ended"),
    )
    assert begun.detail == {"format": "csv", "role": "admin"}
    assert ended.detail == {"format": "csv", "count": 1, "whole": True}
    assert begun.actor == ended.actor is not None


async def test_an_export_takes_the_scope_and_a_fresh_login(world: World) -> None:
    clerk = await acting.clerk(world, "users:write")
    problem(await clerk("GET", "/users/export"), 403)
    boss = await acting.admin(world)
    with frozen() as clock:
        clock.tick(301)
        problem(await boss("GET", "/users/export"), 403)


def test_an_export_takes_no_more_memory_for_more_users(
    db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the pieces that it is made of: what one has read is let go before the next."""
    monkeypatch.setattr(exporting, "TOGETHER", 10)

    def peak(users: int, made: int = 0) -> int:
        with db.transaction() as session:
            for n in range(made, users):
                accounts.create(session, username=f"user{n}", name=f"User {n} of many")
        tracemalloc.start()
        total, after = 0, None
        while True:
            with db.snapshot() as session:
                found, after = exporting.page(session, Wanted(), after)
            total += len(found)
            exporting.lines(found, "csv")
            if after is None:
                break
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert total == users
        return highest

    peak(20)  # whatever is made once
    few = peak(20, 20)
    many = peak(100, 20)
    assert many < few + 100_000


async def test_what_went_out_comes_in_again_as_it_was(world: World) -> None:
    with world.change() as session:
        for n, name in enumerate([*HOSTILE[:4], *PLAIN]):
            accounts.create(
                session, username=f"user{n}", email=f"user{n}@example.com", name=name,
                known={"phone_number": "+442079460000", "attributes": {"floor": n}},
            )  # fmt: skip
    boss = await acting.admin(world)
    before = (await boss("GET", "/users/export")).text
    last = (await imported(boss, before, update="true"))[-1]
    assert (last["bad"], last["updated"], last["differing"], last["done"]) == (0, 0, 0, True)
    lines = (await boss("GET", "/users/export", params={"format": "ndjson"})).text
    last = (await imported(boss, lines, "application/x-ndjson", update="true"))[-1]
    assert (last["bad"], last["updated"], last["differing"], last["done"]) == (0, 0, 0, True)


async def test_an_import_says_line_by_line_how_far_it_is_and_what_was_bad(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from identity.service.importing import batches

    monkeypatch.setattr(batches, "BATCH", 2)
    world.user("ada")
    hashed = f'"{world.services.hasher.hash(PASSWORD)}"'  # it holds commas
    rows = ["username,email,password_hash", f"ada,,{hashed}", f"bob,bob@example.com,{hashed}",
            "sp ace,,", f"cleo,,{hashed}", "dora,,plain"]  # fmt: skip
    boss = await acting.admin(world)
    dry = await imported(boss, "\n".join(rows), dry_run="true")
    assert (dry[-1]["created"], dry[-1]["bad"]) == (2, 2)
    assert (await boss.done("GET", "/users", params={"search": "bob"}))["items"] == []
    told = await imported(boss, "\n".join(rows))
    assert [line["rows"] for line in told] == [2, 4, 5, 5]
    assert [bad["line"] for line in told for bad in line["bad_rows"]] == [4, 6]
    last = told[-1]
    assert last["done"] and last["problem"] is None
    assert (last["created"], last["unchanged"], last["bad"]) == (2, 1, 2)
    await world.log_in("bob@example.com")
    again = (await imported(boss, "\n".join(rows)))[-1]
    assert (again["created"], again["unchanged"]) == (0, 3)
    events = await world.events("users.imported")
    assert [event.detail["dry_run"] for event in events] == [True, False, False]
    assert events[1].detail["created"] == 2
    created = [
        event for event in await world.events("user.created") if event.detail.get("imported")
    ]
    assert {event.actor for event in created} == {events[0].actor}


async def test_nobody_imports_more_than_they_hold(world: World) -> None:
    world.user("root", roles=["admin"])
    clerk = await acting.clerk(world, "users:read", "users:write")
    rows = (
        "username,roles,status,name\n"
        "bob,clerk,,\n"
        "mallory,admin,,\n"
        "root,,disabled,\n"
        "admin,,,Mallory\n"
        "clerk,admin clerk,,\n"
    )
    last = (await imported(clerk, rows, update="true"))[-1]
    assert (last["created"], last["updated"], last["bad"]) == (1, 0, 4)
    boss = await acting.admin(world)
    users = {u["username"]: u for u in (await boss.done("GET", "/users"))["items"]}
    assert "mallory" not in users
    assert users["root"]["status"] == "active" and users["admin"]["name"] != "Mallory"
    assert users["clerk"]["roles"] == ["clerk"]
    reader = await acting.clerk(world, "users:read", username="reader")
    problem(await sent(reader, rows, "text/csv"), 403)


@pytest.mark.parametrize(
    ("content", "media", "params", "status"),
    [
        ("nonsense", "text/csv", {}, 422),
        ("", "text/csv", {}, 422),
        ("username,password\nada,secret", "text/csv", {}, 422),
        ("username\nada", "image/png", {}, 415),
        ("username\nada", "text/csv", {"format": "xml"}, 422),
        ("{", "application/json", {"format": "keycloak"}, 422),
    ],
)
async def test_what_is_no_such_file_is_refused_before_anything_is_answered(
    world: World, content: str, media: str, params: dict[str, str], status: int
) -> None:
    boss = await acting.admin(world)
    problem(await sent(boss, content, media, **params), status)


async def test_a_file_may_be_larger_than_other_bodies_and_not_any_size(world: World) -> None:
    boss = await acting.admin(world)
    rows = ["username,name", *(f"user{n}," + "x" * 190 for n in range(600))]
    last = (await imported(boss, "\n".join(rows), dry_run="true"))[-1]
    assert last["created"] == 600
    headers = {"content-type": "text/csv", "content-length": str(65 * 1024 * 1024)}
    answer = await boss("POST", "/users/import", content=b"username", headers=headers)
    problem(answer, 413)


async def test_only_so_many_come_in_at_once(world: World) -> None:
    boss = await acting.admin(world)

    async def nothing() -> Any:
        for chunk in (b"username\n",):
            yield chunk

    async with bulk.received(nothing()), bulk.received(nothing()):
        problem(await sent(boss, "username\nada", "text/csv"), 503)
    assert (await imported(boss, "username\nada"))[-1]["created"] == 1


async def test_what_looks_as_if_it_had_been_neutralised_comes_in_again_as_it_was(
    world: World,
) -> None:
    with world.change() as session:
        for n, name in enumerate([*HOSTILE, *PLAIN, *LIKE_OURS]):
            accounts.create(session, username=f"user{n}", name=name.strip())
    boss = await acting.admin(world)
    before = (await boss("GET", "/users/export")).text
    last = (await imported(boss, before, update="true"))[-1]
    assert (last["bad"], last["updated"], last["differing"], last["done"]) == (0, 0, 0, True)


BROKEN = [
    b'{"username":"x1","roles":["\\ud800"]}',
    b'{"username":"x2","roles":["\xff"]}',
    b'{"username":"x3","\\ud800":"a"}',
    b'{"username":"x4","attributes":{"\\ud800":1}}',
    b'{"username":"x5","roles":["' + b"r" * 100_000 + b'"]}',
    b'{"username":"x6","roles":["a\\u0000b"]}',
]


async def test_what_is_no_text_is_a_wrong_row_and_stops_nothing(world: World) -> None:
    boss = await acting.admin(world)
    content, headers = b"\n".join([*BROKEN, b'{"username":"good"}']), {"content-type": NDJSON}
    answer = await boss("POST", "/users/import", content=content, headers=headers)
    told = [json.loads(line) for line in answer.text.splitlines()]
    assert (told[-1]["created"], told[-1]["bad"], told[-1]["done"]) == (1, len(BROKEN), True)
    reasons = [bad["reason"] for line in told for bad in line["bad_rows"]]
    assert "\ufffd" in reasons[0] and max(map(len, reasons)) < 1_000
    headers = {"content-type": "text/csv"}
    answer = await boss("POST", "/users/import", content=b"username,\xff\nada,x", headers=headers)
    assert "unknown column \ufffd" in problem(answer, 422)["detail"]


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_numbers_that_are_none_are_no_trouble_in_an_export_of_others(world: World) -> None:
    boss = await acting.admin(world)
    secret = json.dumps({"value": "AAAA", "salt": "AAAA"})
    data = '{"algorithm": "pbkdf2-sha256", "hashIterations": 1e400}'
    credential = {"type": "password", "secretData": secret, "credentialData": data}
    users = json.dumps({"users": [{"username": "ada", "credentials": [credential]}]})
    last = (await imported(boss, users, NDJSON, format="keycloak"))[-1]
    assert (last["bad"], last["done"]) == (1, True)
    users = '{"users": [{"username": %s}]}' % ("9" * 5_000)
    said = problem(await sent(boss, users, NDJSON, format="keycloak"), 422)
    assert "a number that is too long" in said["detail"]


async def test_who_ceases_to_be_an_administrator_imports_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from identity.service.importing import batches

    monkeypatch.setattr(batches, "BATCH", 1)
    clerk = await acting.clerk(world, "users:read", "users:write")
    insert = batches.insert_all

    def then_demote(session: Any, rows: Any) -> None:
        insert(session, rows)
        demote(session)

    monkeypatch.setattr(batches, "insert_all", then_demote)
    told = await imported(clerk, "username\nada\nbob\ncleo")
    assert (told[-1]["created"], told[-1]["done"]) == (1, False)
    assert "may not do this any more" in told[-1]["problem"]
    (event,) = await world.events("users.imported")
    assert "may not do this any more" in event.detail["why"]


def demote(session: Any) -> None:
    found = accounts.find_by_login(session, "clerk")
    assert found is not None
    accounts.set_roles(session, accounts.get(session, found.id, lock=True), [], None)


async def test_who_ceases_to_be_one_while_the_file_comes_imports_nothing(world: World) -> None:
    clerk = await acting.clerk(world, "users:read", "users:write")

    async def slowly() -> Any:
        yield b"username\n"
        with world.change() as session:
            demote(session)
        yield b"mallory\n"

    headers = {"content-type": "text/csv"}
    problem(await clerk("POST", "/users/import", content=slowly(), headers=headers), 403)
    with world.change() as session:
        assert accounts.find_by_login(session, "mallory") is None


async def test_a_file_that_takes_longer_than_its_token_lasts_comes_in_whole(world: World) -> None:
    boss = await acting.admin(world)
    with frozen() as hands:

        async def slowly() -> Any:
            yield b"username\n"
            hands.tick(world.services.settings.tokens.access_token_ttl * 2)
            yield b"ada\n"

        headers = {"content-type": "text/csv"}
        answer = await boss("POST", "/users/import", content=slowly(), headers=headers)
    assert json.loads(answer.text.splitlines()[-1])["created"] == 1


async def test_who_ceases_to_be_an_administrator_is_sent_no_more_users(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "TOGETHER", 1)
    clerk = await acting.clerk(world, "users:read")
    page = exporting.page

    def then_demote(session: Any, wanted: Wanted, after: str | None) -> Any:
        with world.change() as other:
            demote(other)
        return page(session, wanted, after)

    monkeypatch.setattr(exporting, "page", then_demote)
    with capture_logs() as said, suppress(AssertionError):
        await clerk("GET", "/users/export")  # cut off: it is not to look whole
    assert [line["event"] for line in said if line["log_level"] != "info"] == ["answer cut off"]
    (event,) = await world.events("users.export_ended")
    assert (event.detail["count"], event.detail["whole"]) == (1, False)
