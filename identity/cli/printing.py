"""What commands print: results on stdout, plain or as JSON; remarks on stderr."""

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from identity.store import Stored

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def as_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def ordered(row: "Stored", **options: Any) -> dict[str, Any]:
    """`row.model_dump(**options)` in the order in which the class names them: that of a row which
    was read differs from process to process."""
    dumped = row.model_dump(**options)
    return {name: dumped[name] for name in type(row).model_fields if name in dumped}


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, none: str) -> None:
    """Aligned columns; `none` is said on stderr where there are no rows."""
    lines = [[cell(value) for value in row] for row in rows]
    if not lines:
        remark(none)
        return
    widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]

    def aligned(line: Sequence[str]) -> str:
        return "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))

    print(coloured(aligned(headings).rstrip(), "bold"))
    for line in lines:
        print(_COLOURED.sub(lambda word: coloured(word[0]), aligned(line).rstrip()))


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """One fact a line: name and value."""
    known = [(name, cell(value)) for name, value in pairs]
    width = max(len(name) for name, _ in known)
    for name, value in known:
        print(f"{name.ljust(width)}  {value}".rstrip())


COLOURS = {
    "bold": 1, "ok": 32, "passed": 32, "note": 33, "problem": 31, "FAILED": 31, "disabled": 31,
    "refused": 31, "revoked": 31,
}  # fmt: skip
"""Words that are told at a glance (ECMA-48, SGR)."""
_COLOURED = re.compile(r"(?<=  )(?:disabled|refused|revoked)(?=  |$)")
"""In a table, where they fill a cell."""


def coloured(text: str, word: str = "") -> str:
    """In the colour of `word`, or of the text itself, on a terminal whose owner has not asked for
    none (no-color.org)."""
    number = COLOURS.get(word or text.strip())
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if number is None or plain or not sys.stdout.isatty():
        return text
    return f"\033[{number}m{text}\033[0m"


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
