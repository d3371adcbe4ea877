"""What `make ha` calls broken, and that its page shows what was measured."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ha import records
from tests.ha.cluster import described
from tests.ha.load import Asked
from tests.ha.rows import ROWS
from tests.ha.trial import judged, recovery
from tests.trials import lines

KEPT: dict[str, Any] = {
    "row": "killed", "number": 0, "seed": 1, "ttl": 20, "lonely": None, "promoted_after": 19.5,
    "promotion_took": 0.4, "requests": 900, "refused": 80, "wrong": 0, "wrong_before_fencing": 0,
    "odd": [], "odd_count": 0, "without_retry_after": 0, "late": 0, "longest": 3.2,
    "recovery": {"HAProxy": 0.4, "several hosts": 0.6}, "ended": 0, "revoked": 30,
    "revocations_lost": 0, "live": 20, "logins_lost": 0,
    "noticed": {"HAProxy": True, "several hosts": True},
    "told": {"HAProxy": True, "several hosts": True},
    "doctor": "timeline 2, synchronous, 1 of 2 standbys",
}  # fmt: skip


class Somewhere:
    name, address = "a", "10.77.0.1"


@pytest.mark.parametrize(
    "broken",
    [
        {"wrong": 1},
        {"odd_count": 1},
        {"without_retry_after": 1},
        {"late": 1},
        {"ended": 1},
        {"revocations_lost": 1},
        {"logins_lost": 1},
        {"noticed": {"HAProxy": True, "several hosts": False}},
        {"told": {"HAProxy": False, "several hosts": True}},
        {"doctor": "timeline 2, asynchronous: …"},
    ],
    ids=str,
)
def test_each_broken_promise_is_one(broken: dict[str, Any]) -> None:
    assert records.violations(KEPT) == []
    assert len(records.violations(KEPT | broken)) == 1


def test_what_is_lost_where_the_cluster_takes_the_old_primary_back_says_so() -> None:
    back = KEPT | {"led_again": True}
    assert records.violations(back) == []
    assert records.violations(back | {"logins_lost": 2}) == [
        "2 logins lost", "the cluster took the old primary back",
    ]  # fmt: skip


def test_of_an_asynchronous_failover_only_that_it_is_noticed_was_promised() -> None:
    lost = {"row": "asynchronous", "doctor": "timeline 2, asynchronous: …", "revocations_lost": 9}
    assert records.violations(KEPT | lost) == []
    unnoticed = lost | {"noticed": {"HAProxy": False}}
    assert records.violations(KEPT | unnoticed) == ["1 services that did not notice"]


def test_a_wrong_answer_is_excused_only_of_who_was_cut_off_and_only_before_the_fencing() -> None:
    def wrong(way: str, sent: float) -> Asked:
        return Asked("introspect", way, sent, 0.01, 200, wrong=True)

    asked = [wrong("lonely", 5.0), wrong("lonely", 25.0), wrong("other", 5.0)]
    found = judged(asked, {}, ["other"], fenced=20.0, ended=30.0)
    assert (found["wrong"], found["wrong_before_fencing"]) == (2, 1)


def test_a_service_is_well_again_after_the_last_request_that_was_not_answered_at_once() -> None:
    statuses = [(10.0, 503, 0.1), (11.0, 200, 0.1), (11.5, 200, 1.4), (12.0, 200, 0.1)]
    asked = [Asked("refresh", "HAProxy", sent, took, status) for sent, status, took in statuses]
    assert recovery(asked, "HAProxy", [10.0], 20.0) == 1.5
    assert recovery(asked, "several hosts", [10.0], 20.0) == 0.0


def test_a_run_goes_on_where_it_was_cut_short(tmp_path: Path) -> None:
    file = tmp_path / "trials.jsonl"
    lines.append(file, KEPT)
    with file.open("ab") as noted_last:
        noted_last.write(b'{"row": "frozen", "num')
    lines.append(file, KEPT | {"row": "frozen"})
    noted = lines.read(file)
    assert [trial["row"] for trial in noted] == ["killed", "frozen"]
    assert records.remaining(noted, ["killed", "frozen"], 2) == [("killed", 1), ("frozen", 1)]


def test_the_page_is_made_from_the_trials_that_are_committed() -> None:
    noted = lines.read(records.FILE)
    text = records.measured(noted, [(row.name, row.promise) for row in ROWS])
    assert text in records.PAGE.read_text()


def test_the_page_shows_the_configuration_that_was_measured(tmp_path: Path) -> None:
    shown = re.search(r"^```yaml\n(.*?)^```", records.PAGE.read_text(), re.M | re.S)
    assert shown
    somewhere: Any = Somewhere()
    used = described(somewhere, [], 20, {"postgres": "", "replicator": ""}, tmp_path)
    assert yaml.safe_load(shown[1])["bootstrap"]["dcs"] == used["bootstrap"]["dcs"]
