"""The service's own source, parsed once for all tests of a process that look at it. Whoever looks
changes nothing of it."""

import ast
import gc
from functools import cache
from pathlib import Path

from tests.databases import ROOT

PACKAGE = ROOT / "identity"


@cache
def trees() -> dict[Path, ast.Module]:
    """Every module of `identity`, by its path."""
    collecting = gc.isenabled()
    gc.disable()  # nothing of it is garbage, and it is half a million objects to look through
    try:
        return {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
    finally:
        gc.freeze()
        if collecting:
            gc.enable()


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of that module, in the order of `ast.walk`."""
    return tuple(ast.walk(trees()[path]))
