"""What libraries import for themselves, and no process of ours that serves ever asks for.

A library's own imports cannot be moved into the function that needs them, as ours are. So for as
long as the library is being imported, something small stands in their place (decision 85).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
