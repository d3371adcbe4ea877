"""A sibling's view of the revocations: Server-Sent Events read from a socket by the book
(https://html.spec.whatwg.org/multipage/server-sent-events.html), and what they add up to."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    name: str
    id: str
    data: Any
    at: float


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


@dataclass
class Knowledge:
    """What a sibling knows by the events so far; it survives its connections."""

    entries: dict[int, dict[str, Any]] = field(default_factory=dict)
    last: str = ""
    live: bool = False

    def take(self, event: Event) -> None:
        if event.name == "reset":
            self.entries.clear()
        elif event.name == "snapshot":
            self.entries |= {entry["id"]: entry for entry in event.data["entries"]}
        elif event.name == "revoked":
            assert event.id.isdigit()
            self.entries[event.data["id"]] = event.data
        elif event.name == "live":
            self.live = True
        self.last = event.id

    @property
    def refs(self) -> set[tuple[str, str]]:
        return {(entry["kind"], entry["ref"]) for entry in self.entries.values()}


class Follower:
    """One connection, read by a thread of its own."""

    def __init__(
        self,
        port: int,
        authorization: str,
        knowledge: Knowledge | None = None,
        *,
        last: str | None = None,
        cut_after: int | None = None,
        says: dict[str, str] | None = None,
    ) -> None:
        """`cut_after`: bytes, then the connection is torn down. `says`: more headers."""
        self.knowledge = knowledge or Knowledge()
        self.events: list[Event] = []
        self.status = 0
        self.head = b""
        self.ended = False
        self._cut_after = cut_after
        self._news = threading.Condition()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        last = last if last is not None else self.knowledge.last
        resume = f"Last-Event-ID: {last}\r\n" if last else ""
        resume += "".join(f"{name}: {value}\r\n" for name, value in (says or {}).items())
        self._socket.sendall(
            f"GET /revocations HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
            f"Authorization: {authorization}\r\n{resume}\r\n".encode()
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait(self, seen: Callable[["Follower"], bool], seconds: float = 10) -> None:
        with self._news:
            assert self._news.wait_for(lambda: seen(self), seconds), self.events[-5:]

    def wait_live(self, seconds: float = 10) -> None:
        self.wait(lambda f: any(event.name == "live" for event in f.events), seconds)

    def wait_end(self, seconds: float = 10) -> None:
        self.wait(lambda f: f.ended, seconds)

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]

    def close(self) -> None:
        self._cut()
        self._thread.join(10)

    def _cut(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _read(self) -> None:
        with suppress(OSError, ValueError):
            self._read_all()
        self._socket.close()
        with self._news:
            self.ended = True
            self._news.notify_all()

    def _read_all(self) -> None:
        raw, seen = b"", 0
        text = b""
        name, number, data = "", self.knowledge.last, []
        body = False
        while piece := self._socket.recv(65536):
            seen += len(piece)
            if self._cut_after is not None and seen >= self._cut_after:
                piece = piece[: len(piece) - (seen - self._cut_after)]
            raw += piece
            if not body:
                if b"\r\n\r\n" not in raw:
                    continue
                self.head, raw = raw.split(b"\r\n\r\n", 1)
                self.status = int(self.head.split()[1])
                body = True
                if self.status != 200:
                    with self._news:
                        self._news.notify_all()
            raw, chunk = self._dechunk(raw)
            text += chunk
            *lines, text = text.split(b"\n")
            for line in lines:
                if line:
                    key, _, value = line.decode().partition(":")
                    value = value.removeprefix(" ")
                    if key == "event":
                        name = value
                    elif key == "data":
                        data.append(value)
                    elif key == "id":
                        number = value
                    continue
                if data:
                    event = Event(name, number, json.loads("\n".join(data)), time.perf_counter())
                    with self._news:
                        self.events.append(event)
                        self.knowledge.take(event)
                        self._news.notify_all()
                name, data = "", []
            if self._cut_after is not None and seen >= self._cut_after:
                self._cut()
                return

    def _dechunk(self, raw: bytes) -> tuple[bytes, bytes]:
        whole = b""
        while b"\r\n" in raw:
            size, rest = raw.split(b"\r\n", 1)
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            whole += rest[:length]
            raw = rest[length + 2 :]
            if length == 0:
                raise ValueError("the end")
        return raw, whole
