"""One trial: the load begins, something happens to the primary, another one takes over; then
everything that was acknowledged is looked up again."""

import asyncio
import random
import time
from typing import Any

from tests.ha.asking import Caller
from tests.ha.cluster import Cluster, Node
from tests.ha.load import Asked, Load, Session
from tests.ha.rows import Row, Stage
from tests.ha.services import Service

WARM = 3.0
LONGEST = 4.0
"""Seconds within which every request is answered, with 503 if need be."""
ALLOWANCE = 0.25
"""Seconds that the load itself may take of that on a machine that has no core to spare."""
PROMOTED_WITHIN = 120.0
RESETS = 'change_feed_resets_total{cause="history"}'


class Watch:
    """Sees which node Patroni calls the primary: `named` when it first said 200 at `/primary`,
    `promoted` when it also said that PostgreSQL is one (it names the node first)."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes
        self.named = self.promoted = 0.0

    async def see(self) -> Node:
        async with asyncio.timeout(PROMOTED_WITHIN):
            while True:
                found = await asyncio.gather(*map(self._look, self._nodes))
                for node in found:
                    if node is not None:
                        return node
                await asyncio.sleep(0.03)

    async def _look(self, node: Node) -> Node | None:
        sent = time.monotonic()
        answer = await Caller(node.machine.watched, 8008).ask("GET", "/primary", patience=1.0)
        if answer is None or answer.status != 200:
            return None
        self.named = self.named or sent
        if answer.document.get("role") not in ("master", "primary"):
            return None
        self.promoted = sent
        return node


async def conduct(
    cluster: Cluster, services: list[Service], load: Load, row: Row, number: int, seed: int
) -> dict[str, Any]:
    """What to note of it. The cluster is whole before and after. `led_again`: it has taken the old
    primary back, and with it lost what the new one acknowledged: no service can help that."""
    if cluster.synchronous is not row.synchronous:
        cluster.set_synchronous(row.synchronous)
    old = cluster.primary()
    assert old is not None
    stage = Stage(cluster, services, old, lonely=services[number % len(services)])
    sibling = {each.way: (await load.position(each))[1] for each in services}
    resets = {each.way: each.metric(RESETS) for each in services}
    dice = random.Random(seed)
    load.begin(seed)
    await asyncio.sleep(WARM + dice.random() * 2)
    watch = Watch([node for node in cluster.nodes if node is not old])
    struck = time.monotonic()
    await row.strike(stage)
    try:
        await watch.see()
        for service in services:
            if not (row.name == "cut off" and service is stage.lonely):
                stage.turns.setdefault(service.way, []).append(watch.named)
        await row.afterwards(stage)
    finally:
        await load.end()
    ended = time.monotonic()
    row.mend(stage)
    lost = await _lost(load)
    told = {each.way: (await load.position(each, sibling[each.way]))[0] for each in services}
    led_again = cluster.primary() is old
    cluster.heal()
    noticed = {each.way: each.metric(RESETS) > resets[each.way] for each in services}
    doctor = services[number % len(services)].doctor()["replication"]
    fenced = struck + cluster.ttl
    majority = [each.way for each in services
                if row.name != "cut off" or each is not stage.lonely]  # fmt: skip
    return {
        "row": row.name,
        "number": number,
        "seed": seed,
        "ttl": cluster.ttl,
        "lonely": stage.lonely.way if row.name == "cut off" else None,
        "promoted_after": round(watch.named - struck, 2),
        "promotion_took": round(watch.promoted - watch.named, 2),
        **judged(load.asked, stage.turns, majority, fenced, ended),
        "led_again": led_again,
        "ended": len(load.ended),
        **lost,
        "noticed": noticed,
        "told": told,
        "doctor": doctor,
    }


async def _lost(load: Load) -> dict[str, int]:
    """Of what was acknowledged, what either service no longer knows."""
    kept = {"revoked": 0, "revocations_lost": 0, "live": 0, "logins_lost": 0}
    at_once = asyncio.Semaphore(16)

    async def check(session: Session) -> None:
        async with at_once:
            said = [await _insist(load, service, session) for service in load.services]
        if session.state == "revoked":
            kept["revoked"] += 1
            kept["revocations_lost"] += True in said
        else:
            kept["live"] += 1
            kept["logins_lost"] += False in said

    asked = len(load.asked)
    await asyncio.gather(*(check(each) for each in load.sessions if each.state != "unknown"))
    del load.asked[asked:]  # these are counted here
    return kept


async def _insist(load: Load, service: Service, session: Session) -> bool:
    async with asyncio.timeout(60):
        while (active := await load.is_active(service, session)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    return active


def judged(
    asked: list[Asked], turns: dict[str, list[float]], majority: list[str], fenced: float,
    ended: float,
) -> dict[str, Any]:  # fmt: skip
    """`majority`: the ways of those services that were never cut off from the new primary."""
    wrong = [each for each in asked if each.wrong]
    excused = [each for each in wrong if each.way not in majority and each.sent < fenced]
    refused = [each for each in asked if each.status == 503]
    return {
        "requests": len(asked),
        "refused": len(refused),
        "wrong": len(wrong) - len(excused),
        "wrong_before_fencing": len(excused),
        "odd": sorted({f"{each.what} {each.status}" for each in asked
                       if each.status not in (200, 503)}),
        "odd_count": sum(each.status not in (200, 503) for each in asked),
        "without_retry_after": sum(not each.again for each in refused),
        "late": sum(each.took > LONGEST + ALLOWANCE for each in asked),
        "longest": round(max((each.took for each in asked), default=0.0), 2),
        "recovery": {way: recovery(asked, way, starts, ended) for way, starts in turns.items()},
    }  # fmt: skip


def recovery(asked: list[Asked], way: str, starts: list[float], ended: float) -> float:
    """Seconds from what happened until the last request was sent that failed or was slow: each
    that was sent later was answered. The longest, where several things happened."""
    longest = 0.0
    for start, end in zip(starts, [*starts[1:], ended], strict=True):
        bad = [each.sent for each in asked
               if each.way == way and start <= each.sent < end and not each.well]  # fmt: skip
        longest = max(longest, *(sent - start for sent in bad), 0.0)
    return round(longest, 2)
