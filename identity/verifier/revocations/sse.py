"""Server-Sent Events, from octets in whatever pieces they come (WHATWG HTML §9.2.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_EVENT_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """`id` is this event's own, None where it has none: it is not carried over from the last."""

    name: str
    data: str
    id: str | None


class Parser:
    """Feed it octets, get the events that have become whole. What a cut leaves is dropped, as
    the standard wants: an event counts once its empty line has come."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._started = False
        self._after_cr = False
        self._size = 0
        self._begin()

    def _begin(self) -> None:
        self._name = ""
        self._data: list[str] = []
        self._id: str | None = None
        self._size = 0

    def feed(self, octets: bytes) -> list[Event]:
        """ValueError where an event grows beyond 8 MiB."""
        if self._after_cr and octets:
            self._after_cr = False
            octets = octets[1:] if octets.startswith(b"\n") else octets
        self._rest += octets
        if not self._started:
            if b"\xef\xbb\xbf".startswith(bytes(self._rest[:3])) and len(self._rest) < 3:
                return []
            self._started = True
            if self._rest.startswith(b"\xef\xbb\xbf"):
                del self._rest[:3]
        events = []
        for line in self._lines():
            event = self._take(line)
            if event is not None:
                events.append(event)
        if len(self._rest) + self._size > MAX_EVENT_BYTES:
            raise ValueError("an event is longer than 8 MiB")
        return events

    def _lines(self) -> list[bytes]:
        """The whole lines; ended by LF, CR LF or CR, which may come apart."""
        rest = self._rest
        if b"\r" in rest:
            self._after_cr = rest.endswith(b"\r")
            rest = rest.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, last = rest.split(b"\n")
        self._rest = bytearray(last)
        return [bytes(line) for line in lines]

    def _take(self, line: bytes) -> Event | None:
        if not line:
            event = None
            if self._data or self._name:
                event = Event(self._name or "message", "\n".join(self._data), self._id)
            self._begin()
            return event
        self._size += len(line)
        field, _, octets = line.partition(b":")
        value = octets.removeprefix(b" ").decode("utf-8", "replace")
        if field == b"event":
            self._name = value
        elif field == b"data":
            self._data.append(value)
        elif field == b"id" and "\0" not in value:
            self._id = value
        return None
