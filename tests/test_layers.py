"""Who may import whom: the floors of the house (docs/architecture.md), and nobody is exempt.

A module belongs to the room that its first part names; a room that no floor names fails here until
somebody has decided where it lives. What `import_module` and `__import__` load counts like any
other import, and where they are given no name that can be read, that is a mistake.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.sources import PACKAGE, nodes, trees

FLOORS = [
    [
        "__init__",
        "dataclass",
        "left_out",
        "setting_types",
        "settings",
        "errors",
        "clock",
        "opaque",
        "verifier",
    ],
    ["store"],
    ["records"],
    ["http", "keys", "directory"],
    ["tokens"],
    ["authentication"],
    ["service"],
    ["oauth", "api", "pages"],
    ["app"],
    ["cli", "testing"],
    ["__main__"],
]
"""From the ground up. A room knows those on the floors below it and none beside it, so that there
is no circle; within the alphabet, on the ground floor, each knows those before it. `verifier`
knows nobody, and nobody there knows it."""

NOUNS = ("directory", "keys", "tokens", "store", "records", "authentication")
"""Rooms without an answer: no response, no route."""


def modules() -> Iterator[tuple[str, Path]]:
    for path in trees():
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts), path


class Unreadable(Exception):
    """A module that is loaded by a name nobody can read in the source."""


def imported(source: Iterable[ast.AST], module: str = "") -> Iterator[str]:
    """What `source`, the nodes of `identity.<module>`, imports of identity, anywhere in it:
    `users.routes.router`."""
    for node in source:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and _loads(node.func):
            names = [_named(node, module)]
        else:
            continue
        yield from (n.removeprefix("identity.") for n in names if n.startswith("identity."))


def _loads(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


def _named(call: ast.Call, module: str) -> str:
    """The name that is loaded; of `f"{__name__}.{part}"` the beginning, which is the module's."""
    argument = call.args[0] if call.args else None
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value
    if isinstance(argument, ast.JoinedStr):
        first, *rest = argument.values
        own = isinstance(first, ast.FormattedValue) and ast.unparse(first.value) == "__name__"
        if own and isinstance(rest[0], ast.Constant) and str(rest[0].value).startswith("."):
            return f"identity.{module.removesuffix('.__init__')}.?"
    raise Unreadable(f"{module}: {ast.unparse(call)}")


@cache
def imports() -> list[tuple[str, str]]:
    """(importer, imported) of every import within identity."""
    return [(module, name) for module, path in modules() for name in imported(nodes(path), module)]


def room(name: str) -> str:
    return name.split(".")[0]


def floor(name: str) -> int:
    return next((number for number, rooms in enumerate(FLOORS) if room(name) in rooms), 0)


def allowed(importer: str, name: str) -> bool:
    """Whether the room of `importer` may know that of `name`."""
    here, there = room(importer), room(name)
    if here == there or there not in {each for rooms in FLOORS for each in rooms}:
        return True  # its own, or a name of the package itself such as `__version__`
    if floor(importer) == floor(name) == 0:
        ground = FLOORS[0]
        return "verifier" not in (here, there) and ground.index(there) < ground.index(here)
    return floor(name) < floor(importer)


def test_every_room_has_a_floor() -> None:
    named = {name for rooms in FLOORS for name in rooms}
    homeless = {module for module, _ in modules() if room(module) not in named}
    assert not homeless, "decide where these live, and add them to FLOORS"


def test_nobody_imports_from_above_or_from_beside() -> None:
    assert not [
        f"{importer} imports {name}" for importer, name in imports() if not allowed(importer, name)
    ]


def test_the_verifier_imports_nothing_else_of_identity() -> None:
    assert not [
        f"{importer} imports {name}"
        for importer, name in imports()
        if room(importer) == "verifier" and room(name) != "verifier"
    ]


def test_nouns_hold_no_response_and_no_route() -> None:
    foreign = ("fastapi", "starlette")
    answers = ("http.messages.Response", "http.messages.json_response", "http.lane")
    for module, path in modules():
        if room(module) not in NOUNS:
            continue
        for node in nodes(path):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert room(node.module) not in foreign, f"{module} imports {node.module}"
        for name in imported(nodes(path), module):
            assert not name.startswith(answers), f"{module} imports {name}"


def test_an_import_is_seen_however_it_is_written() -> None:
    source = """
import identity.users.table
from identity import settings, clock
from importlib import import_module
import importlib
def late(part):
    from identity.users.routes import router
    import os
    import_module("identity.records.logs")
    importlib.import_module(f"{__name__}.{part}")
    __import__("identity.keys.ring")
"""
    assert sorted(imported(ast.walk(ast.parse(source)), "verifier.__init__")) == [
        "clock",
        "keys.ring",
        "records.logs",
        "settings",
        "users.routes.router",
        "users.table",
        "verifier.?",
    ]


@pytest.mark.parametrize("call", ["import_module(name)", '__import__("a" + b)', 'f("x")'])
def test_a_name_that_cannot_be_read_is_a_mistake(call: str) -> None:
    if call.startswith("f("):
        assert list(imported(ast.walk(ast.parse(call)))) == []
        return
    with pytest.raises(Unreadable):
        list(imported(ast.walk(ast.parse(call))))


@pytest.mark.parametrize(
    ("importer", "name", "may"),
    [
        ("tokens.live", "keys.ring", True),
        ("keys.ring", "tokens.live", False),
        ("oauth.token", "api.actor", False),
        ("http.lane", "keys.ring", False),
        ("verifier.gate.gate", "errors", False),
        ("settings", "verifier.errors", False),
        ("opaque", "clock", True),
        ("clock", "opaque", False),
        ("cli.users", "testing.service", False),
        ("store.database", "settings", True),
    ],
)
def test_the_floors_say_who_may(importer: str, name: str, may: bool) -> None:
    assert allowed(importer, name) is may
