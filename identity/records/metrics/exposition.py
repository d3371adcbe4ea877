"""The numbers as Prometheus reads them.

Imported when somebody scrapes: prometheus_client brings HTTP servers and clients along, two
megabytes that a process whose numbers nobody reads does without.
"""

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from identity.records.metrics import BOUNDS, COUNTERS, HISTOGRAMS, SUM, Histogram, Metrics

CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()

_EDGES = [*(str(bound) for bound in BOUNDS), "+Inf"]


def render(metrics: Metrics) -> bytes:
    """The text exposition; its type is `CONTENT_TYPE`."""
    registry = CollectorRegistry()
    registry.register(_Exporter(metrics))
    if metrics.of_one_process:
        ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Exporter(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> list[Metric]:
        return []  # nobody else registers names

    def collect(self) -> Iterator[Metric]:
        totals = self._metrics.totals()
        for name, (meaning, names) in COUNTERS.items():
            counter = CounterMetricFamily(f"identity_{name}", meaning, labels=names)
            for labels, count in totals["counters"].get(name, {}).items():
                counter.add_metric(labels, count)
            yield counter
        for name, (meaning, names) in HISTOGRAMS.items():
            histogram = HistogramMetricFamily(f"identity_{name}", meaning, labels=names)
            for labels, row in totals["histograms"].get(name, {}).items():
                histogram.add_metric(labels, _cumulated(row), sum_value=row[SUM])
            yield histogram
        for name, meaning in self._metrics.gauges.items():
            if name in totals["gauges"]:
                yield GaugeMetricFamily(f"identity_{name}", meaning, totals["gauges"][name])


def _cumulated(row: Histogram) -> list[tuple[str, float]]:
    buckets, seen = [], 0.0
    for edge, count in zip(_EDGES, row, strict=False):
        seen += count
        buckets.append((edge, seen))
    return buckets
