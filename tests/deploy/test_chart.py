"""The Helm chart: what it may be told, and what it makes of that.

Its templates are rendered by Helm itself, and what comes is held to Kubernetes' own schemas, where
`make chart` has installed both (`CHART` names that environment).
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from identity import __version__
from identity.settings import Settings, described
from scripts import docs
from tests.databases import ROOT

CHART = ROOT / "deploy" / "helm" / "identity"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
TEMPLATES = {path.name: path.read_text() for path in (CHART / "templates").iterdir()}
GIVEN: dict[str, Any] = {"settings": {"issuer": "https://id.example.com"}}
EVERYTHING: dict[str, Any] = {
    "settings": {**GIVEN["settings"], "token_cache": 10_000_000, "password_grant": False},
    "secretSettings": {"smtp_url": {"name": "mail", "key": "url"}},
    "autoscaling": {"enabled": True},
    "serviceMonitor": {"enabled": True, "token": {"name": "scrape", "key": "token"}},
    "pullSecrets": [{"name": "registry"}],
    "podAnnotations": {"example.com/team": "login"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "login", "operator": "Exists"}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/identity", "readOnly": True}],
}
PYTHON = ROOT / os.environ.get("CHART", "nowhere") / "bin" / "python"

rendered_by_helm = pytest.mark.skipif(
    not PYTHON.exists(), reason="there is no Helm: nothing was rendered (`make chart` brings it)"
)


def schema() -> Any:
    return json.loads((CHART / "values.schema.json").read_text())


def merged(given: dict[str, Any], base: dict[str, Any] = VALUES) -> dict[str, Any]:
    """As Helm lays what it is given over values.yaml."""
    both = dict(base)
    for name, value in given.items():
        old = base.get(name)
        both[name] = merged(value, old) if isinstance(value, dict) and old else value
    return both


def test_the_schema_knows_every_setting_and_no_other() -> None:
    assert (CHART / "values.schema.json").read_text() == docs.chart_schema(), "run scripts/docs.py"
    known = {name for name, _, _ in described()}
    by_secret = set(schema()["definitions"]["secretSettings"]["properties"])
    assert {f"IDENTITY_{name.upper()}" for name in by_secret} | docs.BY_CHART == known
    plain = set(schema()["definitions"]["settings"]["properties"])
    hidden = {"database_url", "master_key", "bootstrap_admin_password", "smtp_url", "metrics_allow",
              "otlp_headers"}  # fmt: skip
    assert by_secret - plain == hidden


def test_settings_that_the_templates_name_exist() -> None:
    named = {name for text in TEMPLATES.values() for name in re.findall(r"- name: (\S+)", text)}
    written = {name for name in named if re.fullmatch("IDENTITY_[A-Z_]+", name)}
    assert written == docs.BY_CHART - {"IDENTITY_HOST"}  # which is the option `--host`


@pytest.mark.parametrize("given", [GIVEN, EVERYTHING], ids=["least", "everything"])
def test_the_schema_takes_what_can_be_wished(given: dict[str, Any]) -> None:
    jsonschema.validate(merged(given), schema())


@pytest.mark.parametrize(
    ("given", "about"),
    [
        ({}, "issuer"),
        ({"settings": {"issuer": "http://id.example.com"}}, "issuer"),
        ({"settings": {**GIVEN["settings"], "worker": 2}}, "worker"),
        ({"settings": {**GIVEN["settings"], "drain": "5s"}}, "drain"),
        ({"settings": {**GIVEN["settings"], "master_key": "x"}}, "master_key"),
        ({**GIVEN, "secretSettings": {"master_key": "x"}}, "object"),
        ({**GIVEN, "secretSettings": {"smtp_url": {"name": "mail"}}}, "key"),
        ({**GIVEN, "replica": 2}, "replica"),
    ],
)
def test_the_schema_refuses_misspellings_plain_http_and_secrets_in_the_open(
    given: dict[str, Any], about: str
) -> None:
    with pytest.raises(jsonschema.ValidationError, match=about):
        jsonschema.validate(merged(given), schema())
    if PYTHON.exists():
        assert about in helm(given)["refusal"]


def test_the_defaults_are_settings_that_the_service_takes() -> None:
    settings = merged(GIVEN)["settings"]
    taken = Settings.of(**settings, database_url="postgresql://h/d", master_key="x", drain="10s")
    assert taken.production
    assert taken.passwords.hashing_threads == int(VALUES["resources"]["requests"]["cpu"])


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__


def test_the_metric_that_scales_is_one_that_the_service_has(metrics: str) -> None:
    (metric,) = re.findall(r"name: (identity_\w+)", TEMPLATES["autoscaling.yaml"])
    assert f"# TYPE {metric} gauge" in metrics


# --- What Helm makes of it ------------------------------------------------------------------


def helm(given: dict[str, Any], kubernetes: str = "1.37") -> dict[str, Any]:
    asked = json.dumps({"chart": str(CHART), "values": given, "kubernetes": kubernetes})
    script = Path(__file__).with_name("rendering.py")
    done = subprocess.run([PYTHON, script], input=asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def objects(given: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """What is made, by kind and name."""
    found = [
        each
        for name, text in helm(given)["texts"].items()
        if name.endswith(".yaml")
        for each in yaml.safe_load_all(text)
        if each is not None
    ]
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in found}
    assert len(by_name) == len(found)
    return by_name


def container(made: dict[tuple[str, str], dict[str, Any]], kind: str, name: str) -> Any:
    (only,) = made[kind, name]["spec"]["template"]["spec"]["containers"]
    return only


@rendered_by_helm
@pytest.mark.parametrize("kubernetes", ["1.27", "1.37"])
@pytest.mark.parametrize("given", [GIVEN, EVERYTHING], ids=["least", "everything"])
def test_helm_and_kubernetes_have_nothing_against_it(
    given: dict[str, Any], kubernetes: str
) -> None:
    assert helm(given, kubernetes)["problems"] == []


@rendered_by_helm
@pytest.mark.parametrize("given", [GIVEN, EVERYTHING], ids=["least", "everything"])
def test_service_and_migration_start_with_settings_that_exist(given: dict[str, Any]) -> None:
    made = objects(given)
    service = container(made, "Deployment", "identity")
    migration = container(made, "Job", "identity-migrate")
    assert service["env"] == migration["env"]
    names = [each["name"] for each in service["env"]]
    assert len(names) == len(set(names))
    plain = {e["name"].removeprefix("IDENTITY_").lower(): e["value"] for e in service["env"]
             if "value" in e}  # fmt: skip
    secret = {e["name"].removeprefix("IDENTITY_").lower() for e in service["env"]} - plain.keys()
    assert {"database_url", "master_key"} <= secret
    settings = Settings.of(**plain, database_url="postgresql://h/d", master_key="x")
    assert settings.issuer == "https://id.example.com"
    if given is EVERYTHING:
        assert settings.tokens.token_cache == 10_000_000
        assert not settings.sessions.password_grant


@rendered_by_helm
def test_pods_stop_later_than_they_may_drain_and_are_replaced_one_by_one() -> None:
    made = objects({**GIVEN, "drainSeconds": 45})
    spec = made["Deployment", "identity"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= 45 + 6 + 10
    assert {"name": "IDENTITY_DRAIN", "value": "45s"} in container(made, "Deployment", "identity")[
        "env"
    ]


@rendered_by_helm
def test_everything_that_selects_pods_selects_those_of_the_service() -> None:
    made = objects(EVERYTHING)
    labels = made["Deployment", "identity"]["spec"]["template"]["metadata"]["labels"]
    job = made["Job", "identity-migrate"]["spec"]["template"]["metadata"]["labels"]
    for kind, name in (
        ("Deployment", "identity"),
        ("PodDisruptionBudget", "identity"),
        ("NetworkPolicy", "identity-server"),
        ("Service", "identity"),
    ):
        spec = made[kind, name]["spec"]
        selector = spec.get("podSelector") or spec["selector"]
        wanted = selector.get("matchLabels", selector)
        assert wanted.items() <= labels.items(), kind
        # Else the migration's pod would be asked for logins, or count as one of the replicas.
        assert not wanted.items() <= job.items(), kind
    monitored = made["ServiceMonitor", "identity"]["spec"]["selector"]["matchLabels"]
    assert monitored.items() <= made["Service", "identity"]["metadata"]["labels"].items()
    for_job = made["NetworkPolicy", "identity-migration"]["spec"]["podSelector"]["matchLabels"]
    assert for_job.items() <= job.items()


@rendered_by_helm
def test_what_the_migration_needs_is_there_before_it() -> None:
    made = objects(GIVEN)
    job = made["Job", "identity-migrate"]["metadata"]["annotations"]
    policy = made["NetworkPolicy", "identity-migration"]["metadata"]["annotations"]
    assert job["helm.sh/hook"] == policy["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert int(policy["helm.sh/hook-weight"]) < int(job["helm.sh/hook-weight"])
    text = json.dumps(made["Job", "identity-migrate"])
    assert "configMap" not in text  # which would not be there yet


@rendered_by_helm
def test_probes_ask_what_the_service_answers(addresses: set[str]) -> None:
    service = container(objects(GIVEN), "Deployment", "identity")
    asked = {name: service[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness")}
    assert {each["path"] for each in asked.values()} == {"/healthz"}
    assert service["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert {"/healthz", "/readyz", "/metrics"} <= addresses
    # A request may wait 3.5 seconds for the database: that is no reason to be thought dead.
    assert service["readinessProbe"]["timeoutSeconds"] > 3.5


@rendered_by_helm
def test_an_autoscaler_alone_says_how_many_there_are() -> None:
    assert "replicas" in objects(GIVEN)["Deployment", "identity"]["spec"]
    made = objects(EVERYTHING)
    assert "replicas" not in made["Deployment", "identity"]["spec"]
    metrics = made["HorizontalPodAutoscaler", "identity"]["spec"]["metrics"]
    assert [each["type"] for each in metrics] == ["Pods", "Resource"]


@rendered_by_helm
def test_a_service_named_identity_does_not_become_a_setting() -> None:
    """Kubernetes tells pods of Services by variables such as IDENTITY_PORT, and the service refuses
    to start on settings that do not exist."""
    made = objects(GIVEN)
    assert ("Service", "identity") in made
    for kind, name in (("Deployment", "identity"), ("Job", "identity-migrate")):
        assert made[kind, name]["spec"]["template"]["spec"]["enableServiceLinks"] is False


@rendered_by_helm
def test_a_setting_from_two_places_is_refused() -> None:
    given = merged({"secretSettings": {"issuer": {"name": "identity", "key": "issuer"}}}, GIVEN)
    assert "issuer is in settings and in secretSettings" in helm(given)["refusal"]


@rendered_by_helm
def test_nobody_is_let_in_where_nobody_is_named() -> None:
    made = objects({**GIVEN, "networkPolicy": {"from": []}})
    assert made["NetworkPolicy", "identity-server"]["spec"]["ingress"] == []
    assert made["NetworkPolicy", "identity-migration"]["spec"]["ingress"] == []
