"""Run by the Python of `make chart`'s environment, which has Helm and Kubernetes' schemas.

Standard input: `{"chart": path, "values": {…}, "kubernetes": version}`. Standard output: the texts
of the templates, what Helm's linter and the schemas object to, or the refusal alone.
"""

import json
import sys
from importlib import import_module
from typing import Any

import yaml


def main() -> None:
    asked = json.load(sys.stdin)
    chart, errors = import_module("helm_python.chart"), import_module("helm_python.errors")
    path, values = asked["chart"], asked["values"]
    try:
        texts = chart.Chart.load(path).render(values, name="identity", namespace="auth")
    except errors.HelmError as refusal:
        json.dump({"refusal": str(refusal)}, sys.stdout)
        return
    report = chart.lint(path, values, strict=True)
    problems = [m["error"] for m in report["messages"] if m["severity"] > 1] + report["errors"]
    for text in texts.values():
        for found in yaml.safe_load_all(text) if "kind:" in text else ():
            if found is not None:
                problems += _objections(found, asked["kubernetes"])
    json.dump({"texts": texts, "problems": problems}, sys.stdout)


def _objections(found: dict[str, Any], version: str) -> list[str]:
    if found["kind"] == "ServiceMonitor":
        models = import_module("cloudcoil.models.prometheus_operator.v1")
        models.ServiceMonitor.model_validate(found)
        return []
    schemas = import_module("kubernetes_validate")
    try:
        schemas.validate(found, version, strict=True)
    except schemas.ValidationError as objection:
        where = ".".join(map(str, objection.path))
        return [f"{found['kind']} {found['metadata']['name']}: {where}: {objection.message}"]
    return []


if __name__ == "__main__":
    main()
