"""What happens to the primary, one class a row of the table.

`strike` does it. `afterwards` is what follows once another primary is there, while the load goes on
(an old primary comes back, a cut is mended); `mend` undoes the rest when the trial is over.
"""

import asyncio
import signal
import time
from dataclasses import dataclass, field
from typing import Protocol

from tests.ha.cluster import Cluster, Node
from tests.ha.network import SIDES
from tests.ha.services import Service

SEEN = 4.0
"""Seconds for which the load goes on after the last thing that happened."""


@dataclass
class Stage:
    """`lonely`: the service that a cut leaves with the old primary. `turns`: when something
    happened after which a service, by its way, has to be well again."""

    cluster: Cluster
    services: list[Service]
    old: Node
    lonely: Service
    turns: dict[str, list[float]] = field(default_factory=dict)

    def turn(self, *services: Service) -> None:
        for service in services or self.services:
            self.turns.setdefault(service.way, []).append(time.monotonic())


class Row(Protocol):
    name: str
    promise: str
    synchronous: bool

    async def strike(self, stage: Stage) -> None: ...
    async def afterwards(self, stage: Stage) -> None: ...
    def mend(self, stage: Stage) -> None: ...


class Killed:
    name = "killed"
    promise = "its machine is gone: `kill -9` of PostgreSQL, Patroni and etcd"
    synchronous = True

    async def strike(self, stage: Stage) -> None:
        await asyncio.to_thread(stage.old.kill)

    async def afterwards(self, stage: Stage) -> None:
        await asyncio.sleep(SEEN)

    def mend(self, stage: Stage) -> None:
        pass


class Frozen:
    name = "frozen"
    promise = "`SIGSTOP` to all of its programs; its kernel goes on acknowledging"
    synchronous = True

    async def strike(self, stage: Stage) -> None:
        await asyncio.to_thread(stage.old.signal, signal.SIGSTOP)

    async def afterwards(self, stage: Stage) -> None:
        await asyncio.sleep(SEEN)

    def mend(self, stage: Stage) -> None:
        stage.old.kill()


class CutOff:
    """One service stays on the old primary's side."""

    name = "cut off"
    promise = "the network parts it and one service from the rest, and is mended"
    synchronous = True

    async def strike(self, stage: Stage) -> None:
        for machine in (stage.old.machine, stage.lonely.machine):
            machine.move(SIDES[1])

    async def afterwards(self, stage: Stage) -> None:
        await asyncio.sleep(SEEN)
        self._join(stage)
        stage.turn(stage.lonely)
        await asyncio.sleep(SEEN)

    def mend(self, stage: Stage) -> None:
        self._join(stage)

    def _join(self, stage: Stage) -> None:
        for machine in (stage.old.machine, stage.lonely.machine):
            machine.move(SIDES[0])


class SwitchedOver:
    name = "switched over"
    promise = "`patronictl switchover`"
    synchronous = True

    async def strike(self, stage: Stage) -> None:
        ask = asyncio.create_task(
            asyncio.to_thread(stage.old.ask, "/switchover", {"leader": stage.old.name}, "POST")
        )
        await asyncio.sleep(0)
        self._asked = ask

    async def afterwards(self, stage: Stage) -> None:
        await asyncio.sleep(SEEN)
        await self._asked

    def mend(self, stage: Stage) -> None:
        pass


class Resurfacing:
    """The worst way: nobody stops it, for its Patroni is dead."""

    name = "resurfacing"
    promise = "frozen, replaced, and alive again as a primary that no Patroni stops"
    synchronous = True

    async def strike(self, stage: Stage) -> None:
        await asyncio.to_thread(stage.old.kill_patroni)
        await asyncio.to_thread(stage.old.signal, signal.SIGSTOP)

    async def afterwards(self, stage: Stage) -> None:
        await asyncio.sleep(SEEN / 2)
        stage.turn()
        await asyncio.to_thread(stage.old.signal, signal.SIGCONT)
        await asyncio.sleep(SEEN + 2)

    def mend(self, stage: Stage) -> None:
        stage.old.kill()


class Asynchronous:
    """Both standbys hear nothing of the last moments of the primary."""

    name = "asynchronous"
    promise = "asynchronous replication: killed before its last commits were sent"
    synchronous = False

    async def strike(self, stage: Stage) -> None:
        behind = [node for node in stage.cluster.nodes if node is not stage.old]
        for node in behind:
            await asyncio.to_thread(node.signal, signal.SIGSTOP, "walreceiver")
        await asyncio.sleep(2)
        await asyncio.to_thread(stage.old.kill)
        for node in behind:
            await asyncio.to_thread(node.signal, signal.SIGCONT, "walreceiver")

    async def afterwards(self, stage: Stage) -> None:
        await asyncio.sleep(SEEN)

    def mend(self, stage: Stage) -> None:
        pass


ROWS: tuple[Row, ...] = (
    Killed(), Frozen(), CutOff(), SwitchedOver(), Resurfacing(), Asynchronous(),
)  # fmt: skip
