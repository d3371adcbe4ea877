"""A client that costs next to nothing: what it takes itself would count as the service's time."""

import asyncio
import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

PATIENCE = 10.0
BROKEN = (OSError, EOFError, ValueError, asyncio.IncompleteReadError)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Caller:
    """Of one server, on connections that are kept and opened as needed."""

    host: str
    port: int
    authorization: str = ""
    _free: list[Line] = field(default_factory=list)

    def as_client(self, client_id: str, secret: str) -> "Caller":
        basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        return Caller(self.host, self.port, f"Basic {basic}")

    async def post(self, path: str, form: Mapping[str, str]) -> Answer | None:
        return await self.ask("POST", path, urlencode(form).encode())

    async def ask(
        self, method: str, path: str, body: bytes = b"",
        kind: str = "application/x-www-form-urlencoded", patience: float = PATIENCE,
    ) -> Answer | None:  # fmt: skip
        """None where nothing, or nothing whole, comes back within `patience`."""
        head = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        if self.authorization:
            head.append(f"Authorization: {self.authorization}")
        if body:
            head += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        request = "\r\n".join([*head, "\r\n"]).encode() + body
        line = None
        try:
            async with asyncio.timeout(patience):
                line = self._kept() or await self._open()
                answer = await self._exchange(line, request)
        except (TimeoutError, *BROKEN):
            if line is not None:
                line[1].close()
            return None
        closing = answer.headers.get("connection") == "close"
        if closing:
            line[1].close()
        else:
            self._free.append(line)
        return answer

    def close(self) -> None:
        while self._free:
            with suppress(OSError):
                self._free.pop()[1].close()

    def _kept(self) -> Line | None:
        """One that the server has not closed, as it does with those that lie idle."""
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return None

    async def _open(self) -> Line:
        return await asyncio.open_connection(self.host, self.port)

    async def _exchange(self, line: Line, request: bytes) -> Answer:
        reader, writer = line
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (each.partition(":") for each in head[1:] if each)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        status = int(head[0].split()[1])
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        else:  # Patroni, which says HTTP/1.0
            body = await reader.read()
            headers["connection"] = "close"
        return Answer(status, headers, body)
