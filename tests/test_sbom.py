"""`make sbom`: the list of what the service is made of says what the lock says."""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from scripts import sbom
from tests.databases import ROOT
from tests.test_packaging import locked


def test_every_locked_package_is_a_component_of_its_version_with_its_hashes() -> None:
    made = sbom.document(sbom.LOCK.read_text(), "1")
    components = {each["name"]: each for each in made["components"]}
    assert {name: each["version"] for name, each in components.items()} == locked(
        "requirements.lock"
    )
    text = sbom.LOCK.read_text()
    for each in components.values():
        assert each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}"
        hashes = [p["value"] for p in each["properties"] if p["name"].endswith("sha256")]
        assert hashes and all(value in text for value in hashes)
    noted = sum(len(each["properties"]) for each in components.values())
    assert noted >= text.count("--hash=sha256:")


def test_every_component_is_needed_by_somebody_and_every_reference_leads_somewhere() -> None:
    made = sbom.document(sbom.LOCK.read_text(), "1")
    refs = [each["bom-ref"] for each in made["components"]]
    assert len(set(refs)) == len(refs)
    root = made["metadata"]["component"]["bom-ref"]
    needs = {each["ref"]: each["dependsOn"] for each in made["dependencies"]}
    assert needs.keys() == {root, *refs}
    assert {each for on in needs.values() for each in on} == set(refs)
    assert any("fastapi@" in each for each in needs[root])


def test_what_is_installed_here_names_its_licence() -> None:
    made = sbom.document(sbom.LOCK.read_text(), "1")
    installed = {re.sub(r"[-_.]+", "-", each.name).lower() for each in metadata.distributions()}
    for each in made["components"]:
        if each["name"] in installed:
            assert each.get("licenses"), each["name"]


def test_the_same_lock_makes_the_same_octets(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.json", "two.json")]
    for file in files:
        command = [sys.executable, ROOT / "scripts" / "sbom.py", file]
        subprocess.run(command, check=True, cwd=tmp_path)
    one, two = (file.read_bytes() for file in files)
    assert one == two
    assert json.loads(one)["specVersion"] == "1.6"
