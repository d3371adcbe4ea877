"""Trials as lines of a file: each is noted as it ends, a run goes on where it was cut short, and
the page's table is made from the file."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

Trial = dict[str, Any]
Key = TypeVar("Key", bound=tuple[Any, ...])


def read(file: Path) -> list[Trial]:
    """What was noted; a line that was cut off by the end of its process is left out."""
    if not file.exists():
        return []
    trials = []
    for line in file.read_text().splitlines():
        try:
            trials.append(json.loads(line))
        except ValueError:
            continue
    return trials


def append(file: Path, trial: Trial) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    before = file.read_bytes() if file.exists() else b""
    with file.open("ab") as lines:
        if before and not before.endswith(b"\n"):
            lines.write(b"\n")
        lines.write(json.dumps(trial).encode() + b"\n")


def missing(trials: Iterable[Trial], wanted: Iterable[Key], *members: str) -> list[Key]:
    """Those of `wanted` that no trial is: by the values of its `members`."""
    done = {tuple(trial[member] for member in members) for trial in trials}
    return [key for key in wanted if key not in done]


def write(page: Path, text: str, name: str = "measured") -> None:
    """Put `text` between the page's marks of this name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.read_text().partition(begin)
    assert found, f"{page} has no {begin}"
    page.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")
