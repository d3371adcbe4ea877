"""What one request, one question, one change and one row cost on this machine, in processor time
(`bench.cpu`)."""

import asyncio
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import httpx
import psycopg

from bench import cpu, processes, wrk
from bench.fleet_model import shared
from bench.jobs import JOBS, Job
from bench.prepared import prepared
from bench.siblings import SNAPSHOT
from bench.world import BASIC, CLIENT, SECRET, Size, World
from identity.authentication.passwords.hashing import PasswordHasher
from identity.opaque import new_id
from identity.service.opening import open_database
from identity.settings import Settings
from identity.store import changes
from identity.store.feed_postgresql import PostgresSource
from identity.tokens.sessions import rotation
from identity.tokens.sessions.lifecycle import Lifetimes
from identity.verifier import Verifier

CONNECTIONS = 64
PROCESSES = (1, 2, 4, 8)
QUESTIONS = 3_000
FOLLOWED = 4_000
ROTATED = 500
REVOKED = 50
STREAMS = 100
KNOWN = 100
"""Tokens, so few that each of eight processes knows them all before anything is measured."""
SIZED = 5_000
TABLES = {
    "user": ("user_account", ("user_account", "login_name")),
    "session": ("session", ("session",)),
    "refresh_token": ("refresh_token", ("refresh_token",)),
    "audit_event": ("audit_event", ("audit_event",)),
}
"""Of each size: which rows are counted, and which tables are weighed."""

Keep = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Ran:
    """A job on so many processes. µs a request; `cores`: how many all of it together had."""

    job: str
    processes: int
    rate: float
    service: float
    database: float
    load: float
    cores: float


def ones(before: dict[str, Any], keep: Keep) -> dict[str, Any]:
    """What one of each costs, in place of what `before` says; what it says of requests stays. Each
    is kept as it comes."""
    found = before | {"ones": _today()}

    def say(costs: dict[str, float]) -> None:
        found["costs"] |= _all_rounded(costs)
        print(costs, flush=True)
        keep(found)

    say({"login": _hashing()})
    with prepared("postgresql", Size(users=1_000)) as (folder, url, world, port):
        world.who_log_in("sized", SIZED)
        say(asyncio.run(_asking(world.settings, url)))
        say({"refresh_database": asyncio.run(_rotating(world, url))})
        with processes.service(folder, url, None, PORT=str(port)) as server:
            say(asyncio.run(_verifying(world)))
            for token in world.refresh_tokens(ROTATED):
                _refresh(server.port, token)
            say({"tell": asyncio.run(_telling(server, world))})
            say({"follow": _following(server, url, world)})
        say(_sizes(url))
    return found


def jobs(before: dict[str, Any], seconds: float, rounds: int) -> dict[str, Any]:
    """What requests cost with so many processes, in place of what `before` says. It needs a quiet
    machine."""
    ran: list[Ran] = []
    with prepared("postgresql", Size(users=1_000)) as (folder, url, world, port):
        for count in PROCESSES:
            with processes.service(folder, url, None, workers=count, PORT=str(port)) as server:
                _come_up(server)
                for name, job in _jobs().items():
                    ran.append(_run(name, job, server, url, world, count, seconds, rounds))
                    print(json.dumps(asdict(ran[-1])), flush=True)
    costs = {each.job: each.service for each in ran if each.processes == 1}
    costs["introspect"] -= shared(before["costs"]["ask"], 1, CONNECTIONS)
    kept = [
        {k: _rounded(v) if isinstance(v, float) else v for k, v in asdict(each).items()}
        for each in ran
    ]
    return before | {
        "jobs": _today(),
        "connections": CONNECTIONS,
        "costs": before["costs"] | _all_rounded(costs),
        "ran": kept,
    }


def _come_up(server: processes.Process) -> None:
    """The first process answers while the others are being started, which takes a core for a second
    or two each."""
    deadline = time.monotonic() + 120
    while True:
        before = cpu.spent(server.process.pid)
        time.sleep(2)
        if cpu.spent(server.process.pid) - before < 0.2:
            return
        if time.monotonic() > deadline:
            raise TimeoutError("the service is busy although nobody asks it")


def _today() -> str:
    cores = len(os.sched_getaffinity(0))
    return (
        f"{date.today():%d %B %Y}, {cores} cores, {platform.machine()}, "
        f"Python {platform.python_version()}"
    )


def _all_rounded(costs: dict[str, float]) -> dict[str, float]:
    return {name: _rounded(value) for name, value in costs.items()}


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _jobs() -> dict[str, Job]:
    return {
        "introspect": JOBS[0],
        "refresh": next(job for job in JOBS if "refresh" in job.name),
    }


def _run(
    name: str,
    job: Job,
    server: processes.Process,
    url: str,
    world: World,
    count: int,
    seconds: float,
    rounds: int,
) -> Ran:
    if not job.once:
        known = job.requests(world, 1)[:KNOWN]
        wrk.run(server.port, known, seconds=4, core=None, connections=CONNECTIONS)
    total: list[float] = [0.0] * 5
    for _ in range(rounds):
        requests = job.requests(world, min(seconds, 2)) if job.once else known
        with cpu.postmaster(url) as postmaster:
            before = (cpu.spent(server.process.pid), cpu.spent(postmaster), cpu.buried())
            load = wrk.run(
                server.port, requests, seconds=seconds, core=None, once=job.once,
                connections=CONNECTIONS,
            )  # fmt: skip
            after = (cpu.spent(server.process.pid), cpu.spent(postmaster), cpu.buried())
        spent = [b - a for a, b in zip(before, after, strict=True)]
        row = (*spent, load.answered, load.answered / load.rate)
        total = [t + s for t, s in zip(total, row, strict=True)]
    *spent, answered, lasted = total
    each = [seconds_ / answered * 1e6 for seconds_ in spent]
    return Ran(name, count, answered / lasted, *each, sum(spent) / lasted)


# --- One of each ----------------------------------------------------------------------------


def _hashing() -> float:
    """ms"""
    hasher = PasswordHasher(12)
    return min(cpu.each(range(3), lambda _: hasher.hash("correct horse battery"))) * 1e3


async def _asking(settings: Settings, url: str) -> dict[str, float]:
    db = open_database(settings)
    source = PostgresSource(url, db.histories)
    try:
        with db.transaction() as session:
            changes.record(session, "user.changed", "newest")
        position = await source.begin()
        with cpu.postmaster(url) as postmaster:
            before, ours = cpu.spent(postmaster), time.process_time()
            began = time.perf_counter()
            for _ in range(QUESTIONS):
                found = await source.follow(position, list)
                assert found is not None
                position = found
            lasted, ours = time.perf_counter() - began, time.process_time() - ours
            spent = cpu.spent(postmaster) - before
    finally:
        await source.close()
        await db.aclose()
    each = {"asking": lasted, "question": spent, "ask": ours}
    return {name: value / QUESTIONS * 1e6 for name, value in each.items()}


async def _rotating(world: World, url: str) -> float:
    """One refresh after the other: none shares its commit."""
    db = open_database(Settings.of(database_url=url))
    lifetimes = Lifetimes.of(world.settings)
    try:
        with cpu.postmaster(url) as postmaster:
            tokens = world.refresh_tokens(ROTATED)
            before = cpu.spent(postmaster)
            for token in tokens:
                login = await rotation.look(db, token)
                assert login is not None
                assert await rotation.swap(db, lifetimes, token, login, 0)
            return (cpu.spent(postmaster) - before) / ROTATED * 1e6
    finally:
        await db.aclose()


def _refresh(port: int, token: str) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    httpx.post(f"http://127.0.0.1:{port}/token", data=form, timeout=60).raise_for_status()


def _following(server: processes.Process, url: str, world: World) -> float:
    db = open_database(Settings.of(database_url=url))
    (token,) = world.access_tokens(1)

    def ask() -> None:
        answer = httpx.post(
            f"http://127.0.0.1:{server.port}/introspect",
            data={"token": token},
            auth=(CLIENT, SECRET),
            timeout=60,
        )
        assert answer.json()["active"]

    try:
        ask()
        for _ in range(FOLLOWED // 1_000):
            with db.transaction() as session:
                for _ in range(1_000):
                    changes.record(session, "session.ended", new_id())
        before = cpu.spent(server.process.pid)
        ask()
        return (cpu.spent(server.process.pid) - before) / FOLLOWED * 1e6
    finally:
        db.close()


async def _telling(server: processes.Process, world: World) -> float:
    """What revocations cost more where followers hear of them."""
    request = (
        "GET /revocations HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"
        f"Authorization: {BASIC}\r\n\r\n"
    ).encode()
    alone = await _revoking(server, world, [])
    streams = []
    for _ in range(STREAMS):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=SNAPSHOT)
        writer.write(request)
        streams.append((reader, writer))
    await asyncio.gather(*(reader.readuntil(b"event: live") for reader, _ in streams))
    told = await _revoking(server, world, [reader for reader, _ in streams])
    for _, writer in streams:
        writer.close()
    return max(0.0, told - alone) / (REVOKED * STREAMS) * 1e6


async def _revoking(
    server: processes.Process, world: World, streams: list[asyncio.StreamReader]
) -> float:
    """The service's processor time for `REVOKED` revocations that all the streams hear of."""
    tokens = world.access_tokens(REVOKED)
    before = cpu.spent(server.process.pid)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
        for token in tokens:
            heard = [reader.readuntil(b"event: revoked") for reader in streams]
            (await client.post("/revoke", data={"token": token})).raise_for_status()
            await asyncio.gather(*heard)
    return cpu.spent(server.process.pid) - before


async def _verifying(world: World) -> dict[str, float]:
    issuer = world.settings.issuer
    async with Verifier(
        issuer, issuer, client_id=CLIENT, client_secret=SECRET, cache_size=100_000
    ) as verifier:
        tokens = world.access_tokens(2_000)
        await verifier.verify(tokens[0])
        new, known = (sum(cpu.each(tokens, verifier.check)) / len(tokens) * 1e6 for _ in range(2))
    return {"verify": known, "verify_new": new}


def _sizes(url: str) -> dict[str, float]:
    """Bytes a row, with indexes, of tables as the jobs have left them."""
    found = {}
    with psycopg.connect(url, autocommit=True) as connection:
        for name, (counted, weighed) in TABLES.items():
            query = (
                f"SELECT count(*), {' + '.join(f'pg_total_relation_size({t!r})' for t in weighed)}"
            )
            rows, size = connection.execute(f"{query} FROM {counted}").fetchone() or (0, 0)
            found[name] = size / max(1, rows)
    return found
