"""Sends what waits in the outbox of mails, and keeps at it until each has gone.

Every process does, and each mail is taken by one of them. Between what the server took and that it
is on record a process may die; then the mail goes twice, under the same id and with the same link.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog
from sqlmodel import Session

from identity.authentication.mail import outbox
from identity.authentication.mail.outbox import Taken
from identity.errors import Unavailable
from identity.records import audit
from identity.service.wiring import Services
from identity.settings import SettingsError
from identity.store import leased

if TYPE_CHECKING:
    from identity.authentication.mail.preparing import Ready
    from identity.authentication.mail.sending import Outcome, Sender

_log = structlog.get_logger()

TOGETHER = 20
"""Mails that are taken at once, and go by one connection."""
Prepared = list[tuple[Taken, "Ready"]]


class MailDelivery:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._sender: Sender | None = None
        self._under_way: asyncio.Task[None] | None = None
        self._stopping = False

    async def deliver(self) -> None:
        """Begin with whatever is due; what is begun goes on by itself."""
        services = self._services
        if self._under_way is None and services.mails.on and await outbox.due(services.db):
            self._under_way = asyncio.create_task(self._serve())

    async def stop(self, patience: float) -> None:
        """What is under way ends, or is left to whoever finds its lease over."""
        self._stopping = True
        if self._under_way is not None:
            _, stuck = await asyncio.wait([self._under_way], timeout=patience)
            for task in stuck:
                task.cancel()

    async def _serve(self) -> None:
        """Until nothing is due, or the server takes none."""
        try:
            while not self._stopping:
                taken, prepared = await self._services.db.write(self._take)
                if not taken or not await self._send(prepared):
                    return
        except Unavailable as error:
            _log.warning("mails postponed", reason=error.audit)
        except Exception:
            _log.exception("mails failed")
        finally:
            self._under_way = None

    def _take(self, session: Session) -> tuple[int, Prepared]:
        """How many there were, and those that are to be sent."""
        from identity.authentication.mail.preparing import Hopeless, Nobody, ready

        services = self._services
        taken, prepared = outbox.take(session, TOGETHER), Prepared()
        for each in taken:
            try:
                mail = ready(session, services.mails, services.master, each)
            except Nobody:
                outbox.discard(session, each)
            except (Hopeless, SettingsError) as error:
                _give_up(session, each, str(error))
                services.metrics.mail("given_up")
            else:
                prepared.append((each, mail))
        return len(taken), prepared

    async def _send(self, prepared: Prepared) -> bool:
        """Whether it is worth going on at once."""
        if not prepared:
            return True
        if self._sender is None:
            self._sender = await asyncio.to_thread(self._made)
        outcomes = await self._sender.send([mail for _, mail in prepared])
        settled = [(each, what) for (each, _), what in zip(prepared, outcomes, strict=True)]
        for word in await self._services.db.write(lambda s: _settle(s, settled)):
            self._services.metrics.mail(word)
        return None in outcomes

    def _made(self) -> "Sender":
        """In a thread: it imports much."""
        import aiosmtplib  # noqa: F401

        from identity.authentication.mail.sending import sender_of

        return sender_of(self._services.settings)


def _settle(session: Session, settled: Sequence[tuple[Taken, "Outcome"]]) -> list[str]:
    words = []
    for taken, failure in settled:
        if failure is None:
            outbox.settle_sent(session, taken)
            words.append("sent")
        elif failure.hopeless:
            _give_up(session, taken, failure.why)
            words.append("given_up")
        elif outbox.settle_failed(session, taken, leased.pause_after(taken.attempts), failure.why):
            words.append("failed")
        else:
            _record_given_up(session, taken, failure.why)
            words.append("given_up")
    return words


def _give_up(session: Session, taken: Taken, why: str) -> None:
    outbox.settle_hopeless(session, taken, why)
    _record_given_up(session, taken, why)


def _record_given_up(session: Session, taken: Taken, why: str) -> None:
    _log.warning("mail given up", mail=taken.id, kind=taken.kind, reason=why)
    audit.record(
        session, "mail.given_up", outcome="refused", subject=taken.user_id,
        mail=taken.id, kind=taken.kind, attempts=taken.attempts, why=why[:200],
    )  # fmt: skip
