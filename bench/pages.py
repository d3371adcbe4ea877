"""What people wait for: pages that are drawn, and the search among a million accounts."""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import cycle
from urllib.parse import urlencode

import httpx
from sqlmodel import select

from bench import processes, wrk
from bench.measure import FLOOR_GET
from bench.prepared import prepared
from bench.report import Figure
from bench.world import USERNAME, Size, World
from identity.clock import utcnow
from identity.directory.users.table import LoginName, User, UserRole
from identity.http.cookies import SESSION
from identity.opaque import digest, mint, new_id
from identity.tokens.sessions.table import BrowserSession

GOALS = {"/sign-in": 0.15, "/console/users": 0.03}
FIRST = (
    "Ada",
    "Bela",
    "Chidi",
    "Dorothea",
    "Émile",
    "Fatima",
    "Grace",
    "Hannelore",
    "İpek",
    "Jörg",
)
LAST = (
    "Achebe",
    "Bernoulli",
    "Curie",
    "Dijkstra",
    "Erdős",
    "Franklin",
    "Gauß",
    "Hopper",
    "Noether",
)
TYPED = (
    "a", "ad", "ada", "Grace", "grace hop", "noether", "user-", "user-4", "user-99999",
    "user-123456", "hannelore 77", "zzzz", "Émile", "émi", "a b c", "gauß", "User-5",
)  # fmt: skip
"""From what nearly everybody is called to what nobody is."""
TIMES = 10


def pages(options: argparse.Namespace) -> list[Figure]:
    figures = []
    for dialect in ("sqlite", "postgresql"):
        size = Size(users=options.users // 2)
        with (
            prepared(dialect, size) as (folder, url, world, port),
            processes.floor(folder, options.server_core) as floor,
        ):
            _called(world, options.users - size.users)
            cookie = {"Cookie": f"{SESSION}={_administrator(world)}"}
            with processes.service(folder, url, options.server_core, PORT=str(port)) as server:
                for path, goal in GOALS.items():
                    asked = wrk.request("GET", path, cookie if path.startswith("/console") else {})
                    ratio = _ratio(server, floor, asked, options)
                    name = f"{path}, {dialect}, {options.users:,} users, × floor"
                    figures.append(Figure(name, ratio, "×", at_least=goal))
                taken = [1_000 * each for each in _searches(port, cookie)]
            slowest = f"the slowest of {len(taken):,} searches of the console"
            name = f"{dialect}, {options.users:,} users"
            figures += [
                Figure(f"a search of the console, {name}, p50", statistics.median(taken), "ms"),
                Figure(f"{slowest}, {name}", max(taken), "ms", at_most=100),
            ]
    return figures


def _called(world: World, count: int) -> None:
    """`count` more users, who have names."""
    ids = [new_id() for _ in range(count)]

    def rows() -> Iterator[dict[str, object]]:
        names = cycle((first, last) for first in FIRST for last in LAST)
        for number, (each, (first, last)) in enumerate(zip(ids, names, strict=False)):
            yield {
                "id": each, "username": f"person-{number}", "status": "active",
                "name": f"{first} {last} {number}", "given_name": first,
                "family_name": f"{last} {number}",
            }  # fmt: skip

    world.insert(User, rows())
    world.insert(LoginName, ({"name": f"person-{n}", "user_id": i} for n, i in enumerate(ids)))
    with world._services.db.transaction() as session:
        if session.get_bind().dialect.name == "postgresql":
            session.connection().exec_driver_sql("ANALYZE")


def _administrator(world: World) -> str:
    """The cookie of one who signed in a moment ago."""
    cookie, now = mint("bs"), utcnow()
    with world._services.db.transaction() as session:
        ada = session.exec(select(User.id).where(User.username == USERNAME)).one()
        session.add(UserRole(user_id=ada, role="admin"))
        session.add(
            BrowserSession(
                id=new_id(), digest=digest(cookie), user_id=ada, amr=["pwd"], acr="aal1",
                created_at=now, authenticated_at=now, last_used_at=now,
                expires_at=now + timedelta(days=1),
            )
        )  # fmt: skip
    return cookie


def _ratio(
    server: processes.Process, floor: processes.Process, asked: bytes, options: argparse.Namespace
) -> float:
    """Median over the rounds, each behind a floor of its own."""
    wrk.run(server.port, [asked], seconds=3, core=options.load_core)  # it is read and compiled
    found = []
    for _ in range(options.rounds):
        bare = wrk.run(floor.port, FLOOR_GET, seconds=options.seconds, core=options.load_core)
        ours = wrk.run(server.port, [asked], seconds=options.seconds, core=options.load_core)
        found.append(ours.rate / bare.rate)
    return statistics.median(found)


def _searches(port: int, cookie: dict[str, str]) -> Sequence[float]:
    """Seconds of each: every text is found `TIMES` times, the whole page with it."""
    taken = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=cookie, timeout=60) as console:
        for text in TYPED * TIMES:
            began = time.perf_counter()
            answer = console.get(f"/console/users?{urlencode({'q': text})}")
            taken.append(time.perf_counter() - began)
            answer.raise_for_status()
    return taken
