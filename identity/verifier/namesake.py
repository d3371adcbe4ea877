"""Another project's distribution is called `identity`, and unpacks into the same folder as ours.

Ours is `identity-service`. With both in one environment, whichever was installed last has
overwritten the other's `identity/__init__.py`, and uninstalling either takes it away.
"""

from __future__ import annotations

import os
import warnings

# It has had these since it has existed, and we have none of them.
_FOREIGN = ("pallet.py", "web.py")
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def foreign_files(package: str | os.PathLike[str] = PACKAGE) -> list[str]:
    """The other project's files within the folder of this package. Two looks, some microseconds."""
    return [name for name in _FOREIGN if os.path.exists(os.path.join(package, name))]


MEND = "pip uninstall identity identity-service, then install identity-service again"


def warn(package: str | os.PathLike[str] = PACKAGE) -> None:
    """A `RuntimeWarning` in words, where there are any."""
    found = foreign_files(package)
    if found:
        warnings.warn(
            f"{package} holds {found[0]} of another project: the distribution `identity` of the "
            f"public index is not this service's, which is `identity-service`. To mend it: {MEND}",
            RuntimeWarning,
            stacklevel=3,
        )
