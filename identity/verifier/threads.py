"""`SyncVerifier`: the same verifier for threads; one in the background talks to the issuer."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

from identity.verifier.dpop import DPoP
from identity.verifier.errors import IssuerUnavailable
from identity.verifier.revocations.denylist import Entry
from identity.verifier.verifier import VerifiedToken, Verifier


class SyncVerifier:
    """Takes what `Verifier` takes. `with SyncVerifier(...)`, or the first `verify` starts it.

    A token that memory can decide about is decided in the calling thread, without a lock.
    After a fork the child makes its own.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.verifier = Verifier(*args, **kwargs)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._starting = Lock()

    def start(self) -> None:
        """Returns when keys and revocations are known, or after some seconds."""
        with self._starting:
            if self._loop is not None:
                return
            loop = asyncio.new_event_loop()
            self._thread = Thread(target=_run, args=(loop,), name="identity-verifier", daemon=True)
            self._thread.start()
            asyncio.run_coroutine_threadsafe(self.verifier.start(), loop).result()
            self._loop = loop

    def close(self) -> None:
        with self._starting:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self.verifier.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def verify(
        self,
        token: str | bytes,
        *scopes: str,
        dpop: DPoP | None = None,
        certificate: bytes | None = None,
    ) -> VerifiedToken:
        """As `Verifier.verify`; blocks only where the issuer must be asked."""
        if self._loop is None:
            self.start()
        claims = self.verifier.check(token, *scopes, dpop=dpop, certificate=certificate)
        if claims is not None:
            return claims
        loop = self._loop
        if loop is None:
            raise RuntimeError("this verifier is closed")
        asking = self.verifier.verify(token, *scopes, dpop=dpop, certificate=certificate)
        asked = asyncio.run_coroutine_threadsafe(asking, loop)
        try:
            return asked.result()
        except CancelledError:
            raise IssuerUnavailable("this verifier was closed meanwhile") from None

    def check(
        self,
        token: str | bytes,
        *scopes: str,
        dpop: DPoP | None = None,
        certificate: bytes | None = None,
    ) -> VerifiedToken | None:
        return self.verifier.check(token, *scopes, dpop=dpop, certificate=certificate)

    @property
    def staleness(self) -> float:
        return self.verifier.staleness

    def learn(self, entry: Entry) -> None:
        self.verifier.learn(entry)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
