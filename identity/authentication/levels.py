"""How surely somebody is who they say: `acr`, ascending (OpenID Connect Core §2)."""

from collections.abc import Collection
from typing import Final

LEVELS: Final = ("aal1", "aal2", "phr")
"""One factor, two, and a way that resists phishing."""
REACHABLE: Final = frozenset({"aal1"})
"""What somebody can prove here today."""


def meets(level: str | None, wanted: str) -> bool:
    """A higher level meets a lower."""
    return level in LEVELS and LEVELS.index(level) >= LEVELS.index(wanted)


def known(wanted: Collection[str]) -> tuple[str, ...]:
    """Those of ours, in the order wanted."""
    return tuple(level for level in wanted if level in LEVELS)


def least_reachable(wanted: Collection[str]) -> str | None:
    """The lowest of these levels, all ours, that people here can meet; None where there is none."""
    top = max(REACHABLE, key=LEVELS.index)
    met = [level for level in wanted if meets(top, level)]
    return min(met, key=LEVELS.index, default=None)
