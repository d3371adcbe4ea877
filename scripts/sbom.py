"""`make sbom`: what the service is made of, as CycloneDX 1.6, from the lock and nothing else.

The same lock makes the same octets: there is no time and no serial number in it. Licences are
those that the installed packages name.
"""

import json
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements.lock"
PIN = re.compile(r"([a-z0-9._-]+)==(\S+)(?: ; ([^\\]+?))?\s*\\?$")
VIA = re.compile(r"\s+# via (.+)$")
OURS = "identity-service"


def pins(text: str) -> list[dict[str, Any]]:
    """Each package of a lock: `name`, `version`, `marker`, its `hashes` and who needs it, `via`."""
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        if pin := PIN.match(line):
            name, version, marker = pin.groups()
            found.append(
                {"name": name, "version": version, "marker": marker, "hashes": [], "via": []}
            )
        elif hashed := re.search(r"--hash=sha256:([0-9a-f]{64})", line):
            found[-1]["hashes"].append(hashed[1])
        elif via := VIA.match(line):
            needed_by = [each.strip() for each in via[1].split(",")]
            found[-1]["via"] = [
                OURS if each.startswith(OURS) else each
                for each in needed_by
                if not each.startswith("-c ")
            ]
    return found


def document(text: str, version: str) -> dict[str, Any]:
    packages = pins(text)
    refs = {each["name"]: _purl(each["name"], each["version"]) for each in packages}
    root = _purl(OURS, version)
    needs: dict[str, list[str]] = {root: [], **{ref: [] for ref in refs.values()}}
    for each in packages:
        for parent in each["via"]:
            needs[root if parent == OURS else refs[parent]].append(refs[each["name"]])
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": OURS,
                "version": version,
                "purl": root,
                "licenses": [{"license": {"id": "MIT"}}],
            }
        },
        "components": [_component(each, refs[each["name"]]) for each in packages],
        "dependencies": [{"ref": ref, "dependsOn": sorted(on)} for ref, on in needs.items()],
    }


def _purl(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"


def _component(package: dict[str, Any], ref: str) -> dict[str, Any]:
    """Each hash is that of one of its files: which of them is installed, the platform says."""
    made: dict[str, Any] = {
        "type": "library",
        "bom-ref": ref,
        "name": package["name"],
        "version": package["version"],
        "purl": ref,
        "properties": [
            {"name": "identity:locked-sha256", "value": each} for each in package["hashes"]
        ],
    }
    if package["marker"]:
        made["properties"].append({"name": "identity:where", "value": package["marker"]})
    if licence := _licence(package["name"]):
        made["licenses"] = [{"license": {"name": licence}}]
    return made


def _licence(name: str) -> str:
    try:
        said = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ""  # it is for another platform
    stated = said.get("License-Expression") or ""
    classes = [each for each in said.get_all("Classifier") or () if each.startswith("License ::")]
    named = ", ".join(each.rpartition(" :: ")[2] for each in classes)
    return stated or named or (said.get("License") or "").partition("\n")[0]


def main() -> None:
    made = document(LOCK.read_text(), metadata.version(OURS))
    text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    if len(sys.argv) > 1:
        target = Path(sys.argv[1])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
