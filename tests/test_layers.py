"""Who may import whom: the design's "Direction of imports", as a table and four sentences.

A module belongs to the row that names its first part; a new room that no row names fails here
until somebody has decided on which floor it lives.
"""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "identity"

FLOORS = [
    ["__init__", "__version__"],
    ["verifier"],
    ["settings", "errors", "clock", "opaque", "forms"],
    ["db", "changes", "audit", "throttle", "logs", "metrics", "migrating", "served"],
    [
        "remembered",
        "batched",
        "deferred",
        "fastlane",
        "forwarded",
        "inputs",
        "searching",
        "paging",
        "patching",
        "problems",
    ],
    ["published"],
    ["passwords", "keys", "access"],
    ["users", "clients"],
    ["status"],
    ["sessions", "tokens"],
    [
        "opening",
        "counting",
        "services",
        "tables",
        "importing",
        "bootstrap",
        "housekeeping",
        "openapi",
        "acting",
        "deferred",
    ],
    [
        "grants",
        "introspection",
        "revocation",
        "revocations",
        "forward_auth",
        "discovery",
        "health",
        "reports",
    ],
    ["edge", "administration", "app"],
    ["serving", "cli", "__main__"],
]
"""From the ground up; on one floor imports may not go round in a circle."""

ENDPOINTS = next(number for number, rooms in enumerate(FLOORS) if "grants" in rooms)
"""The endpoints' floor. In the rooms below it, files of these names are endpoints too."""
ENDPOINT_FILES = {"routes", "profile", "me"}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts), path


def imported(source: str) -> Iterator[str]:
    """What `source` imports of identity, anywhere in it: `users.routes.router`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (n.removeprefix("identity.") for n in names if n.startswith("identity."))


def imports() -> Iterator[tuple[str, str]]:
    """(importer, imported) of every import within identity."""
    for module, path in modules():
        for name in imported(path.read_text()):
            yield module, name


def room(name: str) -> str:
    return name.split(".")[0]


def is_endpoint(name: str) -> bool:
    return not ENDPOINT_FILES.isdisjoint(name.split(".")) or room(name) in FLOORS[ENDPOINTS]


def floor(name: str) -> int:
    if is_endpoint(name):
        return ENDPOINTS
    return next((number for number, rooms in enumerate(FLOORS) if room(name) in rooms), 0)


def test_every_module_has_a_floor() -> None:
    named = {name for rooms in FLOORS for name in rooms}
    homeless = {module for module, _ in modules() if room(module) not in named}
    assert not homeless, "decide where these live, and add them to FLOORS"


def test_nobody_imports_from_a_floor_above() -> None:
    assert not [
        f"{importer} imports {name}"
        for importer, name in imports()
        if floor(name) > floor(importer)
    ]


def test_endpoints_do_not_import_each_other() -> None:
    assert not [
        f"{importer} imports {name}"
        for importer, name in imports()
        if is_endpoint(importer) and is_endpoint(name) and room(importer) != room(name)
    ]


def test_the_verifier_imports_nothing_else_of_identity() -> None:
    assert not [
        f"{importer} imports {name}"
        for importer, name in imports()
        if room(importer) == "verifier" and room(name) != "verifier"
    ]


def test_rooms_do_not_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for importer, name in imports():
        if room(importer) != room(name) and not is_endpoint(importer):
            graph.setdefault(room(importer), set()).add(room(name))
    TopologicalSorter(graph).prepare()  # raises CycleError, naming the circle


def test_an_import_is_seen_however_it_is_written() -> None:
    source = """
import identity.users.table
from identity import settings, clock
def late():
    from identity.users.routes import router
    import os
"""
    assert sorted(imported(source)) == [
        "clock",
        "settings",
        "users.routes.router",
        "users.table",
    ]
