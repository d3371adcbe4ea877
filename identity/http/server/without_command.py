"""uvicorn without its command, which its package imports for all who import anything of it: click,
supervisors and multiprocessing. Whoever asks the package for it has it then. What reads
configurations of logs is there too, unread: we give uvicorn none.
"""

import sys
from importlib import import_module
from typing import Any

from identity.left_out import in_place_of, when_asked

_NAMES = ("Server", "main", "run")
"""What the package takes from the command."""


def leave_out() -> None:
    """Import uvicorn so, unless it has been imported already."""
    if "uvicorn" in sys.modules:
        return
    command = in_place_of("uvicorn.main", **dict.fromkeys(_NAMES))
    with command, when_asked("logging.config"):
        import uvicorn
    for name in _NAMES:
        delattr(uvicorn, name)
    vars(uvicorn)["__getattr__"] = _asked_for


def _asked_for(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'uvicorn' has no attribute {name!r}")
    package, command = sys.modules["uvicorn"], import_module("uvicorn.main")
    for each in _NAMES:
        setattr(package, each, getattr(command, each))
    return getattr(package, name)
