"""The service under test: in this process over ASGI, or as the real `identity serve`."""

import asyncio
import http.client
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.databases import ADMIN_PASSWORD, ROOT, environment, free_port, wait_until

Asgi = Any

__all__ = ["ADMIN_PASSWORD", "Server", "running"]


@asynccontextmanager
async def running(app: Asgi) -> AsyncIterator[None]:
    """Start and stop `app` by ASGI's lifespan messages, as a server does."""
    received: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    sent: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    lifespan = asyncio.create_task(app({"type": "lifespan", "state": {}}, received.get, sent.put))

    async def step(name: str) -> None:
        await received.put({"type": f"lifespan.{name}"})
        answer = asyncio.create_task(sent.get())
        await asyncio.wait({answer, lifespan}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            await lifespan  # raises what ended it
        if not answer.done() or answer.result()["type"] != f"lifespan.{name}.complete":
            raise RuntimeError(f"{name} failed: {answer.result().get('message')}")

    await step("startup")
    try:
        yield
    finally:
        await step("shutdown")
        await lifespan


class Server:
    """`identity serve` as a process of its own, in `folder`, on a free loopback port.

    It is ready when the constructor returns. `settings` are environment names without `IDENTITY_`;
    `code` is the folder of another version's code, `program` what runs it otherwise than `python -m
    identity`, and `variables` are more of its environment.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str],
        *,
        workers: int = 1,
        port: int | None = None,
        code: Path = ROOT,
        program: Path | None = None,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"serve-{self.port}.log"
        arguments = ["--port", str(self.port), "--workers", str(workers)]
        command = [str(program)] if program else ["-m", "identity"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command, "serve", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=environment(code, **settings) | dict(variables),
            )
        try:
            wait_until(self._ready, 60, self._said)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self, seconds: float = 15) -> int:
        """SIGTERM; the exit code. It is killed where it takes longer than `seconds`."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL: as a crash or an impatient orchestrator ends it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(15)

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"serve exited with {self.process.returncode}:\n{self._said()}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _said(self) -> str:
        return self.log.read_text(errors="replace")
