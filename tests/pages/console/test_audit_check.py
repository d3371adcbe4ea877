"""Whether somebody wrote in the audit, asked at the console and by the API: the same code as the
command's, a stretch at a time."""

import re
import threading
from typing import Any

import pytest
from sqlalchemy import delete, update
from sqlmodel import col

from identity.records import audit
from identity.records.audit import AuditEvent
from identity.service.administration import audit as administration
from identity.service.opening import audit_keys
from tests import acting
from tests.acting import pointers, problem
from tests.pages.console.sitting import administrator, at, seated, somebody
from tests.pages.console.test_stopping import EVIL
from tests.world import World


def happen(world: World, count: int, **fields: Any) -> None:
    with world.change() as session:
        for n in range(count):
            audit.record(session, "user.created", subject=f"subject {n}", n=n, **fields)


def sealed(world: World) -> None:
    """Whoever seals is done."""
    key = audit_keys(world.services.master)[0]
    while True:
        with world.change() as session:
            if not audit.unsealed(session):
                return
            audit.seal(session, key)


def damage(world: World, statement: Any) -> None:
    with world.change() as session:
        session.execute(statement)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(administration, "STRETCH", 10)
    return 10


async def test_an_audit_that_nobody_wrote_in_is_whole(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    await world.events("login")
    sealed(world)
    page = await browser.get(at("/audit"))
    assert at("/audit-check") in page.answer.text
    page = await browser.get(at("/audit-check"))
    assert "Yes: it is as it was written" in page.text, page.text
    boss = await acting.admin(world)
    told = await boss.done("GET", "/audit/verification")
    assert told["ok"] and told["faults"] == [] and told["next"] is None
    assert told["begins"] == "0:-" and told["head"] and told["archived"] is None
    with_head = await boss.done("GET", "/audit/verification", params={"head": told["head"]})
    assert with_head["ok"]


async def test_a_stretch_at_a_time_finds_what_the_whole_finds(world: World, few: int) -> None:
    administrator(world)
    boss, browser = await acting.admin(world), await seated(world)
    happen(world, 3 * few)
    await world.events("login")
    sealed(world)
    seen, after = 0, None
    while True:
        told = await boss.done(
            "GET", "/audit/verification", params={"after": after} if after else {}
        )
        assert told["ok"], told
        seen += 1
        if (after := told["next"]) is None:
            break
    assert seen >= 4
    damage(world, update(AuditEvent).where(col(AuditEvent.seq) == few + 5).values(actor="eve"))
    faults, after = [], None
    while True:
        told = await boss.done(
            "GET", "/audit/verification", params={"after": after} if after else {}
        )
        faults += [fault["seq"] for fault in told["faults"]]
        if (after := told["next"]) is None:
            break
    assert faults == [few + 5]
    page = await browser.get(at("/audit-check"))
    assert f"Events 1 to {few} are as they were written. There are more." in page.text
    assert "data-goes-on" in page.answer.text
    page = await browser.get(followed(page))
    assert f"event {few + 5} (" in page.text and "No: somebody has written in it" in page.text
    assert "data-goes-on" not in page.answer.text, "it waits for whoever looks"
    while "Go on" in page.text:
        page = await browser.get(followed(page))
    assert "but some before them are not" in page.text


def followed(page: Any) -> str:
    found = re.search(r'href="([^"]*audit-check\?after[^"]*)"', page.answer.text)
    assert found
    return found[1].replace("&amp;", "&")


async def test_every_kind_of_tampering_is_told(world: World) -> None:
    boss = await acting.admin(world)
    happen(world, 5)
    await world.events("login")
    sealed(world)
    head = (await boss.done("GET", "/audit/verification"))["head"]
    last = int(head.partition(":")[0])
    for statement, words in (
        (delete(AuditEvent).where(col(AuditEvent.seq) == last), "were cut off"),
        (delete(AuditEvent).where(col(AuditEvent.seq) == 2), "are missing"),
        (update(AuditEvent).where(col(AuditEvent.seq) == 4).values(subject=EVIL), "was changed"),
    ):
        damage(world, statement)
        told = await boss.done("GET", "/audit/verification")
        assert not told["ok"] and any(words in fault["words"] for fault in told["faults"]), words
        assert told["fault_count"] == len(told["faults"])


async def test_a_head_from_the_logs_is_looked_for(world: World) -> None:
    administrator(world)
    boss, browser = await acting.admin(world), await seated(world)
    await world.events("login")
    sealed(world)
    head = (await boss.done("GET", "/audit/verification"))["head"]
    seq, _, digest = head.partition(":")
    for wrong, words in (
        (f"{seq}:{digest[::-1]}", "written anew"), (f"{int(seq) + 99}:{digest}", "cut off"),
    ):  # fmt: skip
        told = await boss.done("GET", "/audit/verification", params={"head": wrong})
        assert words in told["faults"][0]["words"]
        assert words in (await browser.get(at("/audit-check", head=wrong))).text
    assert "Yes: it is" in (await browser.get(at("/audit-check", head=head))).text
    for nonsense in ("7", "x:y", f"{'9' * 30}:{digest}", EVIL):
        for name in ("head", "after"):
            answer = await boss("GET", "/audit/verification", params={name: nonsense[:100]})
            assert pointers(answer) == {f"?{name}"}
            page = await browser.get(at("/audit-check", **{name: nonsense}))
            assert page.status == 422 and "<img src=x" not in page.answer.text


async def test_a_place_that_is_none_of_ours_deceives_nobody(world: World) -> None:
    boss = await acting.admin(world)
    await world.events("login")
    sealed(world)
    for place in ("1:" + "0" * 64, "999999999999999999:" + "0" * 64):
        told = await boss.done("GET", "/audit/verification", params={"after": place})
        assert not told["ok"], place


async def test_it_takes_the_scope_and_one_turn(world: World) -> None:
    administrator(world)
    clerk = await acting.clerk(world, "users:read")
    problem(await clerk("GET", "/audit/verification"), 403)
    somebody(world, "users:read")
    browser = await seated(world, "ada")
    assert (await browser.get(at("/audit-check"))).status == 403
    boss, root = await acting.admin(world), await seated(world)
    turn: threading.Lock = administration._TURN  # type: ignore[assignment]
    with turn:
        answer = await boss("GET", "/audit/verification")
        problem(answer, 503)
        assert answer.headers["retry-after"]
        page = await root.get(at("/audit-check"))
        assert page.status == 503 and "being checked already" in page.text
    assert (await boss("GET", "/audit/verification")).status_code == 200


async def test_many_faults_are_counted_and_some_told(world: World) -> None:
    administrator(world)
    boss, browser = await acting.admin(world), await seated(world)
    happen(world, 250)
    await world.events("login")
    sealed(world)
    damage(world, update(AuditEvent).where(col(AuditEvent.seq) > 10).values(subject=EVIL))
    told = await boss.done("GET", "/audit/verification")
    assert told["fault_count"] > 240 and len(told["faults"]) == 100
    page = await browser.get(at("/audit-check"))
    assert page.text.count("or its place was changed") == 100 and "and 1" in page.text
    assert "<img src=x" not in page.answer.text
