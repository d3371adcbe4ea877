"""Dataclasses, of which a start takes little: `from identity.dataclass import dataclass`.

Python's own compiles up to eight functions for each class at every start: a millisecond and 12 KB
(decision 86). All but `__init__` do the same in every class, and are shared here. What is made is a
dataclass to `dataclasses.fields`, `replace` and `asdict`, and to type checkers.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, fields
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(
        *, frozen: bool = False, slots: bool = False, eq: bool = True
    ) -> Callable[[type], type]:
        """As Python's own, but that what is frozen is so in subclasses, whatever they are, and that
        each of its fields has a place in `__init__`."""
        return lambda cls: _made(cls, frozen=frozen, slots=slots, eq=eq)


def _made(cls: type, *, frozen: bool, slots: bool, eq: bool) -> type:
    cls.__doc__ = cls.__doc__ or cls.__name__  # or Python's own makes one of the signature
    cls = dataclasses.dataclass(init=not frozen, repr=False, eq=False, slots=slots)(cls)
    methods: dict[str, Any] = {"__repr__": _repr}
    if eq:
        same, hashed = _comparing(cls)
        methods |= {"__eq__": same, "__hash__": hashed if frozen else None}
    if frozen:
        methods |= {"__init__": _init(cls), "__setattr__": _set, "__delattr__": _delete}
        if slots:
            methods |= {"__getstate__": _get_state, "__setstate__": _set_state}
    for name, method in methods.items():
        if name not in vars(cls):
            setattr(cls, name, method)
    return cls


def _init(cls: type) -> Callable[..., None]:
    """As somebody would write it who may set fields: a call of Python's own, field by field."""
    by_place, by_name, lines = ["self"], list[str](), list[str]()
    known: dict[str, Any] = {"_set": object.__setattr__, "_absent": MISSING}
    for each in fields(cls):
        if not each.init:
            raise TypeError(f"{cls.__qualname__}.{each.name} would have no place in __init__")
        name, taken, value = each.name, each.name, each.name
        if each.default_factory is not MISSING:
            known[f"_make_{name}"] = each.default_factory
            taken, value = f"{name}=_absent", f"_make_{name}() if {name} is _absent else {name}"
        elif each.default is not MISSING:
            known[f"_default_{name}"] = each.default
            taken = f"{name}=_default_{name}"
        (by_name if each.kw_only else by_place).append(taken)
        lines.append(f"  _set(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append("  self.__post_init__()")
    taken = ", ".join([*by_place, "*", *by_name] if by_name else by_place)
    exec("\n".join([f"def __init__({taken}):", *lines, "  pass"]), known)  # noqa: S102 names alone
    made: Callable[..., None] = known["__init__"]
    made.__qualname__, made.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    return made


def _comparing(cls: type) -> tuple[Callable[[Any, object], bool], Callable[[Any], int]]:
    names = [each.name for each in fields(cls) if each.compare]
    if len(names) == 1:
        names *= 2  # of one it would make no tuple
    values: Callable[[Any], object] = attrgetter(*names) if names else lambda _: ()

    def same(self: Any, other: object) -> bool:
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    def hashed(self: Any) -> int:
        return hash(values(self))

    return same, hashed


@recursive_repr()
def _repr(self: Any) -> str:
    shown = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _set(self: object, name: str, value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _get_state(self: Any) -> list[Any]:
    return [getattr(self, each.name) for each in fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    """For who copies one: what has slots would be set by `__setattr__`."""
    for each, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, each.name, value)
