"""What somebody who looks the service over has to say, one thing at a time."""

from collections.abc import Iterator
from typing import Literal, NamedTuple


class Finding(NamedTuple):
    level: Literal["ok", "note", "problem"]
    what: str
    words: str
    mend: str = ""


Findings = Iterator[Finding]
