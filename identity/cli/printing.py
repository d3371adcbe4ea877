"""What commands print: results on stdout, plain or as JSON; remarks on stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def as_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, none: str) -> None:
    """Aligned columns; `none` is said on stderr where there are no rows."""
    lines = [[cell(value) for value in row] for row in rows]
    if not lines:
        remark(none)
        return
    widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
    for line in (list(headings), *lines):
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """One fact a line: name and value."""
    known = [(name, cell(value)) for name, value in pairs]
    width = max(len(name) for name, _ in known)
    for name, value in known:
        print(f"{name.ljust(width)}  {value}".rstrip())


def remark(words: str) -> None:
    """For the person at the terminal; never part of a result."""
    print(words, file=sys.stderr)


def cell(value: object) -> str:
    """One line of harmless text: what users typed must not drive a terminal."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, list | tuple | set | frozenset):
        return " ".join(cell(part) for part in value) or "-"
    if isinstance(value, dict):
        value = " ".join(f"{name}={cell(part)}" for name, part in value.items())
    text = str(value)
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")  # as the API writes it
    return str(value)
