"""What happened is on record, complete, and nobody can change the record unnoticed."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text
from sqlmodel import Session, col, func, select

from identity import clock
from identity.app import create_app
from identity.directory.users.accounts import find_by_login
from identity.errors import Overloaded, Unavailable
from identity.records import audit
from identity.records.audit import AuditEvent, AuditHead, AuditQueue, Fault, Origin, chain, origin
from identity.service.opening import audit_keys, open_database
from identity.store import Database
from tests.acting import admin, clerk
from tests.serving import ADMIN_PASSWORD
from tests.world import PASSWORD, Caller, World, an_address, services_of

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
EVENTS = 12

Execute = Callable[..., None]


def happen(db: Database, count: int = 1, name: str = "user.created") -> None:
    with db.transaction() as session:
        for n in range(count):
            audit.record(session, name, subject=f"subject {n}", client_id="shop", n=n)


def seal(db: Database, key: bytes = KEY) -> None:
    with db.transaction() as session:
        audit.seal(session, key)


def faults(db: Database, *keys: bytes) -> list[Fault]:
    with db.transaction() as session:
        return audit.verify(session, keys or (KEY,)).faults


def places(db: Database) -> list[int | None]:
    """Each event's place in the chain, in the order in which they were written."""
    with db.transaction() as session:
        return list(session.exec(select(AuditEvent.seq).order_by(col(AuditEvent.id))).all())


# --- The chain ------------------------------------------------------------------------------


@pytest.fixture
def sealed(db: Database) -> Database:
    """Twelve events in two batches, sealed."""
    who = Origin(request_id="r1", address="192.0.2.1", actor_type="user", actor="ada")
    before = origin.set(who)
    happen(db, EVENTS // 2)
    seal(db)
    happen(db, EVENTS // 2)
    seal(db)
    origin.reset(before)
    assert places(db) == list(range(1, EVENTS + 1))
    return db


@pytest.fixture
def execute(sealed: Database) -> Execute:
    """SQL as whoever has the database's password can write it."""

    def execute(*statements: str, **values: Any) -> None:
        with sealed.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement), values)

    return execute


def test_a_chain_that_nobody_touched_has_no_fault(sealed: Database) -> None:
    assert faults(sealed) == []
    happen(sealed)  # not sealed yet, which is no fault
    assert faults(sealed) == []


def test_an_empty_record_has_no_fault(db: Database) -> None:
    seal(db)
    assert faults(db) == []


FORGERIES = {
    "id": 4711,
    "at": "2001-01-01 00:00:00",
    "event": "user.deleted",
    "outcome": "refused",
    "actor_type": "cli",
    "actor": "mallory",
    "subject": "mallory",
    "client_id": "evil",
    "address": "203.0.113.9",
    "request_id": "r2",
    "detail": json.dumps({"n": 4711}),
    "digest": "0" * 64,
}


def test_every_column_is_guarded() -> None:
    assert FORGERIES.keys() | {"seq"} == set(AuditEvent.model_fields)


def faults_after(db: Database, statement: str, **values: Any) -> list[int]:
    """The places at which faults are found once `statement` is done; it is undone again."""
    with db.engine.connect() as connection, Session(connection) as session:
        connection.execute(text(statement), values)
        return [fault.seq for fault in audit.verify(session, [KEY]).faults]


@pytest.mark.parametrize("place", [1, EVENTS // 2, EVENTS])
def test_a_changed_member_is_found_whichever_it_is(sealed: Database, place: int) -> None:
    for column, forged in FORGERIES.items():
        change = f"UPDATE audit_event SET {column} = :forged WHERE seq = {place}"
        assert place in faults_after(sealed, change, forged=forged), column
    assert faults(sealed) == []


def test_an_erased_member_is_found(sealed: Database) -> None:
    for column in ("actor", "subject", "client_id", "address", "request_id"):
        erase = f"UPDATE audit_event SET {column} = NULL WHERE seq = 3"
        assert faults_after(sealed, erase) == [3], column


@pytest.mark.parametrize("place", [1, EVENTS // 2, EVENTS])
def test_a_removed_event_is_found(sealed: Database, execute: Execute, place: int) -> None:
    execute("DELETE FROM audit_event WHERE seq = :place", place=place)
    assert faults(sealed)[0].seq == place
    happen(sealed)
    seal(sealed)
    assert faults(sealed)[0].seq == place


DAMAGE = {
    "none": "SELECT 1",
    "changed": "UPDATE audit_event SET actor = 'eve' WHERE seq IN (5, 6)",
    "first": "DELETE FROM audit_event WHERE seq = 1",
    "middle": "DELETE FROM audit_event WHERE seq IN (5, 6, 7)",
    "end": "DELETE FROM audit_event WHERE seq > 9",
    "all": "DELETE FROM audit_event",
    "no digest": "UPDATE audit_event SET digest = NULL WHERE seq = 5",
    "far away": "UPDATE audit_event SET seq = 9223372036854775807 WHERE seq = 5",
    "before all": "UPDATE audit_event SET seq = -seq WHERE seq < 6",
    "no head": "DELETE FROM audit_head",
    "head": "UPDATE audit_head SET signature = 'x'",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_stretch_at_a_time_finds_what_the_whole_walk_finds(sealed: Database, damage: str) -> None:
    """However long a stretch is; where it ends is told as text in between."""
    with sealed.engine.connect() as connection, Session(connection) as session:
        connection.execute(text(DAMAGE[damage]))
        whole = audit.verify(session, [KEY])
        assert whole.ends is None and (whole.faults == []) is (damage == "none")
        for most in (1, 2, 5, EVENTS - 1, EVENTS, EVENTS + 1):
            found, after, looks = [], None, 0
            while True:
                part = audit.verify(session, [KEY], after=after, most=most)
                found += part.faults
                looks += 1
                if part.ends is None:
                    break
                after = audit.Place.of(str(part.ends))
                assert after is not None
            assert found == whole.faults, most
            assert looks <= EVENTS // most + 1


def test_a_removed_event_whose_followers_moved_up_is_found(
    sealed: Database, execute: Execute
) -> None:
    execute("DELETE FROM audit_event WHERE seq = 3")
    for place in range(4, EVENTS + 1):
        execute("UPDATE audit_event SET seq = seq - 1 WHERE seq = :place", place=place)
    assert faults(sealed)[0].seq == 3


def test_an_event_taken_out_of_the_chain_again_is_found(sealed: Database, execute: Execute) -> None:
    execute("UPDATE audit_event SET seq = NULL, digest = NULL WHERE seq = 3")
    seal(sealed)
    assert faults(sealed)[0].seq == 3


def test_reordered_events_are_found(sealed: Database, execute: Execute) -> None:
    execute(
        "UPDATE audit_event SET seq = -1 WHERE seq = 3",
        "UPDATE audit_event SET seq = 3 WHERE seq = 4",
        "UPDATE audit_event SET seq = 4 WHERE seq = -1",
    )
    assert {3, 4} <= {fault.seq for fault in faults(sealed)}


def test_an_event_placed_before_the_first_is_found(sealed: Database, execute: Execute) -> None:
    happen(sealed)
    execute("UPDATE audit_event SET seq = 0, digest = 'x' WHERE seq IS NULL")
    assert faults(sealed)


def test_events_cut_off_at_the_end_are_found(sealed: Database, execute: Execute) -> None:
    execute("DELETE FROM audit_event WHERE seq > 9")
    assert [(fault.seq, fault.words) for fault in faults(sealed)] == [
        (10, f"events 10 to {EVENTS} were cut off")
    ]


def test_a_head_moved_back_to_hide_the_cut_is_found(sealed: Database, execute: Execute) -> None:
    execute(
        "UPDATE audit_head SET seq = 9, digest = (SELECT digest FROM audit_event WHERE seq = 9)",
        "DELETE FROM audit_event WHERE seq > 9",
    )
    assert [fault.words for fault in faults(sealed)] == ["the head's signature is not ours"]


def test_events_added_without_the_key_are_found(sealed: Database, execute: Execute) -> None:
    happen(sealed)
    with sealed.transaction() as session:
        last = session.exec(select(AuditEvent).where(AuditEvent.seq == EVENTS)).one()
        new = session.exec(select(AuditEvent).where(col(AuditEvent.seq).is_(None))).one()
        new.seq, new.digest = EVENTS + 1, chain.link(last.digest or "", EVENTS + 1, new)
        session.add(new)
    assert [fault.words for fault in faults(sealed)] == [
        "the chain does not end at its signed head"
    ]


def test_an_edited_head_is_found(sealed: Database) -> None:
    for column, forged in {"seq": EVENTS + 1, "digest": "0" * 64, "signature": "0" * 64}.items():
        edit = f"UPDATE audit_head SET {column} = :forged"
        assert faults_after(sealed, edit, forged=forged), column


def test_a_removed_head_is_found_and_not_replaced(sealed: Database, execute: Execute) -> None:
    execute("DELETE FROM audit_head")
    happen(sealed)
    with pytest.raises(Exception, match=r"(?i)unique"):
        seal(sealed)
    assert [fault.words for fault in faults(sealed)] == ["the signed head of the chain is missing"]


def test_a_chain_rewritten_with_another_key_is_found(sealed: Database, execute: Execute) -> None:
    execute(
        "UPDATE audit_event SET outcome = 'refused' WHERE seq = 3",
        "UPDATE audit_event SET seq = NULL, digest = NULL",
        "DELETE FROM audit_head",
    )
    seal(sealed, OTHER_KEY)
    assert [fault.words for fault in faults(sealed)] == ["the head's signature is not ours"]
    assert faults(sealed, OTHER_KEY) == []


def test_a_head_signed_with_a_key_from_before_the_rotation_is_good(sealed: Database) -> None:
    assert faults(sealed, OTHER_KEY, KEY) == []


def test_all_faults_are_told_in_order(sealed: Database, execute: Execute) -> None:
    execute(
        "UPDATE audit_event SET event = 'forged' WHERE seq IN (2, 7)",
        "DELETE FROM audit_event WHERE seq IN (4, 5)",
    )
    assert [fault.seq for fault in faults(sealed)] == [2, 4, 7]


# --- Sealers --------------------------------------------------------------------------------


def test_sealers_at_once_make_one_chain(
    db: Database, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "BATCH", 7)
    happen(db, 300)
    others = [open_database(settings) for _ in range(4)]

    def work(own: Database) -> None:
        while None in places(own):
            seal(own)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, others))
    for other in others:
        other.close()
    assert places(db) == list(range(1, 301))
    assert faults(db) == []


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_a_chain_that_grows_while_it_is_verified_has_no_fault(
    db: Database, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each query sees newer commits than the one before."""
    happen(db, 5)
    seal(db)
    sealer, rounds = open_database(settings), iter(range(3))
    with Session(db.engine) as session:
        get = session.get

        def seal_and_get(*args: Any, **kwargs: Any) -> Any:
            if next(rounds, None) is not None:
                happen(sealer, 2)
                seal(sealer)
            return get(*args, **kwargs)

        monkeypatch.setattr(session, "get", seal_and_get)
        assert audit.verify(session, [KEY]).faults == []
    assert places(db) == list(range(1, 12))
    sealer.close()


@pytest.mark.parametrize("dialect", ["postgresql"])
async def test_an_event_committed_late_is_chained_when_it_is_there(
    world: World, database_url: str
) -> None:
    """An open transaction that has drawn a lower id holds up neither login nor sealer."""
    world.user()
    insert = (
        "INSERT INTO audit_event (at, event, outcome, actor_type, detail)"
        " VALUES (now(), 'slow', 'success', 'system', '{}') RETURNING id"
    )
    key = audit_keys(world.services.master)[0]
    with psycopg.connect(database_url) as slow:
        (low,) = slow.execute(insert).fetchone() or (0,)
        async with asyncio.timeout(5):
            await world.log_in()
        (login,) = await world.events("login")
        assert (login.id or 0) > low
        while await world.services.db.read(audit.unsealed):
            await world.services.db.write(lambda session: audit.seal(session, key))
        slow.commit()
    while await world.services.db.read(audit.unsealed):
        await world.services.db.write(lambda session: audit.seal(session, key))
    (login,), (late,) = await world.events("login"), await world.events("slow")
    assert (late.seq or 0) > (login.seq or 0) > 0
    with world.change() as session:
        assert audit.verify(session, [key]).faults == []


@pytest.mark.parametrize("dialect", ["postgresql"])
async def test_a_login_does_not_wait_for_a_sealer_at_work(world: World) -> None:
    world.user()
    await world.log_in()
    key = audit_keys(world.services.master)[0]
    with world.change() as session:
        audit.seal(session, key)  # and is not yet committed
        async with asyncio.timeout(5):
            await world.log_in()


async def test_every_event_is_sealed_within_about_a_second(world: World) -> None:
    world.user()
    await world.log_in()
    await world.act(world.client())
    services = world.services
    async with asyncio.timeout(4):  # the housekeeping tells nobody when it has been here
        while services.queue.depth or await services.db.read(audit.unsealed):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    with world.change() as session:
        issued = select(AuditEvent.seq).where(AuditEvent.event == "token.issued")
        assert session.exec(issued).one() is not None
        assert audit.verify(session, audit_keys(world.services.master)).faults == []


# --- The queue ------------------------------------------------------------------------------


class Refusing:
    """A database that cannot be asked; `meanwhile` happens while it is tried."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.meanwhile = meanwhile

    async def write_plain(self, unit: Any) -> None:
        self.meanwhile()
        raise Unavailable


async def test_a_full_queue_refuses_and_forgets_nothing(db: Database) -> None:
    queue = AuditQueue(3)
    for n in range(3):
        queue.put("token.issued", n=n)
    with pytest.raises(Overloaded):
        queue.put("token.issued", n=3)
    await queue.flush(db, KEY)
    queue.put("token.issued", n=4)
    await queue.flush(db, KEY)
    with db.transaction() as session:
        details = session.exec(select(AuditEvent.detail).order_by(col(AuditEvent.id))).all()
    assert [detail["n"] for detail in details] == [0, 1, 2, 4]


async def test_a_failed_flush_is_repeated_and_the_bound_holds_meanwhile(db: Database) -> None:
    queue = AuditQueue(3)

    def fill() -> None:
        while queue.depth < 3:
            queue.put("token.issued", n=queue.depth)
        with pytest.raises(Overloaded):
            queue.put("token.issued")

    queue.put("token.issued", n="first")
    for _ in range(3):
        refusing: Any = Refusing(fill)
        with pytest.raises(Unavailable):
            await queue.flush(refusing, KEY)
    assert queue.depth == 3
    await queue.flush(db, KEY)
    assert queue.depth == 0
    with db.transaction() as session:
        details = session.exec(select(AuditEvent.detail).order_by(col(AuditEvent.id))).all()
    assert [detail["n"] for detail in details] == ["first", 1, 2]


async def test_what_is_put_while_a_flush_is_under_way_is_kept_for_the_next(db: Database) -> None:
    queue = AuditQueue()
    queue.put("first")
    flushing = asyncio.create_task(queue.flush(db, KEY))
    await asyncio.sleep(0)
    queue.put("second")
    await flushing
    assert queue.depth == 1
    await queue.flush(db, KEY)
    with db.transaction() as session:
        names = session.exec(select(AuditEvent.event).order_by(col(AuditEvent.id))).all()
    assert names == ["first", "second"]


async def test_flushes_at_once_write_each_event_once(db: Database) -> None:
    queue = AuditQueue()
    for n in range(5):
        queue.put("test", n=n)
    flushing = [asyncio.create_task(queue.flush(db, KEY)) for _ in range(3)]
    await asyncio.sleep(0)
    queue.put("test", n=5)
    await asyncio.gather(*flushing)
    assert queue.depth == 0
    assert len(places(db)) == 6


async def test_what_was_queued_is_chained_as_it_is_written_behind_what_was_before(
    db: Database,
) -> None:
    happen(db, 2)
    seal(db)
    queue = AuditQueue()
    with clock.frozen(datetime(2031, 5, 4, 12, tzinfo=UTC)):  # a time without a fraction
        queue.put("test", subject="ädä", client_id=None, n=1, listed=("a", "b"), on=True)
    queue.put("test", outcome="refused", n=2**40, ratio=0.1, b="2", a={"y": 1, "x": None})
    (sealed,) = await queue.flush(db, KEY)
    assert (sealed.count, sealed.seq) == (2, 4)
    happen(db)
    assert places(db) == [1, 2, 3, 4, None]
    seal(db)
    assert faults(db) == []
    with db.transaction() as session:
        one, two = session.exec(select(AuditEvent).where(AuditEvent.event == "test")).all()
        one.detail = {**one.detail, "n": 2}
        two.at += timedelta(microseconds=1)
    assert [fault.seq for fault in faults(db)] == [3, 4]


@pytest.mark.parametrize("dialect", ["postgresql"])
async def test_what_is_queued_does_not_wait_for_a_sealer_at_work(db: Database) -> None:
    happen(db)
    queue = AuditQueue()
    queue.put("test")
    with db.transaction() as session:
        assert audit.seal(session, KEY)
        async with asyncio.timeout(5):
            assert await queue.flush(db, KEY) == []
    assert places(db) == [1, None]
    seal(db)
    assert places(db) == [1, 2]
    assert faults(db) == []


async def test_no_text_can_hold_up_the_queue(db: Database) -> None:
    """PostgreSQL stores neither NUL nor lone surrogates."""
    queue, nasty = AuditQueue(), "a\0b\ud800"
    queue.put("nasty", subject=nasty, client_id=nasty, text=nasty, listed=[nasty])
    await queue.flush(db, KEY)
    with db.transaction() as session:
        found = session.exec(select(AuditEvent)).one()
    assert found.subject == found.client_id == found.detail["text"] == "a\ufffdb?"
    assert found.detail["listed"] == ["a\ufffdb?"]


async def test_issuing_to_a_client_writes_nothing_and_refreshing_no_event(settings: Any) -> None:
    """Without the housekeeping, which flushes once a second."""
    app = create_app(settings)
    services = services_of(app)
    transport = httpx.ASGITransport(app=app, client=(an_address(), 1))
    async with httpx.AsyncClient(transport=transport, base_url=settings.issuer) as api:
        world = World(app, api)
        world.user()
        shop = world.client()
        login = await world.log_in()
        await world.act(shop)
        written: list[str] = []

        def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith(("INSERT", "UPDATE", "DELETE")):
                written.append(statement)

        sqlalchemy_event.listen(services.db.engine, "before_cursor_execute", note)
        held, stored = services.queue.depth, len(places(services.db))
        for _ in range(20):
            await world.act(shop)
        assert written == []
        assert (await world.refresh(login["refresh_token"])).status_code == 200
        assert services.queue.depth == held + 21
        assert len(places(services.db)) == stored
    await services.close()


async def test_a_full_queue_answers_503_and_serves_again_after_the_flush(world: World) -> None:
    shop = world.client()
    queue = world.services.queue
    await queue.flush(world.services.db, audit_keys(world.services.master)[0])
    queue._size = 2
    answers = [await world.token(shop, grant_type="client_credentials") for _ in range(4)]
    if queue.depth == 2:  # the housekeeping has not been here meanwhile
        assert [answer.status_code for answer in answers] == [200, 200, 503, 503]
        assert int(answers[-1].headers["retry-after"]) >= 1
    issued = sum(answer.status_code == 200 for answer in answers)
    assert len(await world.events("token.issued")) == issued
    assert (await world.token(shop, grant_type="client_credentials")).status_code == 200


# --- What is on record ----------------------------------------------------------------------


async def on_record(world: World, answer: httpx.Response) -> list[dict[str, Any]]:
    """The events of the request that got `answer`."""
    await world.services.queue.flush(world.services.db, audit_keys(world.services.master)[0])
    with world.change() as session:
        query = select(AuditEvent).where(AuditEvent.request_id == answer.headers["x-request-id"])
        return [
            event.model_dump(include={"event", "outcome", "actor_type", "actor", "address"})
            for event in session.exec(query.order_by(col(AuditEvent.id))).all()
        ]


async def test_every_event_says_who_from_where_in_which_request_and_how_it_ended(
    world: World,
) -> None:
    user, shop = world.user(), world.client()
    boss = await admin(world)
    tokens = await world.log_in(client=shop)
    small = await clerk(world, "users:read", username="small")
    wrong = Caller(shop.id, "not its secret")
    transport = world.api._transport
    assert isinstance(transport, httpx.ASGITransport)
    address = transport.client[0]
    form = {"grant_type": "password", "username": "ada"}

    async def expect(
        answer: httpx.Response, status: int, *events: tuple[str, str, str, str | None]
    ) -> None:
        assert answer.status_code == status, answer.text
        assert await on_record(world, answer) == [
            {
                "event": name, "outcome": outcome, "actor_type": actor_type, "actor": actor,
                "address": address,
            }
            for name, outcome, actor_type, actor in events
        ]  # fmt: skip

    await expect(
        await world.token(shop, password=PASSWORD, **form), 200,
        ("login", "success", "user", user.id),
    )  # fmt: skip
    await expect(
        await world.token(shop, password="wrong password", **form), 400,
        ("login", "refused", "client", shop.id),
    )  # fmt: skip
    await expect(
        await world.token(
            shop, grant_type="password", username="nobody", password="wrong password"
        ), 400,
        ("login", "refused", "client", shop.id),
    )  # fmt: skip
    await expect(
        await world.token(shop, grant_type="client_credentials"), 200,
        ("token.issued", "success", "client", shop.id),
    )  # fmt: skip
    refreshed = await world.refresh(tokens["refresh_token"], shop)
    await expect(refreshed, 200, ("token.issued", "success", "client", shop.id))
    await expect(
        await world.refresh("rt_unknown", shop), 400,
        ("token.refused", "refused", "client", shop.id),
    )  # fmt: skip
    await expect(
        await world.api.post("/introspect", data={"token": "x"} | wrong.post), 401,
        ("client.authentication", "refused", "anonymous", None),
    )  # fmt: skip
    await expect(
        await world.revoke(refreshed.json()["refresh_token"], shop), 200,
        ("session.ended", "success", "client", shop.id),
    )  # fmt: skip
    await expect(
        await small("DELETE", f"/users/{user.id}"), 403,
        ("access", "refused", "user", await _id_of(world, "small")),
    )  # fmt: skip
    await expect(
        await boss("PATCH", f"/users/{user.id}", {"status": "disabled"}), 200,
        ("user.disabled", "success", "user", await _id_of(world, "admin")),
        ("sessions.ended", "success", "user", await _id_of(world, "admin")),
    )  # fmt: skip


async def test_the_refusal_of_a_grant_beyond_ones_own_is_on_record(world: World) -> None:
    user = world.user()
    ambitious = await clerk(world, "users:read", "users:write", username="ambitious")
    refused = await ambitious("PUT", f"/users/{user.id}/roles", {"roles": ["admin"]})
    assert refused.status_code == 403
    (event,) = await on_record(world, refused)
    assert (event["event"], event["outcome"]) == ("access", "refused")
    assert (event["actor_type"], event["actor"]) == ("user", await _id_of(world, "ambitious"))


async def test_no_secret_is_ever_on_record(world: World) -> None:
    world.user()
    shop = world.client()
    boss = await admin(world)
    tokens = await world.log_in(client=shop)
    refreshed = (await world.refresh(tokens["refresh_token"], shop)).json()
    await world.refresh(tokens["refresh_token"], shop)
    await world.refresh("rt_" + "x" * 43, shop)
    await world.log_in()
    made = await boss.done("POST", "/clients", {"name": "new"})
    await world.revoke(tokens["access_token"], shop)
    await world.events("login")
    with world.change() as session:
        assert session.exec(select(func.count()).select_from(AuditHead)).one() <= 1
        every = json.dumps([e.model_dump(mode="json") for e in session.exec(select(AuditEvent))])
    secrets = [
        PASSWORD, ADMIN_PASSWORD, shop.secret, boss.token, tokens["refresh_token"],
        tokens["access_token"], refreshed["refresh_token"], refreshed["access_token"],
        *[value for name, value in made.items() if "secret" in name and isinstance(value, str)],
    ]  # fmt: skip
    assert [secret for secret in secrets if secret and secret in every] == []


async def _id_of(world: World, username: str) -> str:
    with world.change() as session:
        user = find_by_login(session, username)
    assert user is not None
    return user.id
