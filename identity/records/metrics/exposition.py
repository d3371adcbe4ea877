"""The numbers as Prometheus reads them.

Imported when somebody scrapes: prometheus_client brings HTTP servers and clients along, two
megabytes that a process whose numbers nobody reads does without.
"""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from identity.records.metrics import (
    BOUNDS,
    COUNTERS,
    HISTOGRAMS,
    SUM,
    Example,
    Histogram,
    Labels,
    Metrics,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()

_EDGES = [*(str(bound) for bound in BOUNDS), "+Inf"]


def render(metrics: Metrics, accept: bytes = b"") -> tuple[bytes, bytes]:
    """The media type, and the numbers in it. OpenMetrics, for whoever asks for it by name, has a
    place for exemplars."""
    with_examples = b"application/openmetrics-text" in accept
    registry = CollectorRegistry()
    registry.register(_Exporter(metrics, with_examples))
    if metrics.of_one_process:
        ProcessCollector(registry=registry)
    if with_examples:
        body: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        return openmetrics.CONTENT_TYPE_LATEST.encode(), body
    return CONTENT_TYPE, generate_latest(registry)


class _Exporter(Collector):
    def __init__(self, metrics: Metrics, with_examples: bool) -> None:
        self._metrics = metrics
        self._with_examples = with_examples

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
                examples = self._examples(name, labels)
                histogram.add_metric(labels, _cumulated(row, examples), sum_value=row[SUM])
            yield histogram
        for name, meaning in self._metrics.gauges.items():
            if name in totals["gauges"]:
                yield GaugeMetricFamily(f"identity_{name}", meaning, totals["gauges"][name])

    def _examples(self, name: str, labels: Labels) -> list[Example | None]:
        """Of the requests that this process has answered; siblings tell of their own."""
        if self._with_examples and name == "request_duration_seconds":
            return self._metrics.examples(labels[0])
        return []


def _cumulated(row: Histogram, examples: list[Example | None]) -> list[Any]:
    buckets: list[Any] = []
    seen = 0.0
    for edge, count, example in zip_longest(_EDGES, row[:SUM], examples):
        seen += count
        buckets.append((edge, seen, _exemplar(example)) if example else (edge, seen))
    return buckets


def _exemplar(example: Example) -> Exemplar:
    """At most 128 characters of names and values (OpenMetrics 1.0, "Exemplars")."""
    seconds, request_id, trace_id = example
    labels = {"request_id": request_id}
    return Exemplar(labels | {"trace_id": trace_id} if trace_id else labels, seconds)
