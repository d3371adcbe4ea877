"""The numbers of `/metrics` by OTLP, as they stand: counted once, and in the same buckets."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from identity import __version__
from identity.records.metrics import BOUNDS, COUNTERS, HISTOGRAMS, SUM, Metrics

EVERY = 60.0  # seconds
_CUMULATIVE = AggregationTemporality.CUMULATIVE


class Numbers:
    """Of this process alone; its `service.instance.id` tells it from its siblings."""

    def __init__(
        self,
        address: str,
        headers: Mapping[str, str],
        within: float,
        resource: Resource,
        metrics: Metrics,
    ) -> None:
        self._exporter = OTLPMetricExporter(address, headers=dict(headers), timeout=within)
        self._resource = resource
        self._metrics = metrics
        self._since = time.time_ns()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await asyncio.to_thread(self.tell, self.gathered())

    def gathered(self) -> MetricsData:
        """To be called in the event loop, which counts."""
        scope = InstrumentationScope("identity", __version__)
        of_us = ScopeMetrics(scope, list(self._all()), "")
        return MetricsData([ResourceMetrics(self._resource, [of_us], "")])

    def tell(self, data: MetricsData) -> None:
        """Blocks. What does not arrive is in the next one."""
        self._exporter.export(data)

    def _all(self) -> Iterator[Metric]:
        snapshot, now = self._metrics.snapshot(), time.time_ns()
        for name, (meaning, labels) in COUNTERS.items():
            found = snapshot["counters"].get(name, [])
            points = [
                NumberDataPoint(_named(labels, values), self._since, now, count)
                for values, count in found
            ]
            if points:
                yield Metric(f"identity_{name}", meaning, "", Sum(points, _CUMULATIVE, True))
        for name, (meaning, labels) in HISTOGRAMS.items():
            rows = [
                _histogram(_named(labels, values), self._since, now, row)
                for values, row in snapshot["histograms"].get(name, [])
            ]
            if rows:
                yield Metric(f"identity_{name}", meaning, "s", Histogram(rows, _CUMULATIVE))
        for name, meaning in self._metrics.gauges.items():
            if name in snapshot["gauges"]:
                point = NumberDataPoint({}, self._since, now, snapshot["gauges"][name])
                yield Metric(f"identity_{name}", meaning, "", Gauge([point]))


def _histogram(named: dict[str, str], since: int, now: int, row: list[float]) -> HistogramDataPoint:
    buckets = [int(count) for count in row[:SUM]]
    nobody_knows: Any = None  # the least and the greatest
    return HistogramDataPoint(
        named, since, now, sum(buckets), row[SUM], buckets, BOUNDS, nobody_knows, nobody_knows
    )


def _named(labels: tuple[str, ...], values: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(labels, values, strict=True))
