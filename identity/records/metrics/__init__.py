"""Prometheus metrics: what one process counts, in plain numbers and lists. `exposition` renders
them.

With several workers each writes its numbers to a file every second and when it stops; whichever is
scraped adds the others' files to its own. So counters and histograms are those of the service,
those of workers that have ended included, up to a second old; a gauge is the sum or the greatest
of the workers that still write.
"""

import asyncio
import os
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, Literal
from uuid import uuid4

import orjson

from identity.store.remembered import Lookups

PUBLISH_EVERY = 1.0  # seconds
GONE_AFTER = 5.0  # seconds without a new file: the worker has stopped, its gauges no longer count

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SUM = len(BOUNDS) + 1
COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "requests": ("Requests answered.", ("method", "route", "status")),
    "logins": ("Login attempts.", ("outcome",)),
    "tokens_issued": ("Access tokens issued.", ("grant",)),
    "logout_notices": ("Attempts to tell a client that a session has ended.", ("outcome",)),
    "mails": ("Attempts to send a mail.", ("outcome",)),
    "change_feed_resets": ("How often all that was remembered was forgotten.", ("cause",)),
    "cache_lookups": ("Questions answered from memory or not.", ("cache", "result")),
}
HISTOGRAMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "request_duration_seconds": ("From the request's head to the answer's end.", ("route",)),
    "password_hashing_wait_seconds": ("Time a login waited for a hashing thread.", ()),
}

Labels = tuple[str, ...]
Histogram = list[float]
"""Observations by bucket, not cumulated, and last the sum of what was observed."""
Example = tuple[float, str, str | None]
"""Seconds, and the ids of the request that took them and of its trace, if it is told."""

_shared: Path | None = None


def share_between_workers(directory: Path | None) -> None:
    """Metrics made from now on in this process and its children publish to `directory`."""
    global _shared
    _shared = directory


class Metrics:
    """All that this process counts. Names on the wire begin with `identity_`."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, int], tuple[Histogram, list[Example | None]]] = {}
        self._counts: dict[str, dict[Labels, float]] = {
            "logins": {},
            "tokens_issued": {},
            "logout_notices": {},
            "mails": {},
            "change_feed_resets": {},
        }
        self._waits: Histogram = _empty()
        self._caches: dict[str, Lookups] = {}
        self._gauges: dict[str, tuple[str, str, Callable[[], float]]] = {}
        self._lock = Lock()
        self._file = _shared / f"{os.getpid()}-{uuid4().hex}.json" if _shared else None

    def request(
        self,
        method: str,
        route: str,
        status: int,
        seconds: float,
        request_id: str = "",
        trace_id: str | None = None,
    ) -> None:
        """`route` must be a template, of which there are few; call in the event loop."""
        counted = self._requests.get((method, route, status))
        if counted is None:
            counted = self._requests[method, route, status] = _empty(), [None] * SUM
        row, examples = counted
        bucket = bisect_left(BOUNDS, seconds)
        row[bucket] += 1
        row[SUM] += seconds
        examples[bucket] = (seconds, request_id, trace_id)

    def examples(self, route: str) -> list[Example | None]:
        """A request of each bucket, rather one whose trace is told."""
        found: list[Example | None] = [None] * SUM
        for (_, at, _), (_, examples) in self._requests.items():
            if at == route:
                for bucket, example in enumerate(examples):
                    before = found[bucket]
                    if example and (before is None or example[2] or not before[2]):
                        found[bucket] = example
        return found

    def login(self, outcome: str) -> None:
        """`outcome` is a word of ours: success, wrong_password, locked, …; never what was typed."""
        self._count("logins", (outcome,))

    def issued(self, grant: str) -> None:
        self._count("tokens_issued", (grant,))

    def logout(self, outcome: str) -> None:
        """`told`, `failed` (it is tried again) or `given_up`."""
        self._count("logout_notices", (outcome,))

    def mail(self, outcome: str) -> None:
        """`sent`, `failed` (it is tried again) or `given_up`."""
        self._count("mails", (outcome,))

    def feed_reset(self, cause: str) -> None:
        """`start`, `connection` or `history`, see `store.changes`."""
        self._count("change_feed_resets", (cause,))

    def hash_waited(self, seconds: float) -> None:
        with self._lock:
            self._waits[bisect_left(BOUNDS, seconds)] += 1
            self._waits[SUM] += seconds

    def cache(self, name: str) -> Lookups:
        """The counters of the cache `name`; the same object whenever it is asked for."""
        return self._caches.setdefault(name, Lookups())

    def watch(
        self,
        name: str,
        meaning: str,
        read: Callable[[], float],
        *,
        across_workers: Literal["sum", "max"] = "sum",
    ) -> None:
        """A gauge that is read when somebody scrapes; `read` must be quick and not block."""
        self._gauges[name] = (meaning, across_workers, read)

    def render(self) -> bytes:
        """The text exposition; its type is `exposition.CONTENT_TYPE`."""
        return self.exposed()[1]

    def exposed(self, accept: bytes = b"") -> tuple[bytes, bytes]:
        """The media type and the exposition in it, by the header Accept of who asks."""
        from identity.records.metrics import exposition

        return exposition.render(self, accept)

    @property
    def gauges(self) -> dict[str, str]:
        """What each gauge means, by its name."""
        return {name: meaning for name, (meaning, _, _) in self._gauges.items()}

    @property
    def of_one_process(self) -> bool:
        """Whether nobody else counts with us."""
        return self._file is None

    @asynccontextmanager
    async def published(self) -> AsyncIterator[None]:
        """While this is open, the other workers can see what this one counts."""
        if self._file is None:
            yield
            return
        task = asyncio.create_task(self._publish_for_ever())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self.publish()

    async def _publish_for_ever(self) -> None:
        while True:
            self.publish()
            await asyncio.sleep(PUBLISH_EVERY)

    def publish(self) -> None:
        """Write the numbers for the other workers, whole or not at all."""
        if self._file is None:
            return
        draft = self._file.with_suffix(".draft")
        with suppress(OSError):  # a full disk costs the siblings' numbers, not the service
            draft.write_bytes(orjson.dumps(self.snapshot()))
            draft.replace(self._file)

    def totals(self) -> dict[str, Any]:
        """All workers' numbers: "counters" and "histograms" by family and labels, "gauges"."""
        totals = _Totals(self.snapshot())
        for snapshot, alive in self._others():
            totals.add(snapshot, {n: rule for n, (_, rule, _) in self._gauges.items()}, alive)
        return {
            "counters": totals.counters,
            "histograms": totals.histograms,
            "gauges": totals.gauges,
        }

    def _count(self, family: str, labels: Labels) -> None:
        with self._lock:
            counts = self._counts[family]
            counts[labels] = counts.get(labels, 0) + 1

    def _others(self) -> Iterator[tuple[dict[str, Any], bool]]:
        if self._file is None:
            return
        for path in self._file.parent.glob("*.json"):
            if path == self._file:
                continue
            with suppress(OSError, orjson.JSONDecodeError):
                alive = time.time() - path.stat().st_mtime < GONE_AFTER
                yield orjson.loads(path.read_bytes()), alive

    def snapshot(self) -> dict[str, Any]:
        """What this process alone has counted; call in the event loop."""
        durations: dict[Labels, Histogram] = {}
        counters: dict[str, list[tuple[Labels, float]]] = {"requests": []}
        for (method, route, status), (row, _) in self._requests.items():
            counters["requests"].append(((method, route, str(status)), sum(row[:SUM])))
            durations[(route,)] = _added(durations.get((route,)), row)
        counters["cache_lookups"] = [
            (labels, count)
            for name, cache in self._caches.items()
            for labels, count in (((name, "hit"), cache.hits), ((name, "miss"), cache.misses))
        ]
        with self._lock:
            counters |= {family: list(counts.items()) for family, counts in self._counts.items()}
            waits = self._waits[:]
        return {
            "counters": counters,
            "histograms": {
                "request_duration_seconds": list(durations.items()),
                "password_hashing_wait_seconds": [((), waits)],
            },
            "gauges": dict(self._read_gauges()),
        }

    def _read_gauges(self) -> Iterator[tuple[str, float]]:
        for name, (_, _, read) in self._gauges.items():
            with suppress(Exception):  # what cannot be measured now is left out, not made up
                yield name, float(read())


class _Totals:
    """Snapshots, added up."""

    def __init__(self, first: dict[str, Any]) -> None:
        self.counters: dict[str, dict[Labels, float]] = {}
        self.histograms: dict[str, dict[Labels, Histogram]] = {}
        self.gauges: dict[str, float] = {}
        self.add(first, {}, alive=True)

    def add(self, snapshot: dict[str, Any], rules: dict[str, str], alive: bool) -> None:
        for family, counts in snapshot["counters"].items():
            totals = self.counters.setdefault(family, {})
            for labels, count in counts:
                totals[tuple(labels)] = totals.get(tuple(labels), 0) + count
        for family, histograms in snapshot["histograms"].items():
            rows = self.histograms.setdefault(family, {})
            for labels, row in histograms:
                rows[tuple(labels)] = _added(rows.get(tuple(labels)), row)
        if not alive:
            return
        for name, value in snapshot["gauges"].items():
            before = self.gauges.get(name, 0.0)
            self.gauges[name] = max(before, value) if rules.get(name) == "max" else before + value


def _empty() -> Histogram:
    return [0.0] * (SUM + 1)


def _added(total: Histogram | None, row: Histogram) -> Histogram:
    return [a + b for a, b in zip(total, row, strict=True)] if total else list(row)
