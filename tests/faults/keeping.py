"""What expired is forgotten, or the database is copied, while clients refresh their tokens: how
much longer does a refresh take than before?"""

import random
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import insert
from sqlmodel import func, select

from identity.authentication.once import UsedOnce
from identity.clock import utcnow
from identity.opaque import new_id
from identity.tokens.sessions.table import BrowserSession, LoginSession, RefreshToken
from identity.tokens.table import RevokedToken
from tests.databases import environment
from tests.faults.replicas import CLIENT, ISSUER, Replicas, settings_of
from tests.faults.stages import started
from tests.trials.row import Outcome, Place

ROWS = 1_000_000
"""Of each kind."""
BATCH = 20_000
RATE = 40.0
"""Refreshes a second."""
QUIET = 30.0
"""Seconds of load before anything is begun; housekeeping first looks after 54 at least."""
MOST = 3600.0
"""Seconds until it is given up: forgetting is not in a hurry."""
SLOWER = 3.0
"""How much longer the slowest hundredth may take meanwhile."""
KINDS: tuple[Any, ...] = (LoginSession, BrowserSession, RevokedToken, UsedOnce)
"""Refresh tokens go with their sessions."""


@dataclass
class Kept:
    replicas: Replicas
    place: Place
    url: str

    def left(self) -> int:
        """Rows that are to be forgotten."""
        with self.replicas.db.snapshot() as session:
            gone = utcnow() - timedelta(days=9)
            counted = [
                session.exec(select(func.count()).select_from(kind).where(kind.expires_at < gone))
                for kind in KINDS
            ]
            return sum(each.one() for each in counted)


@contextmanager
def laden(database: str, place: Place) -> Iterator[Kept]:
    """Rows first: housekeeping looks as soon as there is a server."""
    with started(database, place, 0) as replicas:
        user = replicas.user().id
        for number in range(0, ROWS, BATCH):
            _fill(replicas, user, min(BATCH, ROWS - number))
        replicas.servers.append(replicas.start())
        yield Kept(replicas, place, replicas.url)


@contextmanager
def copied(database: str, place: Place) -> Iterator[Kept]:
    """With a hundred thousand sessions, so that there is something to copy."""
    with started(database, place, 1) as replicas:
        user = replicas.user().id
        for _ in range(5):
            _fill(replicas, user, BATCH, past=timedelta(days=-1))
        yield Kept(replicas, place, replicas.url)


def forgotten(stage: Kept, dice: random.Random) -> Outcome:
    def housekeeping(seen: Outcome) -> None:
        before, began = stage.left(), time.monotonic()
        while left := stage.left():
            if not seen.see(time.monotonic() - began < MOST, f"{left:,} rows are left"):
                return
            time.sleep(2)
        seen.measured |= {"rows": before, "forgotten within, s": time.monotonic() - began}

    return _beside(stage, housekeeping)


def backed_up(stage: Kept, dice: random.Random) -> Outcome:
    def backup(seen: Outcome) -> None:
        file = stage.place.folder / f"{dice.getrandbits(32):08x}.backup"
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "identity", "backup", str(file)],
            capture_output=True, text=True, cwd=stage.place.folder,
            env=environment(**settings_of(stage.url, stage.place.folder)),
        )  # fmt: skip
        seen.see(done.returncode == 0, done.stderr[-200:])
        seen.measured["copied within, s"] = time.monotonic() - began
        file.unlink(missing_ok=True)

    return _beside(stage, backup)


def _beside(stage: Kept, act: Callable[[Outcome], None]) -> Outcome:
    """How long refreshes take before `act`, and how long while it goes on."""
    seen, stop = Outcome(), threading.Event()
    took: list[tuple[float, float]] = []
    with stage.replicas.lines() as (line,):

        def refresh() -> None:
            logins = [line.log_in(stage.replicas.user().username) for _ in range(20)]
            due, number = time.monotonic(), 0
            while not stop.is_set():
                due = max(due + 1 / RATE, time.monotonic())
                time.sleep(max(0.0, due - time.monotonic()))
                login, number = logins[number % len(logins)], number + 1
                began = time.monotonic()
                answer = line.refresh(login["refresh_token"])
                took.append((began, time.monotonic() - began))
                if not seen.see(answer.status == 200, f"a refresh answered {answer.status}"):
                    return
                login |= answer.document

        thread = threading.Thread(target=refresh)
        thread.start()
        try:
            time.sleep(QUIET)
            began = time.monotonic()
            act(seen)
        finally:
            stop.set()
            thread.join()
    quiet = _slowest([each for at, each in took if at < began])
    busy = _slowest([each for at, each in took if at >= began])
    seen.measured |= {"p99 before, ms": 1000 * quiet, "p99 meanwhile, ms": 1000 * busy,
                      "times": busy / quiet}  # fmt: skip
    seen.strain(busy <= SLOWER * quiet, f"p99 {busy / quiet:.1f} times what it was")
    return seen


def _slowest(took: list[float]) -> float:
    """The 99th percentile."""
    return sorted(took)[int(len(took) * 0.99)]


def _fill(
    replicas: Replicas, user: str, count: int, past: timedelta = timedelta(days=10)
) -> None:  # fmt: skip
    """Rows of every kind, all long expired."""
    at = utcnow() - past
    times: dict[str, Any] = {"created_at": at, "last_used_at": at, "expires_at": at}
    sessions = [
        {"id": new_id(), "user_id": user, "client_id": CLIENT, "scope": "openid", "amr": ["pwd"],
         "audience": ISSUER, "access_expires_at": at, **times}
        for _ in range(count)
    ]  # fmt: skip
    refreshed = [
        {"digest": secrets.token_hex(32), "session_id": each["id"], "issued_at": at,
         "expires_at": at}
        for each in sessions
    ]  # fmt: skip
    browsers = [
        {"id": new_id(), "digest": secrets.token_hex(32), "user_id": user, "amr": ["pwd"],
         "acr": "aal1", "authenticated_at": at, **times}
        for _ in range(count)
    ]  # fmt: skip
    revoked = [{"jti": new_id(), "revoked_at": at, "expires_at": at} for _ in range(count)]
    used = [{"digest": secrets.token_hex(32), "expires_at": at} for _ in range(count)]
    with replicas.db.transaction() as session:
        for kind, rows in (
            (LoginSession, sessions), (RefreshToken, refreshed), (BrowserSession, browsers),
            (RevokedToken, revoked), (UsedOnce, used),
        ):  # fmt: skip
            session.connection().execute(insert(kind), rows)
