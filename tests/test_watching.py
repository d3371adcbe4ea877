"""The dashboard and the alerts name numbers that there are, and pages that say what to do."""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.databases import ROOT
from tests.test_docs import service

ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
FIRING = ROOT / "tests/alerts.test.yaml"
DASHBOARD = ROOT / "deploy/grafana/identity.json"


@cache
def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(ALERTS.read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


@cache
def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


@cache
def exposed() -> dict[str, set[str]]:
    """What `/metrics` says: names, each with its labels' names as its family has them."""
    from identity.records.metrics import COUNTERS, HISTOGRAMS

    found: dict[str, set[str]] = {}
    for line in service().metrics.splitlines():
        if kind := re.match(r"# TYPE (\S+) (\S+)", line):
            for ending in ("_bucket", "_sum", "_count") if kind[2] == "histogram" else ("",):
                found[kind[1] + ending] = {"le"} if ending == "_bucket" else set()
    for name, (_, labels) in COUNTERS.items():
        found[f"identity_{name}_total"] |= set(labels)
    for name, (_, labels) in HISTOGRAMS.items():
        found[f"identity_{name}_bucket"] |= set(labels)
    return found


def metrics_in(query: str) -> list[tuple[str, set[str]]]:
    """Names of metrics, each with the labels that it is chosen by."""
    bare = re.sub(r'"[^"]*"', '""', query)
    found = re.findall(r"\b((?:identity|process)_\w+)(?:\{([^}]*)\})?", bare)
    return [(name, set(re.findall(r"(\w+)\s*[!=]", chosen))) for name, chosen in found]


QUERIES = [rule["expr"] for rule in rules()] + [
    target["expr"] for panel in panels() for target in panel.get("targets", ())
]


@pytest.mark.parametrize("query", QUERIES)
def test_every_metric_that_is_asked_for_exists_and_has_the_labels_it_is_chosen_by(
    query: str,
) -> None:
    named = metrics_in(query)
    assert named, query
    for name, labels in named:
        assert name in exposed(), name
        assert labels <= exposed()[name] | {"job", "instance"}, (name, labels)
    of_prometheus = {"cache", "outcome", "grant", "route", "status", "cause", "le"}
    for grouped in re.findall(r"\bby \(([^)]*)\)", query):
        assert {each.strip() for each in grouped.split(",")} <= of_prometheus


def test_every_number_of_ours_is_on_the_dashboard() -> None:
    shown = {name for query in QUERIES for name, _ in metrics_in(query)}
    ours = {name for name in exposed() if name.startswith("identity_")}
    parts = {name for name in ours if name.endswith(("_sum", "_count"))}
    assert ours - parts - shown == set()


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_names_the_page_that_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket", "info")
    assert rule["annotations"]["summary"] and rule["annotations"]["description"]
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert anchor in anchors(ROOT / page)
    assert f"**{rule['alert']}**" in (ROOT / page).read_text().replace(".**", "**")


def test_the_runbook_knows_no_alert_that_does_not_exist() -> None:
    named = set(re.findall(r"\*\*(Identity\w+)\.?\*\*", (ROOT / "docs/runbook.md").read_text()))
    assert named == {rule["alert"] for rule in rules()}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here")
@pytest.mark.parametrize("words", [("check", ALERTS), ("test", FIRING)])
def test_prometheus_reads_the_rules_and_they_fire_when_they_should(words: tuple[str, Path]) -> None:
    act, file = words
    done = subprocess.run(["promtool", act, "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_of_every_alert_it_is_shown_when_it_fires_and_when_it_does_not() -> None:
    quiet, loud, absent, _ = yaml.safe_load(FIRING.read_text())["tests"]
    silent = {each["alertname"] for each in quiet["alert_rule_test"] if each["exp_alerts"] == []}
    firing = re.findall(r'alertname="(\w+)"', json.dumps([loud, absent]).replace("\\", ""))
    assert sorted(silent) == sorted(firing) == sorted(rule["alert"] for rule in rules())


def test_the_dashboard_is_one_that_grafana_can_import() -> None:
    document = json.loads(DASHBOARD.read_text())
    assert document["title"] and document["uid"] and document["schemaVersion"] >= 36
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    places = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert (place["x"], place["y"]) not in places
        places.add((place["x"], place["y"]))
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
    (source,) = document["templating"]["list"]
    assert (source["name"], source["type"]) == ("source", "datasource")


def test_what_a_query_names_is_found() -> None:
    assert metrics_in('rate(identity_x_total{a="identity_y{", b!~"c"}[5m]) / process_z') == [
        ("identity_x_total", {"a", "b"}), ("process_z", set()),
    ]  # fmt: skip
