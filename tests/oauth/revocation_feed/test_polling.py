"""`GET /revocations` without a stream, and who may ask."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import delete

from identity import clock
from identity.directory.users import accounts
from identity.store import changes
from identity.store.table import Change
from tests.world import Caller, World, bearer, refused

pytestmark = pytest.mark.anyio
AT = "/revocations"


@pytest.fixture
def sibling(world: World) -> Caller:
    return world.client("sibling", scopes=["introspect"])


async def poll(world: World, sibling: Caller, **query: Any) -> dict[str, Any]:
    answer = await world.api.get(AT, params=query, headers=sibling.basic)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    document: dict[str, Any] = answer.json()
    assert set(document) == {"entries", "position", "reset", "now"}
    return document


def change(world: World, kind: str, ref: str) -> None:
    with world.change() as session:
        changes.record(session, kind, ref)


async def test_a_snapshot_then_what_came_since(world: World, sibling: Caller) -> None:
    client = world.client("job", scopes=[])
    tokens = [(await world.act(client))["access_token"] for _ in range(3)]
    ids = [(await world.introspect(token))["jti"] for token in tokens]
    await world.revoke(tokens[0], client)
    whole = await poll(world, sibling)
    assert whole["reset"] is True
    assert [(e["kind"], e["ref"]) for e in whole["entries"]] == [("token", ids[0])]
    assert await poll(world, sibling, after=whole["position"]) == {
        "entries": [], "position": whole["position"], "reset": False, "now": pytest.approx(
            time.time(), abs=30
        ),
    }  # fmt: skip
    await world.revoke(tokens[1], client)
    await world.revoke(tokens[2], client)
    since = await poll(world, sibling, after=whole["position"], wait=20)
    assert [e["ref"] for e in since["entries"]] == ids[1:]
    assert since["position"] > whole["position"]
    assert (await poll(world, sibling, after=since["position"]))["entries"] == []


async def test_it_waits_for_something_new_and_not_longer(world: World, sibling: Caller) -> None:
    position = (await poll(world, sibling))["position"]
    waiting = asyncio.create_task(poll(world, sibling, after=position, wait=30))
    await asyncio.sleep(0.1)
    change(world, "session.ended", "a session")
    answer = await asyncio.wait_for(waiting, 20)
    assert [e["ref"] for e in answer["entries"]] == ["a session"]
    began = time.monotonic()
    empty = await poll(world, sibling, after=answer["position"], wait="0.3")
    assert (empty["entries"], empty["reset"]) == ([], False)
    assert 0.25 < time.monotonic() - began < 3


async def test_entries_vanish_with_the_last_token_that_they_could_hit(
    world: World, sibling: Caller, settings: Any
) -> None:
    client = world.client("job", scopes=[])
    token = (await world.act(client))["access_token"]
    expires = (await world.introspect(token))["exp"]
    with clock.frozen(clock.utcnow() + timedelta(minutes=5)) as frozen:
        await world.revoke(token, client)
        change(world, "session.ended", "a session")
        entries = {e["ref"]: e for e in (await poll(world, sibling))["entries"]}
        assert sorted(e["kind"] for e in entries.values()) == ["session", "token"]
        ttl = settings.tokens.access_token_ttl.total_seconds()
        assert expires <= min(e["exp"] for e in entries.values()) <= expires + 60
        assert entries["a session"]["exp"] == pytest.approx(frozen.at + ttl + 90, abs=1)
        frozen.tick(ttl - 300 + 31)
        left = (await poll(world, sibling))["entries"]
        assert [e["ref"] for e in left] == ["a session"]
        frozen.tick(360)
        assert (await poll(world, sibling))["entries"] == []


async def test_kinds_have_their_names(world: World, sibling: Caller) -> None:
    kinds = {
        "token.revoked": "token", "session.ended": "session",
        "client.revoked": "client", "client.narrowed": "client", "key.revoked": "key",
    }  # fmt: skip
    for kind in (*kinds, "user.changed", "client.changed", "role.changed", "scope.changed"):
        change(world, kind, kind)
    entries = (await poll(world, sibling))["entries"]
    assert {e["ref"]: e["kind"] for e in entries} == kinds
    assert [e["id"] for e in entries] == sorted(e["id"] for e in entries)


async def test_a_user_who_loses_something_is_told_while_a_token_of_theirs_lives(
    world: World, sibling: Caller
) -> None:
    world.scopes("read", role="clerk")
    ada, bob = (world.user(name, roles=["clerk"]) for name in ("ada", "bob"))
    await world.log_in("ada")
    for user in (ada, bob):
        with world.change() as session:
            accounts.set_roles(session, accounts.get(session, user.id), [], None)
    entries = (await poll(world, sibling))["entries"]
    assert [(e["kind"], e["ref"]) for e in entries] == [("subject", ada.id)]
    with world.change() as session:
        accounts.set_roles(session, accounts.get(session, ada.id), ["clerk"], None)
    assert len((await poll(world, sibling))["entries"]) == 1  # to gain is not to lose


async def test_a_position_that_was_pruned_or_never_was_begins_anew(
    world: World, sibling: Caller
) -> None:
    position = (await poll(world, sibling))["position"]
    change(world, "session.ended", "a session")
    assert (await poll(world, sibling, after=position))["reset"] is False
    with world.change() as session:
        session.exec(delete(Change).where(Change.ref != "a session"))
    for gone in (position, 10**9, 10**76, 10**99, 10**100):
        answer = await poll(world, sibling, after=gone, wait=20)
        assert answer["reset"] is True
        assert [e["ref"] for e in answer["entries"]] == ["a session"]


@pytest.mark.parametrize(
    "query",
    ["after=x", "after=-1", "after=1.5", "after=1&after=2", "wait=61", "wait=-1", "wait=x",
     "wait=nan", "wait=1e1"],
)  # fmt: skip
async def test_a_question_that_makes_no_sense_is_refused(
    world: World, sibling: Caller, query: str
) -> None:
    answer = await world.api.get(f"{AT}?{query}", headers=sibling.basic)
    refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_only_who_may_introspect_is_told(world: World, accept: str) -> None:
    async def ask(**headers: str) -> Any:
        return await world.api.get(AT, headers={"accept": accept, **headers})

    stranger = world.client("stranger", scopes=["*"])
    answer = await ask()
    refused(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic")
    refused(await ask(**Caller("stranger", "wrong").basic), 401, "invalid_client")
    refused(await ask(**stranger.basic), 403, "access_denied")
    world.client("open", public=True, scopes=["introspect"])
    refused(await ask(**Caller("open", "").basic), 401, "invalid_client")
    world.user("ada")
    token = (await world.log_in("ada"))["access_token"]
    answer = await ask(**bearer(token))
    refused(answer, 403, "insufficient_scope")
    assert 'scope="introspect"' in answer.headers["www-authenticate"]
    refused(await ask(**bearer("nonsense")), 401, "invalid_token")
    if accept == "application/json":
        job = world.client("job", scopes=["introspect"])
        token = (await world.act(job, scope="introspect"))["access_token"]
        assert (await ask(**bearer(token))).status_code == 200
