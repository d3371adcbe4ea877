"""Metrics: what is counted is what is scraped, whichever worker answers."""

import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from identity.records import metrics as metrics_module
from identity.records.metrics import Metrics, share_between_workers


def scraped(metrics: Metrics) -> dict[str, float]:
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    share_between_workers(tmp_path)
    yield tmp_path
    share_between_workers(None)


def test_requests_are_counted_by_route_and_status_and_timed_by_route() -> None:
    metrics = Metrics()
    metrics.request("POST", "/token", 200, 0.003)
    metrics.request("POST", "/token", 200, 0.3)
    metrics.request("POST", "/token", 400, 20.0)
    found = scraped(metrics)
    assert found["identity_requests_total POST /token 200"] == 2
    assert found["identity_requests_total POST /token 400"] == 1
    assert found["identity_request_duration_seconds_count /token"] == 3
    assert found["identity_request_duration_seconds_sum /token"] == pytest.approx(20.303)
    assert found["identity_request_duration_seconds_bucket 0.005 /token"] == 1
    assert found["identity_request_duration_seconds_bucket 10.0 /token"] == 2
    assert found["identity_request_duration_seconds_bucket +Inf /token"] == 3


def test_logins_tokens_caches_and_hashing_are_counted() -> None:
    metrics = Metrics()
    metrics.login("success")
    metrics.login("wrong_password")
    metrics.login("wrong_password")
    metrics.issued("client_credentials")
    metrics.cache("tokens").hits += 3
    metrics.cache("tokens").misses += 1
    metrics.hash_waited(0.2)
    found = scraped(metrics)
    assert found["identity_logins_total wrong_password"] == 2
    assert found["identity_logins_total success"] == 1
    assert found["identity_tokens_issued_total client_credentials"] == 1
    assert found["identity_cache_lookups_total tokens hit"] == 3
    assert found["identity_cache_lookups_total tokens miss"] == 1
    assert found["identity_password_hashing_wait_seconds_bucket 0.25"] == 1
    assert found["identity_password_hashing_wait_seconds_bucket 0.1"] == 0


def test_a_gauge_is_read_when_scraped() -> None:
    metrics, depth = Metrics(), [1]
    metrics.watch("audit_queue_depth", "Events not yet written.", lambda: depth[0])
    depth[0] = 7
    assert scraped(metrics)["identity_audit_queue_depth"] == 7
    assert b"# HELP identity_audit_queue_depth Events not yet written." in metrics.render()


def test_a_gauge_that_cannot_be_read_is_left_out() -> None:
    metrics = Metrics()
    metrics.watch("lag", "", lambda: 1 / 0)
    assert "identity_lag" not in scraped(metrics)


def test_a_lone_process_says_what_it_uses() -> None:
    assert "process_open_fds" in scraped(Metrics())


def test_whichever_worker_is_scraped_answers_for_all(shared: Path) -> None:
    one, two = Metrics(), Metrics()
    for worker, lag in ((one, 0.5), (two, 2.0)):
        worker.request("GET", "/a", 200, 0.001)
        worker.login("success")
        worker.cache("tokens").hits += 5
        worker.watch("pool", "", lambda: 4)
        worker.watch("lag", "", lambda lag=lag: lag, across_workers="max")  # type: ignore[misc]
        worker.publish()
    two.request("GET", "/a", 200, 0.001)
    two.publish()
    for worker in (one, two):
        found = scraped(worker)
        assert found["identity_requests_total GET /a 200"] == 3
        assert found["identity_request_duration_seconds_count /a"] == 3
        assert found["identity_logins_total success"] == 2
        assert found["identity_cache_lookups_total tokens hit"] == 10
        assert found["identity_pool"] == 8
        assert found["identity_lag"] == 2.0
        assert "process_open_fds" not in found


def test_a_worker_that_is_gone_keeps_its_counts_and_loses_its_gauges(shared: Path) -> None:
    gone = Metrics()
    gone.login("success")
    gone.watch("pool", "", lambda: 4)
    gone.publish()
    (file,) = shared.glob("*.json")
    os.utime(file, (0, 0))
    left = Metrics()
    left.watch("pool", "", lambda: 1)
    found = scraped(left)
    assert found["identity_logins_total success"] == 1
    assert found["identity_pool"] == 1


def test_a_file_that_cannot_be_read_or_written_costs_only_itself(shared: Path) -> None:
    (shared / "9-x.json").write_text('{"counters"')
    metrics = Metrics()
    metrics.login("success")
    shared.joinpath("9-x.json").rename(shared / "9-y.json")
    assert scraped(metrics)["identity_logins_total success"] == 1
    metrics._file = shared / "no" / "such" / "folder.json"
    metrics.publish()


@pytest.mark.anyio
async def test_numbers_are_published_while_the_worker_runs_and_once_more_at_its_end(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_module, "PUBLISH_EVERY", 0)
    metrics, other = Metrics(), Metrics()
    async with metrics.published():
        metrics.login("success")
        with anyio.fail_after(2):
            while not scraped(other).get("identity_logins_total success"):
                await anyio.lowlevel.checkpoint()
        metrics.login("success")
    assert scraped(other)["identity_logins_total success"] == 2


@pytest.mark.anyio
async def test_a_lone_process_publishes_nothing(shared: Path) -> None:
    share_between_workers(None)
    alone = Metrics()
    share_between_workers(shared)
    with_others = Metrics()
    alone.login("success")
    async with alone.published():
        await anyio.lowlevel.checkpoint()
        alone.publish()
    assert os.listdir(shared) == []
    with_others.publish()
    assert len(os.listdir(shared)) == 1  # it would have been seen here
    assert "identity_logins_total success" not in scraped(with_others)
