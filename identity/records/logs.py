"""Structured logs on stderr: one line an event, UTC times, request id and actor, never a secret.

`structlog.get_logger()` anywhere; the standard library's loggers (uvicorn, alembic, sqlalchemy)
come out in the same form. `access` is the request line's short cut round the processors.
"""

import asyncio
import json
import logging
import os
import re
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from time import time
from typing import Any, TextIO

import orjson

from identity.left_out import in_place_of
from identity.records.audit import origin
from identity.records.redacting import redact, redacted_text
from identity.settings import LogSettings

# structlog imports rich where it is installed, for tracebacks that we do not have drawn: three
# megabytes of a process's memory, and a twentieth of its start.
with in_place_of("rich"):
    import structlog

FLUSH_AFTER = 0.1  # seconds that a request may wait for company
FLUSH_AT = 64  # requests
WHOLE = 4096  # bytes; POSIX keeps pipe writes of this size whole beside other workers' lines

_Request = tuple[float, str, str, str, int, float, str, str | None, str | None, str | None]

# Control characters but for tab and line break, and what turns the direction of writing.
_DRIVES_TERMINALS = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069]")


def _harmless(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """What strangers sent must not drive the terminal on which it is shown. JSON escapes it."""
    return {
        key: _DRIVES_TERMINALS.sub(lambda found: ascii(found[0])[1:-1], value)
        if isinstance(value, str)
        else value
        for key, value in event.items()
    }


def _who(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    asks = origin.get()
    if asks.request_id is not None:
        event.setdefault("request_id", asks.request_id)
    if asks.actor is not None:
        event.setdefault("actor", asks.actor)
    if asks.trace is not None:
        event.setdefault("trace_id", asks.trace.id)
    return event


def _json(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    document = {"time": event.pop("time", None), "level": event.pop("level", method), **event}
    return json.dumps(document, default=str, ensure_ascii=False)  # orjson refuses surrogates


class Sink:
    """Where lines go. Requests gather for `FLUSH_AFTER`; any other line takes them along.

    Written out a handful at a time they cost half of what each would cost by itself: the code
    that renders them is in the processor's cache once a handful instead of once a request.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._requests: list[_Request] = []
        self._awaited = False

    def gather(self, request: "_Request") -> None:
        self._requests.append(request)
        if len(self._requests) >= FLUSH_AT:
            self.flush()
        elif not self._awaited:
            try:
                asyncio.get_running_loop().call_later(FLUSH_AFTER, self._time_is_up)
                self._awaited = True
            except RuntimeError:  # no loop, nobody to come back later
                self.flush()

    def line(self, text: str) -> None:
        self.flush()
        self._write(text.encode("utf-8", "backslashreplace") + b"\n")

    def flush(self) -> None:
        requests, self._requests = self._requests, []  # other threads log too
        if requests:
            self._write_whole([_request_line(request) for request in requests])

    def _time_is_up(self) -> None:
        self._awaited = False
        self.flush()

    def _write_whole(self, lines: list[bytes]) -> None:
        together = b""
        for line in lines:
            if len(together) + len(line) > WHOLE:
                self._write(together)
                together = b""
            together += line
        self._write(together)

    def _write(self, octets: bytes) -> None:
        try:
            descriptor = self.stream.fileno()
        except (OSError, ValueError):  # not a file: a test's StringIO, or already closed
            if not self.stream.closed:
                self.stream.write(octets.decode())
            return
        try:
            while octets:
                octets = octets[os.write(descriptor, octets) :]
        except OSError:
            return  # nobody reads the log any more; the service goes on


class _Logger:
    """What structlog calls with a rendered line."""

    def msg(self, line: str) -> None:
        _sink.line(line)

    debug = info = warning = error = critical = exception = fatal = log = failure = err = warn = msg


class _Handler(logging.Handler):
    """Standard library records through the same processors."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event: MutableMapping[str, Any] = {
                "event": record.getMessage(),
                "level": record.levelname.lower(),
                "logger": record.name,
            }
            if record.exc_info:
                event["exc_info"] = record.exc_info
            for processor in _processors:
                event = processor(None, record.levelname.lower(), event)  # type: ignore[assignment]
            _sink.line(str(event))
        except Exception:
            self.handleError(record)


_sink = Sink(sys.stderr)
_processors: list[structlog.typing.Processor] = []
_as_json = True
_access_wanted = True


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Call once a process, before anything logs; calling again replaces all of it."""
    global _sink, _as_json, _access_wanted
    _sink.flush()
    stream = stream or sys.stderr
    _sink = Sink(stream)
    _as_json = settings.log_format == "json" or (
        settings.log_format == "auto" and not stream.isatty()
    )
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    _access_wanted = level <= logging.INFO
    _processors[:] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _who,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
        *(
            (_json,)
            if _as_json
            else (
                _harmless,
                structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="time"),
            )
        ),
    ]
    structlog.configure(
        processors=_processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Logger(),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [
        h for h in root.handlers if type(h) not in (_Handler, logging.StreamHandler)
    ]
    root.addHandler(_Handler())
    root.setLevel(max(level, logging.INFO))  # libraries' debug output would drown ours
    for name, at_least in {
        "uvicorn": logging.WARNING,
        "alembic": logging.INFO,
        "sqlalchemy": logging.WARNING,
        "httpx": logging.WARNING,
    }.items():
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(max(level, at_least))
    logging.captureWarnings(True)


def flush() -> None:
    """Write the request lines that are still waiting; called when the process stops."""
    _sink.flush()


def access(
    method: str,
    route: str,
    path: str,
    status: int,
    seconds: float,
    request_id: str,
    address: str | None,
    actor: str | None,
    trace_id: str | None = None,
) -> None:
    """The request line. `route` is the template; `path` is said only where it differs."""
    if not _access_wanted:
        return
    request = (time(), method, route, path, status, seconds, request_id, address, actor, trace_id)
    if _as_json:
        _sink.gather(request)
    else:
        line = _request_fields(request)
        del line["level"], line["time"]
        structlog.get_logger().info(**line)


def _request_line(request: _Request) -> bytes:
    return orjson.dumps(
        _request_fields(request), option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE, default=str
    )


def _request_fields(request: _Request) -> dict[str, Any]:
    at, method, route, path, status, seconds, request_id, address, actor, trace_id = request
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(at, UTC),
        "level": "info",
        "event": "request",
        "method": method,
        "route": route,
        "status": status,
        "duration_us": int(seconds * 1_000_000),
        "request_id": request_id,
        "address": address,
    }
    if actor is not None:
        line["actor"] = actor
    if trace_id is not None:
        line["trace_id"] = trace_id
    if path != route:
        line["path"] = redacted_text(path[:200]).encode("utf-8", "backslashreplace").decode()
    return line
