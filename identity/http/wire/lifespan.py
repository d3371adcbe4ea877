"""ASGI lifespan whose failures are told in a line instead of a traceback."""

import asyncio
from typing import Any

import structlog
from starlette.types import Message
from uvicorn.config import Config

from identity.settings import SettingsError

_log = structlog.get_logger()


class StartRefused(Exception):
    """The application could not start; the text is what the operator needs to know."""


class Lifespan:
    """Runs the application's startup and shutdown. `failure` is what went wrong in either."""

    def __init__(self, config: Config) -> None:
        self._app: Any = config.loaded_app
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        self._told: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.stopping = asyncio.Event()
        self.leaving = asyncio.Event()
        self.state: dict[str, Any] = {
            "stopping": self.stopping,
            "leaving": self.leaving,
            "give_up": self.give_up,
        }
        """What every request's scope, and the application's lifespan, holds as its `state`.
        Answers without end follow `stopping`, for nobody would wait for theirs. From `leaving` on
        whoever asks is to go elsewhere next. `give_up`, in any thread: this process can serve no
        longer, and ends as failed; somebody else may start anew."""
        self.given_up = False
        self.should_exit = False
        self.failure: BaseException | None = None

    async def startup(self) -> None:
        """Raises SettingsError or StartRefused."""
        self._task = asyncio.create_task(self._run())
        told = await self._say("lifespan.startup")
        if told["type"] == "lifespan.startup.complete":
            return
        await self._task
        if isinstance(self.failure, SettingsError):
            raise self.failure
        if self.failure is not None:
            _log.error("startup failed", exc_info=self.failure)
        raise StartRefused(f"startup failed: {self.failure or told.get('message', '')}")

    async def shutdown(self) -> None:
        if self._task is None or self._task.done():
            return
        told = await self._say("lifespan.shutdown")
        await self._task
        if told["type"] != "lifespan.shutdown.complete":
            self.failure = self.failure or StartRefused(told.get("message", ""))
            _log.error("shutdown failed", exc_info=self.failure)

    def give_up(self) -> None:
        self.given_up = True

    async def _say(self, what: str) -> Message:
        self._received.put_nowait({"type": what})
        return await self._told.get()

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._received.get, self._told.put)
        except Exception as failure:
            self.failure = failure
        finally:
            self._told.put_nowait({"type": "ended"})  # whoever still waits for a word
