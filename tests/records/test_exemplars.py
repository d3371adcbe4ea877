"""Latencies name a request of each bucket, where the exposition has a place for it."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from identity.records.metrics import Metrics
from tests.world import World

pytestmark = pytest.mark.anyio
OPEN = "application/openmetrics-text; version=1.0.0"


def exemplars(text: str) -> dict[tuple[str, str], dict[str, str]]:
    """By route and bucket."""
    return {
        (sample.labels["route"], sample.labels["le"]): sample.exemplar.labels
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.exemplar is not None
    }


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_scraper_that_asks_for_openmetrics_is_told_a_request_of_each_bucket(
    world: World,
) -> None:
    await world.api.get("/healthz", headers={"x-request-id": "this-one"})
    plain = await world.api.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    assert "this-one" not in plain.text
    answer = await world.api.get("/metrics", headers={"accept": f"{OPEN},text/plain;q=0.5"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.headers["vary"] == "Accept"
    assert answer.text.endswith("# EOF\n")
    found = [labels for (route, _), labels in exemplars(answer.text).items() if route == "/healthz"]
    assert found == [{"request_id": "this-one"}]


def test_of_a_bucket_s_requests_one_is_named_whose_trace_can_be_looked_at() -> None:
    metrics = Metrics()
    metrics.request("GET", "/a", 200, 0.002, "traced", "ab" * 16)
    metrics.request("GET", "/a", 404, 0.002, "not-traced")
    metrics.request("GET", "/a", 200, 3.0, "x" * 64, "cd" * 16)
    kind, body = metrics.exposed(OPEN.encode())
    assert b"openmetrics" in kind
    assert exemplars(body.decode()) == {
        ("/a", "0.0025"): {"request_id": "traced", "trace_id": "ab" * 16},
        ("/a", "5.0"): {"request_id": "x" * 64, "trace_id": "cd" * 16},
    }
    assert all(sum(map(len, [*e, *e.values()])) <= 128 for e in exemplars(body.decode()).values())
