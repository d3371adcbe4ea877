"""Logins, refreshes, revocations and introspections at a steady pace, and what came of each.

It is a client as strict as any: what was acknowledged must be so ever after. A token is asked about
only once its revocation was answered with 200, and asked of both services.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.ha.asking import Answer, Caller
from tests.ha.services import PORT, Service
from tests.serving import ADMIN_PASSWORD

RATES = {"introspect": 25.0, "revoke": 3.0, "log_in": 4.0, "refresh": 3.0}
"""A second, at each service."""
USERS = 20
PASSWORD = "tangerine harbour 71"
SLOW = 1.0
"""Seconds; an answer that takes longer is none of a service that is well."""
WINDOW = 30.0
"""IDENTITY_REFRESH_RETRY_WINDOW: who repeats a refresh later has no promise."""
KEPT_LIVE = 10


@dataclass
class Session:
    access: str
    refresh: str
    state: str = "live"
    """`live`, `revoked` since `acknowledged`, or `unknown`: asked for, and not answered."""
    acknowledged: float = 0.0
    tried: float = 0.0
    """When a refresh was first tried that is not answered yet."""
    busy: bool = False


@dataclass(frozen=True)
class Asked:
    """One request: by `sent`, of the monotonic clock, and how long it took. `status` 0: nobody
    answered. `wrong`: it called a token active whose revocation had been acknowledged."""

    what: str
    way: str
    sent: float
    took: float
    status: int
    again: bool = False
    """It said Retry-After."""
    wrong: bool = False

    @property
    def well(self) -> bool:
        return self.status == 200 and self.took <= SLOW


@dataclass
class Load:
    services: list[Service]
    dice: random.Random
    asked: list[Asked] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    """Honest sessions that were refused within the retry window: the words of the refusals."""
    _callers: dict[str, Caller] = field(default_factory=dict)
    _watchers: dict[str, Caller] = field(default_factory=dict)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _loops: list["asyncio.Task[None]"] = field(default_factory=list)

    async def prepare(self) -> None:
        """A client that introspects, and users; once for all trials on this database."""
        for service in self.services:
            self._callers[service.way] = Caller(service.machine.watched, PORT)
        first = self._callers[self.services[0].way]
        form = {"grant_type": "password", "scope": "*", "username": "admin",
                "password": ADMIN_PASSWORD}  # fmt: skip
        answer = await first.post("/token", form)
        assert answer is not None, "nobody answers"
        administrator = Caller(first.host, first.port, f"Bearer {answer.document['access_token']}")
        made = await self._create(administrator, "/clients", name="Watcher", scopes=["introspect"])
        for way, caller in self._callers.items():
            self._watchers[way] = caller.as_client(made["client_id"], made["client_secret"])
        for number in range(USERS):
            user = {"username": f"user{number}", "password": PASSWORD}
            await self._create(administrator, "/users", **user)
        administrator.close()

    async def _create(self, administrator: Caller, path: str, **body: Any) -> Any:
        json_type = "application/json"
        answer = await administrator.ask("POST", path, json.dumps(body).encode(), json_type)
        assert answer is not None, "nobody answers"
        assert answer.status == 201, answer
        return answer.document

    def begin(self, seed: int) -> None:
        """A new trial: only what it does counts."""
        self.dice.seed(seed)
        self.asked, self.sessions, self.ended = [], [], []
        steps: dict[str, Callable[[Service], Awaitable[None]]] = {
            "introspect": self.introspect,
            "revoke": self.revoke,
            "log_in": self.log_in,
            "refresh": self.refresh,
        }
        for service in self.services:
            for name, step in steps.items():
                self._loops.append(asyncio.create_task(self._pace(RATES[name], step, service)))

    async def end(self) -> None:
        """Nothing more is asked; what is under way is waited for."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops.clear()
        await asyncio.gather(*self._tasks)

    def close(self) -> None:
        for caller in (*self._callers.values(), *self._watchers.values()):
            caller.close()

    # --- What clients do ---------------------------------------------------------------------

    async def log_in(self, service: Service) -> None:
        username = f"user{self.dice.randrange(USERS)}"
        form = {"grant_type": "password", "username": username, "password": PASSWORD}
        answer = await self._ask("log_in", service, "/token", form)
        if answer is not None and answer.status == 200:
            made = answer.document
            self.sessions.append(Session(made["access_token"], made["refresh_token"]))

    async def refresh(self, service: Service) -> None:
        """One that was not answered is tried again first, as its client would."""
        waiting = [each for each in self._idle() if each.tried]
        if not (session := min(waiting, key=lambda each: each.tried, default=None)):
            session = self._any(self._idle())
        if session is None:
            return
        session.busy = True
        session.tried = session.tried or time.monotonic()
        form = {"grant_type": "refresh_token", "refresh_token": session.refresh}
        answer = await self._ask("refresh", service, "/token", form)
        session.busy = False
        if answer is None or answer.status == 503:
            return
        late = time.monotonic() - session.tried > WINDOW
        session.tried = 0.0
        if answer.status == 200:
            made = answer.document
            session.access, session.refresh = made["access_token"], made["refresh_token"]
        else:
            session.state = "unknown"
            if not late:
                self.ended.append(answer.body.decode())

    async def revoke(self, service: Service) -> None:
        idle = [each for each in self._idle() if not each.tried]
        if len(idle) < KEPT_LIVE:
            return
        session = self.dice.choice(idle)
        session.state = "unknown"
        answer = await self._ask("revoke", service, "/revoke", {"token": session.refresh})
        if answer is not None and answer.status == 200:
            session.state, session.acknowledged = "revoked", time.monotonic()

    async def introspect(self, service: Service) -> None:
        """Of those revoked mostly the last ones: only there can an answer be a moment too old."""
        revoked = [each for each in self.sessions if each.state == "revoked"]
        live = self._any(self._idle())
        last = sorted(revoked, key=lambda each: each.acknowledged)[-5:]
        pick = self.dice.random()
        chosen = self._any(last if pick < 0.4 else revoked) if pick < 0.7 else live
        if (chosen := chosen or live) is not None:
            await self.is_active(service, chosen)

    async def is_active(self, service: Service, session: Session) -> bool | None:
        """None where that was not said."""
        gone = session.state == "revoked"
        sent = time.monotonic()
        form = {"token": session.access}
        answer = await self._watchers[service.way].post("/introspect", form)
        active = None
        if answer is not None and answer.status == 200:
            active = bool(answer.document["active"])
        self._note("introspect", service, sent, answer, wrong=gone and active is True)
        return active

    # --- How -----------------------------------------------------------------------------------

    def _idle(self) -> list[Session]:
        return [each for each in self.sessions if each.state == "live" and not each.busy]

    def _any(self, some: list[Session]) -> Session | None:
        return self.dice.choice(some) if some else None

    async def _pace(
        self, rate: float, step: Callable[[Service], Awaitable[None]], service: Service
    ) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self.dice.random() / rate
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + 1 / rate, loop.time() - 1)
            task: asyncio.Task[None] = asyncio.ensure_future(step(service))  # type: ignore[arg-type]
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(
        self, what: str, service: Service, path: str, form: dict[str, str]
    ) -> Answer | None:
        sent = time.monotonic()
        answer = await self._callers[service.way].post(path, form)
        self._note(what, service, sent, answer)
        return answer

    def _note(
        self, what: str, service: Service, sent: float, answer: Answer | None,
        *, wrong: bool = False,
    ) -> None:  # fmt: skip
        self.asked.append(
            Asked(
                what, service.way, sent, time.monotonic() - sent,
                answer.status if answer is not None else 0,
                answer is not None and "retry-after" in answer.headers, wrong,
            )
        )  # fmt: skip

    async def position(self, service: Service, after: str = "") -> tuple[bool, str]:
        """Whether a sibling that was at `after` is told to start anew, and where it is then. It
        asks again where it is not told, as siblings do."""
        path = f"/revocations?after={after}" if after else "/revocations"
        async with asyncio.timeout(60):
            while True:
                answer = await self._watchers[service.way].ask("GET", path)
                if answer is not None and answer.status != 503:
                    break
                await asyncio.sleep(0.2)
        assert answer.status == 200, answer
        said = answer.document
        return bool(said["reset"]), str(said["position"])
