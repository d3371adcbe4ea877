"""Clocks that are off by up to half a minute, and clocks that are stepped back: nothing ends early,
and nothing that was used or ended is good again."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from identity.directory.clients.table import Client
from tests.databases import ROOT
from tests.faults.racing import code_of, signed_in
from tests.faults.replicas import CLIENT, Replicas
from tests.trials.row import Outcome, Place

OFF = 14.0
"""Seconds by which each machine's clock may be off: between two of them that is as much as tokens
are given for it."""
FAR = 3600.0
PROGRAM = ROOT / "tests" / "faults" / "stepping.py"


@dataclass
class Clocks:
    """Two servers, each with its clock; on SQLite both are one machine, with one clock."""

    replicas: Replicas
    files: list[Path]

    def set(self, *offs: float) -> None:
        for file, off in zip(self.files, offs, strict=False):
            _write(file, off)


def _write(file: Path, off: float) -> None:
    """Whole at once: it is read at any moment."""
    new = file.with_suffix(".new")
    new.write_text(str(off))
    os.replace(new, file)


@contextmanager
def clocks(database: str, place: Place) -> Iterator[Clocks]:
    files = [place.folder / f"clock-{number}" for number in range(2)]
    if database == "sqlite":
        files = files[:1]
    for file in files:
        _write(file, 0.0)
    url = place.templates.fresh(database, place.folder)
    replicas = Replicas(url, place.folder, 0)
    try:
        with replicas.db.transaction() as session:  # it has been there for longer than we step
            session.get_one(Client, CLIENT).good_from -= timedelta(minutes=5)
        for number in range(2):
            variables = {"CLOCK_FILE": str(files[number % len(files)])}
            replicas.servers.append(replicas.start(PROGRAM, variables))
        yield Clocks(replicas, files)
    finally:
        replicas.close()
        place.templates.discard(url)


def stepped_back(stage: Clocks, dice: random.Random) -> Outcome:
    seen, ours = Outcome(), stage.replicas
    stage.set(*(dice.uniform(0, OFF) for _ in stage.files))
    with ours.lines() as lines:
        here, there = dice.sample(lines, 2)
        user = ours.user()
        kept, used, dead = (here.log_in(user.username) for _ in range(3))
        form = code_of(ours, user, signed_in(ours, user))
        seen.see(here.post("/token", **form).status == 200, "a code was refused")
        for login in (kept, used, dead):
            seen.see(there.active(login["access_token"]), "a new token was refused elsewhere")
        first = used["refresh_token"]
        second = there.refresh(first).document["refresh_token"]
        third = here.refresh(second)
        seen.see(third.status == 200, f"a successor was refused: {third.status}")
        there.revoke(dead["refresh_token"])

        far = dice.random() < 0.5
        back = FAR if far else dice.uniform(1, OFF)
        stage.set(*(-back if far else -dice.uniform(0, back) for _ in stage.files))
        for line in (here, there):
            for name in ("access_token", "refresh_token"):
                seen.see(not line.active(dead[name]), "what was revoked is good again")
            again = line.post("/token", **form)
            seen.see(again.status == 400, f"a code was taken twice: {again.status}")
            if not far:
                seen.see(line.active(kept["access_token"]), "a token ended early")
        replay = there.refresh(first)  # which, of a time that is yet to come, ends nothing
        seen.see(replay.status == 400, f"a refresh token was taken twice: {replay.status}")
        if not far:
            goes_on = here.refresh(kept["refresh_token"])
            if seen.see(goes_on.status == 200, f"a session ended early: {goes_on.status}"):
                seen.see(there.active(goes_on.document["access_token"]), "a newer one was refused")
            later = there.log_in(ours.user().username)
            seen.see(here.active(later["access_token"]), "a token of then was refused elsewhere")
    stage.set(*(0.0 for _ in stage.files))
    return seen
