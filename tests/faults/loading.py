"""A steady load on one server, by a client as strict as any, while something befalls its database.

It is the one of `make ha`, made smaller: introspections of what lives and what was revoked, logins,
refreshes, revocations and tokens for the client itself."""

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.databases import wait_until
from tests.faults.replicas import CLIENT, PASSWORD, Replicas
from tests.ha.asking import Answer, Caller
from tests.ha.load import Asked, Session
from tests.ha.trial import ALLOWANCE, LONGEST, judged
from tests.trials.row import Outcome

RATES = {"introspect": 30.0, "issue": 8.0, "log_in": 4.0, "refresh": 5.0, "revoke": 3.0}
"""A second."""
WARM = 60.0
"""Seconds, at most, until each kind of request has been answered well, and something happens."""
WAY = "it"
USERS = 10
READS = ("introspect",)


@dataclass
class Load:
    replicas: Replicas
    dice: random.Random
    users: list[str]
    asked: list[Asked] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    """Honest sessions that were refused: the words of the refusals."""
    caller: Caller = field(init=False)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    @classmethod
    def on(cls, replicas: Replicas, dice: random.Random) -> "Load":
        """With users of its own."""
        return cls(replicas, dice, [replicas.user().username for _ in range(USERS)])

    @property
    def warm(self) -> bool:
        return {each.what for each in self.asked if each.well} >= RATES.keys()

    def __post_init__(self) -> None:
        port = self.replicas.servers[0].port
        self.caller = Caller("127.0.0.1", port).as_client(CLIENT, self.replicas.secret)

    async def run(self, stop: threading.Event) -> None:
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            "introspect": self.introspect, "issue": self.issue, "log_in": self.log_in,
            "refresh": self.refresh, "revoke": self.revoke,
        }  # fmt: skip
        for _ in range(4):
            await self.log_in()
        loops = [asyncio.create_task(self._pace(RATES[name], steps[name])) for name in steps]
        while not stop.is_set():  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.01)
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await asyncio.gather(*self._tasks)
        self.caller.close()

    async def log_in(self) -> None:
        form = {"grant_type": "password", "username": self.dice.choice(self.users)}
        answer = await self._ask("log_in", "/token", form | {"password": PASSWORD})
        if answer is not None and answer.status == 200:
            made = answer.document
            self.sessions.append(Session(made["access_token"], made["refresh_token"]))

    async def issue(self) -> None:
        await self._ask("issue", "/token", {"grant_type": "client_credentials"})

    async def refresh(self) -> None:
        """One that was not answered is tried again first, as its client would."""
        idle = self._idle()
        waiting = [each for each in idle if each.tried]
        if not idle:
            return
        session = waiting[0] if waiting else self.dice.choice(idle)
        session.busy, session.tried = True, session.tried or time.monotonic()
        form = {"grant_type": "refresh_token", "refresh_token": session.refresh}
        answer = await self._ask("refresh", "/token", form)
        session.busy = False
        if answer is None or answer.status == 503:
            return
        session.tried = 0.0
        if answer.status == 200:
            made = answer.document
            session.access, session.refresh = made["access_token"], made["refresh_token"]
        else:
            session.state = "unknown"
            self.ended.append(answer.body.decode())

    async def revoke(self) -> None:
        idle = [each for each in self._idle() if not each.tried]
        if len(idle) < 4:
            return
        session = self.dice.choice(idle)
        session.state = "unknown"
        answer = await self._ask("revoke", "/revoke", {"token": session.refresh})
        if answer is not None and answer.status == 200:
            session.state = "revoked"

    async def introspect(self) -> None:
        known = [each for each in self.sessions if each.state != "unknown" and not each.busy]
        if known:
            await self.look(self.dice.choice(known))

    async def look(self, session: Session) -> bool | None:
        """What is said of it; None where nothing is."""
        state, access = session.state, session.access
        sent = time.monotonic()
        answer = await self.caller.post("/introspect", {"token": access})
        active = None
        if answer is not None and answer.status == 200:
            active = bool(answer.document["active"])
        wrong = active is not None and active != (state == "live") and state == session.state
        self._note("introspect", sent, answer, wrong=wrong)
        return active

    def _idle(self) -> list[Session]:
        return [each for each in self.sessions if each.state == "live" and not each.busy]

    async def _pace(self, rate: float, step: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self.dice.random() / rate
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + 1 / rate, loop.time() - 1)
            task: asyncio.Task[None] = asyncio.ensure_future(step())  # type: ignore[arg-type]
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, what: str, path: str, form: dict[str, str]) -> Answer | None:
        sent = time.monotonic()
        answer = await self.caller.post(path, form)
        self._note(what, sent, answer)
        return answer

    def _note(self, what: str, sent: float, answer: Answer | None, *, wrong: bool = False) -> None:
        took, status = time.monotonic() - sent, answer.status if answer is not None else 0
        again = answer is not None and "retry-after" in answer.headers
        self.asked.append(Asked(what, WAY, sent, took, status, again, wrong))


def under_load(
    replicas: Replicas, dice: random.Random, happen: Callable[[], None], afterwards: float,
    reads_go_on: bool = False,
) -> Outcome:  # fmt: skip
    """`happen` takes the database away and gives it back; from its return on all is to be well
    soon. `reads_go_on`: what only asks is answered all the while."""
    load, back = Load.on(replicas, dice), 0.0

    def and_return() -> None:
        nonlocal back
        happen()
        back = time.monotonic()
        time.sleep(afterwards)

    meanwhile(load, and_return)
    seen = refusals(load, reads_go_on)
    seen.recovered(_judged(load, back)["recovery"][WAY])
    return seen


def meanwhile(load: Load, happen: Callable[[], None]) -> None:
    """`happen` once each kind of request has been answered, under the load that ends with it."""
    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(load.run(stop)))
    thread.start()
    try:
        wait_until(lambda: load.warm, WARM, lambda: "nothing is answered at once")
        happen()
    finally:
        stop.set()
        thread.join()


def refusals(load: Load, reads_go_on: bool = False) -> Outcome:
    """What was promised of every answer, of whatever was taken away."""
    found, seen = _judged(load, time.monotonic()), Outcome()
    seen.see(not found["wrong"], f"{found['wrong']} wrong answers")
    seen.see(not found["odd_count"], f"{found['odd_count']} other answers: {found['odd']}")
    silent = found["without_retry_after"]
    seen.see(not silent, f"{silent} answers 503 without Retry-After")
    late = sum(each.took > LONGEST + ALLOWANCE for each in load.asked)
    seen.strain(not late, f"{late} answers after {LONGEST:g} seconds")
    seen.see(not load.ended, f"{len(load.ended)} sessions were lost: {load.ended[:1]}")
    if reads_go_on:
        questions = [each for each in load.asked if each.what in READS]
        failed = sum(each.status != 200 for each in questions)
        seen.see(not failed, f"{failed} questions were refused")
        slow = sum(not each.well for each in questions) - failed
        seen.strain(not slow, f"{slow} questions were not answered at once")
    seen.measured |= {"requests": found["requests"], "refused": found["refused"],
                      "longest answer, s": found["longest"]}  # fmt: skip
    return seen


def _judged(load: Load, back: float) -> dict[str, Any]:
    return judged(load.asked, {WAY: [back]}, [WAY], 0.0, time.monotonic())
