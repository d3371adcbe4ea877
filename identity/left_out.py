"""What libraries import for themselves, and no process of ours that serves ever asks for.

A library's own imports cannot be moved into the function that needs them, as ours are. So for as
long as the library is being imported, something small stands in their place (decision 85), or the
module itself, unread (decision 86).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType
from typing import Any, cast


@contextmanager
def in_place_of(
    module: str, real: Callable[[], ModuleType] | None = None, **names: object
) -> Iterator[None]:
    """Whoever imports `module` meanwhile finds `names` in it; without names, that it cannot be
    imported. `real` imports it, for a name that another version of the library takes as well.
    Afterwards all is as before: whoever imports it then has the real one."""
    before = sys.modules.get(module)
    stand_in = ModuleType(module)

    def other(name: str) -> Any:
        if real is None or name.startswith("__"):
            raise AttributeError(name)
        sys.modules.pop(module, None)
        return getattr(real(), name)

    vars(stand_in).update(names, __getattr__=other)
    sys.modules[module] = stand_in if names else cast(ModuleType, None)
    try:
        yield
    finally:
        if sys.modules.get(module) in (stand_in, None):
            sys.modules.pop(module, None)
        if before is not None:
            sys.modules[module] = before


@contextmanager
def when_asked(module: str) -> Iterator[None]:
    """Whoever imports `module` meanwhile, by that name and not something out of it, has it: it is
    read when somebody first asks it for anything."""

    class Late(PathFinder):
        @classmethod
        def find_spec(cls, name: str, *where: Any) -> ModuleSpec | None:
            spec = super().find_spec(name, *where) if name == module else None
            if spec is not None and spec.loader is not None:
                spec.loader = LazyLoader(spec.loader)
            return spec

    sys.meta_path.insert(0, Late)
    try:
        yield
    finally:
        sys.meta_path.remove(Late)
