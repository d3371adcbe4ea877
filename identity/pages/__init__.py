"""For people: pages that sign them in, ask them, and tell them what went wrong. They are plain
forms, whole without scripts, and are imported when somebody first looks at one (`registry`)."""

from importlib import import_module
from typing import Any


def load(module: str) -> Any:
    """A page's module."""
    return import_module(f"{__name__}.{module}")
