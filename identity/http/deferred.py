"""An application that is imported and built when it is first asked.

Administration is one request in thousands, but FastAPI and its models take a sixth of a process's
memory and half of its start. A process that nobody administers does without them.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import Receive, Scope, Send


class Deferred:
    """ASGI. `build` imports what it needs; it runs in a thread, once."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build
        self._building = asyncio.Lock()
        self._app: Any = None

    def build(self) -> Any:
        """A new one, for whoever is not in an event loop."""
        return self._build()

    async def built(self) -> Any:
        if self._app is None:
            async with self._building:
                if self._app is None:
                    self._app = await asyncio.to_thread(self._build)
        return self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self.built())(scope, receive, send)
