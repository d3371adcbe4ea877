"""`identity.dataclass` beside Python's own: nobody who uses one can tell which it is, but by what a
start takes."""

import ast
import builtins
import copy
import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.dataclass import dataclass
from tests.sources import PACKAGE, nodes, trees

NAMES = ("one", "two", "three", "four")
VALUES = st.sampled_from([0, 1, True, "", "a", None, (1, 2), [1], float("nan"), b"x"])

Kind = tuple[str, bool, bool, bool]
"""How a field gets a value that is not given; whether it is compared, shown, and given by name."""
KINDS = st.tuples(st.sampled_from(["", "default", "factory"]), *[st.booleans()] * 3)
OPTIONS = st.fixed_dictionaries(
    {"frozen": st.booleans(), "slots": st.booleans(), "eq": st.booleans()}
)


def both(kinds: list[Kind], options: dict[str, bool], after: bool) -> list[type]:
    """The same class by Python's own and by ours. `after`: it has `__post_init__`."""

    def of(make: Callable[..., Any]) -> type:
        fields: dict[str, Any] = {}
        for name, (given_by, compare, shown, by_name) in zip(NAMES, kinds, strict=False):
            said: dict[str, Any] = {"compare": compare, "repr": shown, "kw_only": by_name}
            if given_by == "factory":
                said["default_factory"] = list
            elif given_by:
                said["default"] = name
            fields[name] = dataclasses.field(**said)
        members = fields | {
            "__annotations__": dict.fromkeys(fields, object),
            "__module__": __name__,
            **({"__post_init__": lambda self: repr(self)} if after else {}),
        }
        made: type = make(**options)(type("Thing", (), members))
        return made

    return [of(dataclasses.dataclass), of(dataclass)]


def outcome(ask: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What is answered, or which error it is."""
    try:
        return ask(*given, **named)
    except Exception as error:
        return type(error), str(error)


def ordered(kinds: list[Kind]) -> list[Kind]:
    """Of those that are given by their place, whoever has a default stands behind who has none."""
    return sorted(kinds, key=lambda kind: bool(kind[0]))


SOME = st.dictionaries(st.sampled_from(NAMES), VALUES)


@given(st.lists(KINDS, max_size=4).map(ordered), OPTIONS, st.booleans(), SOME, SOME)
def test_it_does_what_pythons_own_does(
    kinds: list[Kind],
    options: dict[str, bool],
    after: bool,
    values: dict[str, Any],
    others: dict[str, Any],
) -> None:
    pythons, ours = both(kinds, options, after)
    assert arguments(pythons) == arguments(ours)
    assert dataclasses.is_dataclass(ours)
    assert attribute(pythons, "__match_args__") == attribute(ours, "__match_args__")
    unhashable = options["eq"] and not options["frozen"]
    assert (pythons.__hash__ is None, ours.__hash__ is None) == (unhashable, unhashable)
    expected, made = outcome(pythons, **values), outcome(ours, **values)
    if not dataclasses.is_dataclass(expected):
        assert made == expected  # an argument too many or too few, in the same words
        return
    for asked in (values, others):
        # By words: not-a-number equals nothing.
        told = repr(told_of(pythons(**values), outcome(pythons, **asked)))
        assert repr(told_of(ours(**values), outcome(ours, **asked))) == told


def arguments(cls: type) -> list[tuple[str, object]]:
    return [(each.name, each.kind) for each in inspect.signature(cls).parameters.values()]


def attribute(cls: type, name: str) -> Any:
    return vars(cls)[name]


def told_of(thing: Any, second: Any) -> list[Any]:
    names = [each.name for each in dataclasses.fields(thing)]
    return [
        repr(thing), dataclasses.asdict(thing), dataclasses.astuple(thing),
        getattr(thing, "__dict__", None),
        thing == second, thing != second, thing == copy.copy(thing), thing == object(),
        thing.__eq__(object()),
        repr(outcome(dataclasses.replace, thing, one=2)),
        repr(copy.copy(thing)), repr(copy.deepcopy(thing)),
        [outcome(setattr, thing, name, 3) for name in names], repr(thing),
        [outcome(delattr, thing, name) for name in names],
    ]  # fmt: skip


@given(st.lists(KINDS, min_size=1, max_size=4).map(ordered), st.booleans(), st.data())
def test_equal_ones_find_the_same_in_a_dictionary(
    kinds: list[Kind], slots: bool, data: st.DataObject
) -> None:
    for cls in both(kinds, {"frozen": True, "slots": slots, "eq": True}, after=False):
        names = NAMES[: len(kinds)]
        values = data.draw(st.fixed_dictionaries(dict.fromkeys(names, VALUES)))
        compared = tuple(values[name] for name, kind in zip(names, kinds, strict=True) if kind[1])
        if any(isinstance(value, list) for value in compared):
            with pytest.raises(TypeError, match="unhashable"):
                hash(cls(**values))
        else:
            assert {cls(**values): "found"}[cls(**values)] == "found"


@dataclass(frozen=True, slots=True)
class Place:
    name: str
    near: "list[Place]" = dataclasses.field(default_factory=list)

    def __repr__(self) -> str:
        return f"<{self.name}>"


@dataclass(frozen=True, slots=True)
class Town(Place):
    """People live there."""

    people: int = 0


@dataclass()
class Knot:
    itself: "Knot | None" = None


def test_a_class_may_say_itself_what_it_does_and_inherit_the_rest() -> None:
    town = Town("Ulm", people=3)
    assert repr(town) == "Town(name='Ulm', near=[], people=3)"
    assert repr(Place("Ulm")) == "<Ulm>"
    assert [each.name for each in dataclasses.fields(Town)] == ["name", "near", "people"]
    assert town != Place("Ulm") and town == Town("Ulm", [], 3)
    assert Town("Ulm").near is not Town("Ulm").near
    assert not hasattr(town, "__dict__")
    match town:
        case Town("Ulm", [], people):
            assert people == 3


@dataclass(frozen=True)
class Square:
    side: int

    @functools.cached_property
    def area(self) -> int:
        return self.side**2


def test_a_copy_has_what_was_worked_out_before() -> None:
    square = Square(3)
    assert (square.area, vars(copy.copy(square))) == (9, {"side": 3, "area": 9})


def test_one_that_holds_itself_is_shown() -> None:
    knot = Knot()
    knot.itself = knot
    assert repr(knot) == "Knot(itself=...)"


def test_a_field_that_nobody_could_give_is_refused() -> None:
    class Odd:
        inner: int = dataclasses.field(default=1, init=False)

    with pytest.raises(TypeError, match=r"Odd\.inner would have no place in __init__"):
        dataclass(frozen=True)(Odd)


def test_what_has_no_docstring_gets_none_of_its_signature() -> None:
    assert (Place.__doc__, Town.__doc__) == ("Place", "People live there.")


def test_the_service_has_no_others() -> None:
    """The verifier has Python's own: it is installed alone."""
    others = [
        path
        for path in trees()
        if path.relative_to(PACKAGE).parts[0] not in ("verifier", "dataclass.py")
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom) and node.module == "dataclasses"
        if "dataclass" in {alias.name for alias in node.names}
    ]
    assert others == []


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("slots", [True, False])
def test_a_class_compiles_one_function(
    monkeypatch: pytest.MonkeyPatch, frozen: bool, slots: bool
) -> None:
    ran, run = list[str](), builtins.exec

    def count(source: str, *namespaces: Any) -> None:
        ran.append(source)
        run(source, *namespaces)

    monkeypatch.setattr(builtins, "exec", count)
    made: Any = dataclass(frozen=frozen, slots=slots)(
        type("Made", (), {"__annotations__": {"on": int}})
    )
    assert repr(made(1)) == "Made(on=1)"
    assert re.findall(r"def (\w+)\(self", "".join(ran)) == ["__init__"]
