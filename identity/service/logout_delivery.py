"""Tells clients that sessions have ended: takes notices out of the outbox (`tokens.logouts`), and
keeps at it until each has been told (OpenID Connect Back-Channel Logout §2.5).

Every process does, and each notice is taken by one of them. Each client has its own turns: one that
is slow, or has ten thousand to be told, holds up nobody else.
"""

import asyncio
from urllib.parse import urlencode

import structlog
from sqlmodel import Session

from identity.directory.clients.registry import ClientSnapshot
from identity.errors import IdentityError, Unavailable
from identity.http.fetching import FetchFailed
from identity.records import audit
from identity.service.wiring import Services
from identity.store.leased import pause_after
from identity.tokens import logouts
from identity.tokens.logouts import Taken

_log = structlog.get_logger()

CLIENTS = 32
"""That are told something at once."""
TOGETHER = 4
"""Requests to one client at once."""
ANSWER = 4096
"""Octets of an answer: nobody reads it."""


class LogoutDelivery:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    async def deliver(self) -> None:
        """Begin with whatever is due and not under way; what is begun goes on by itself."""
        for client_id in await logouts.due(self._services.db, 2 * CLIENTS):
            if client_id not in self._under_way and len(self._under_way) < CLIENTS:
                task = asyncio.create_task(self._serve(client_id))
                self._under_way[client_id] = task

    async def stop(self, patience: float) -> None:
        """What is under way ends, or is left to whoever finds its lease over."""
        self._stopping = True
        if tasks := list(self._under_way.values()):
            _, stuck = await asyncio.wait(tasks, timeout=patience)
            for task in stuck:
                task.cancel()

    async def _serve(self, client_id: str) -> None:
        """Until nothing is due, or the client does not answer: then others' turns come first."""
        try:
            while not self._stopping:
                taken = await self._services.db.write(
                    lambda session: logouts.take(session, client_id, TOGETHER)
                )
                if not taken or not await self._tell(client_id, taken):
                    return
        except Unavailable as error:
            _log.warning("logouts postponed", client_id=client_id, reason=error.audit)
        except Exception:
            _log.exception("logouts failed", client_id=client_id)
        finally:
            del self._under_way[client_id]

    async def _tell(self, client_id: str, taken: list[Taken]) -> bool:
        """Whether any has been told."""
        failures = await asyncio.gather(*(self._tell_one(client_id, each) for each in taken))
        settled = list(zip(taken, failures, strict=True))

        def settle(session: Session) -> list[str]:
            return [_settle(session, client_id, each, failure) for each, failure in settled]

        for outcome in await self._services.db.write(settle):
            self._services.metrics.logout(outcome)
        return None in failures

    async def _tell_one(self, client_id: str, taken: Taken) -> str | None:
        """Why it has not been told; None: it has, or there is nobody left to tell."""
        services = self._services
        try:
            await services.feed.catch_up()
            if services.ring.stale:
                await services.ring.refresh()
            client = await services.clients.get(client_id)
            uri = client.settings.backchannel_logout_uri if client else None
            if client is None or uri is None:
                return None
            token = self._token(client, taken)
        except IdentityError as error:
            return error.audit or error.detail
        body = urlencode({"logout_token": token}).encode()
        try:
            answer = await services.fetcher.post(
                uri, trusted=client.vouched_for, body=body, limit=ANSWER
            )
        except FetchFailed as failure:
            return str(failure)
        # Some frameworks make 204 of an empty 200 (§2.8).
        return None if answer.status in (200, 204) else f"answers {answer.status}"

    def _token(self, client: ClientSnapshot, taken: Taken) -> str:
        subject = self._services.subjects.of(client, taken.user_id)
        return self._services.logout_tokens.mint(subject, taken.session_id, client)


def _settle(session: Session, client_id: str, taken: Taken, failure: str | None) -> str:
    if failure is None:
        logouts.settle_told(session, taken)
        return "told"
    if logouts.settle_failed(session, taken, pause_after(taken.attempts), failure):
        return "failed"
    audit.record(
        session, "logout_notice.given_up", outcome="refused", subject=taken.session_id,
        client_id=client_id, attempts=taken.attempts, why=failure[:200],
    )  # fmt: skip
    return "given_up"
