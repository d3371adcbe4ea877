"""Eight processes rotate the signing key at the same moment, and then revoke it: there is one, and
it was published before it signed."""

import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import col, select

from identity.keys.table import SigningKey
from identity.records.audit import AuditEvent
from identity.service.opening import open_database
from identity.settings import Settings
from identity.store import Database
from tests.databases import ROOT, environment
from tests.trials.row import Outcome, Place

PROCESSES = 8
CONTENDER = ROOT / "tests" / "keys" / "contender.py"
Everyone = Callable[[str], list[str]]


@contextmanager
def contending(database_url: str, keys_dir: Path) -> Iterator[Everyone]:
    """`everyone(act)`: what each of eight processes says to `act`, done by all at once."""
    processes = [
        subprocess.Popen(
            [sys.executable, CONTENDER, database_url, keys_dir],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tempfile.gettempdir(),
            env=environment(),
        )
        for _ in range(PROCESSES)
    ]

    def answers() -> list[str]:
        return [process.stdout.readline().strip() for process in processes if process.stdout]

    def everyone(act: str) -> list[str]:
        for process in processes:
            assert process.stdin
            process.stdin.write(f"{act}\n")
            process.stdin.flush()
        return answers()

    assert answers() == ["ready"] * PROCESSES
    yield everyone
    for process in processes:
        assert process.stdin
        assert process.stdout
        process.stdin.close()
        process.stdout.close()
    assert [process.wait(30) for process in processes] == [0] * PROCESSES


@dataclass
class Contest:
    everyone: Everyone
    db: Database


@contextmanager
def contest(database: str, place: Place) -> Iterator[Contest]:
    url, keys = place.templates.fresh(database, place.folder), place.folder / "keys"
    with ExitStack() as ends:
        ends.callback(place.templates.discard, url)
        db = open_database(Settings.of(database_url=url, keys_dir=keys))
        ends.callback(db.close)
        everyone = ends.enter_context(contending(url, keys))
        everyone("start")
        yield Contest(everyone, db)


def eight_rotate(stage: Contest, dice: random.Random) -> Outcome:
    seen = Outcome()

    def states() -> dict[str, str]:
        with stage.db.transaction() as session:
            rows = session.exec(select(SigningKey).where(SigningKey.serves == "")).all()
            return {row.kid: row.state for row in rows if row.state != "revoked"}

    before = states()
    said = set(stage.everyone("rotate"))
    after = states()
    made = after.keys() - before.keys()
    seen.see(said == made and len(made) == 1, f"{len(made)} keys were made, {len(said)} were said")
    counted = Counter(after.values())
    seen.see(counted == {"active": 1, "next": 1}, f"after a rotation: {dict(counted)}")
    (active,) = (kid for kid, state in after.items() if state == "active")
    seen.see(stage.everyone(f"revoke {active}") == ["revoked"] * PROCESSES, "not all revoked it")
    counted = Counter(states().values())
    seen.see(counted == {"active": 1}, f"after a revocation: {dict(counted)}")
    for kid in made:
        with stage.db.transaction() as session:
            query = select(AuditEvent.event).where(AuditEvent.subject == kid)
            told = session.exec(query.order_by(col(AuditEvent.id))).all()
        seen.see(list(told) == ["key.created", "key.activated"], f"its life: {list(told)}")
    return seen
