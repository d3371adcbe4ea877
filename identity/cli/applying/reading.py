"""YAML that has one reading, with the line of everything in it.

Mappings, lists, texts, whole numbers, true, false and null, as YAML 1.2's core schema has them, but
for floats and dates, of which there are none here: `no` is a text and `1.10` too. Keys are texts
and stand once. Anchors, aliases, merge keys and tags are refused: what a file says is what it
shows, and no file grows by being read.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from identity.cli.applying.mistakes import Mistake, Mistaken

LARGEST = 32 * 1024 * 1024
"""Bytes of a file: a hundred thousand clients."""
DEEPEST = 20
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEAN = {
    word: value
    for value, words in ((True, "true True TRUE"), (False, "false False FALSE"))
    for word in words.split()
}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Mapping(dict[str, Any]):
    """`lines`: of each key."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}


class List(list[Any]):
    """`lines`: of each entry."""

    def __init__(self) -> None:
        self.lines: list[int] = []


def read(file: Path) -> Mapping:
    """The mapping that a file is. Raises `Mistaken`, `OSError`."""
    with file.open("rb") as opened:
        octets = opened.read(LARGEST + 1)
    if len(octets) > LARGEST:
        raise _mistaken(file, None, f"is larger than {LARGEST // 2**20} MiB")
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise _mistaken(file, line, "is not UTF-8") from None
    return parse(text, file)


def parse(text: str, file: Path) -> Mapping:
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = error.problem or error.context or "no such syntax"
        raise _mistaken(file, mark.line + 1 if mark else None, f"is not YAML: {words}") from None
    except yaml.YAMLError as error:  # characters that YAML does not have
        at = getattr(error, "position", None)
        line = text.count("\n", 0, at) + 1 if isinstance(at, int) else None
        why = getattr(error, "reason", "no such character")
        raise _mistaken(file, line, f"is not YAML: {why}") from None
    found = builder.root
    if found is None:
        return Mapping()
    if not isinstance(found, Mapping):
        raise _mistaken(file, 1, "must be a mapping: `scopes:`, `roles:`, `clients:` and so on")
    return found


class _Builder:
    """Puts events together, without recursion: depth is for us to bound."""

    def __init__(self, file: Path) -> None:
        self.root: Any = None
        self._file = file
        self._open: list[Mapping | List] = []
        self._keys: list[str | None] = []
        """Of each mapping that is open, the key that waits for its value."""
        self._documents = 0

    def take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._wrong(line, "holds a second document; give it a file of its own")
        elif isinstance(event, yaml.AliasEvent):
            raise self._wrong(line, f"*{event.anchor}: aliases are not taken; write it out")
        elif isinstance(event, yaml.NodeEvent):
            self._node(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            self._keys.pop()

    def _node(self, event: Any, line: int) -> None:
        if event.anchor is not None:
            raise self._wrong(line, f"&{event.anchor}: anchors are not taken; write it out")
        if event.tag is not None:
            raise self._wrong(line, f"{event.tag}: tags are not taken")
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0]
            if self._open and isinstance(self._open[-1], Mapping) and self._keys[-1] is None:
                self._key(event.value, line)
            else:
                self._put(_value(event.value) if plain else event.value, line)
            return
        made = Mapping() if isinstance(event, yaml.MappingStartEvent) else List()
        if self._open and isinstance(self._open[-1], Mapping) and self._keys[-1] is None:
            raise self._wrong(line, "a key must be a text")
        if len(self._open) >= DEEPEST:
            raise self._wrong(line, "is nested too deeply")
        self._put(made, line)
        self._open.append(made)
        self._keys.append(None)

    def _key(self, key: str, line: int) -> None:
        mapping = self._open[-1]
        assert isinstance(mapping, Mapping)
        if key in mapping.lines:
            raise self._wrong(line, f"{key[:100]} stands twice, first in line {mapping.lines[key]}")
        mapping.lines[key] = line
        self._keys[-1] = key

    def _put(self, value: Any, line: int) -> None:
        if not self._open:
            self.root = value
            return
        holder = self._open[-1]
        if isinstance(holder, List):
            holder.append(value)
            holder.lines.append(line)
            return
        key = self._keys[-1]
        assert key is not None
        holder[key] = value
        self._keys[-1] = None

    def _wrong(self, line: int, words: str) -> Mistaken:
        return _mistaken(self._file, line, words)


def line_of(root: Any, path: tuple[str | int, ...]) -> int:
    """Where the member stands, or what is nearest to it of what holds it. Steps of a JSON pointer:
    an entry of a list by its number."""
    line = 1
    for step in path:
        if isinstance(root, Mapping) and str(step) in root:
            line, root = root.lines[str(step)], root[str(step)]
        elif isinstance(root, List) and str(step).isdecimal() and int(step) < len(root):
            line, root = root.lines[int(step)], root[int(step)]
        else:
            break
    return line


def _value(plain: str) -> Any:
    if plain in _NULL:
        return None
    if plain in _BOOLEAN:
        return _BOOLEAN[plain]
    return int(plain) if _INTEGER.fullmatch(plain) else plain


def _mistaken(file: Path, line: int | None, words: str) -> Mistaken:
    return Mistaken([Mistake(f"{file}:{line}" if line else str(file), "", words)])
