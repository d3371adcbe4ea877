"""What every process does beside answering: write and seal the audit, tend the keys, forget what
has expired. Each chore is safe in any number of processes at once, and none may end the others."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import monotonic, sleep
from typing import cast

import structlog

from identity.authentication import browser, devices, enrolment, leaving, once
from identity.authentication.mail import links, outbox
from identity.clock import utcnow
from identity.directory.hashes import kinds
from identity.errors import Unavailable
from identity.keys import upkeep, uptake
from identity.records import audit
from identity.records.audit import archiving, partitions
from identity.service import unused_clients
from identity.service.logout_delivery import LogoutDelivery
from identity.service.mail_delivery import MailDelivery
from identity.service.opening import audit_keys
from identity.service.wiring import Services
from identity.store import SOME, changes
from identity.store.files import Files
from identity.tokens import codes, exchanged, live, logouts, pushed
from identity.tokens.devices import table as device_codes
from identity.tokens.sessions import lifecycle
from identity.tokens.status import reserving

_log = structlog.get_logger()

LEAST_PAUSE = 0.005  # seconds
PATIENCE = 3.0  # seconds that a chore under way may take when the service stops


class Housekeeping:
    """Seconds between chores: SQLite's files 0.2, what clients and users are told 0.4, the audit
    and late changes 1, the keys 5, pruning, used secrets, archiving, partitions, deleting accounts
    about 60."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._logouts = LogoutDelivery(services)
        self._mails = MailDelivery(services)
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    def start(self) -> None:
        chores = [
            (0.4, self.tell_logouts),
            (0.4, self.send_mails),
            (1.0, self.write_audit),
            (1.0, self.record_late),
            (5.0, self.tend_keys),
            (60.0, self.prune),
            (60.0, self.note_secrets),
            (60.0, self.delete_left),
        ]
        if self._services.db.dialect == "postgresql":
            chores.append((60.0, self.tend_partitions))
        if self._services.settings.audit.audit_retention is not None:
            chores.append((60.0, self.archive_audit))
        if self._services.db.files is not None:
            chores.append((0.2, self.watch_files))
        self._tasks = [asyncio.create_task(self._every(*chore)) for chore in chores]
        self._tasks.append(asyncio.create_task(self._relieve_queue()))

    async def stop(self) -> None:
        """End the chores; what the audit still holds is written.

        A chore under way is not cancelled: its write goes on in a thread, and would be repeated.
        """
        self._stopping.set()
        self._services.queue.pressing.set()
        if self._tasks:
            _, stuck = await asyncio.wait(self._tasks, timeout=PATIENCE)
            for task in stuck:
                task.cancel()
        await self._logouts.stop(PATIENCE)
        await self._mails.stop(PATIENCE)
        await self._attempt(self.note_secrets)
        self._services.queue.close()
        await self._attempt(self.write_audit)
        if lost := self._services.queue.depth:
            _log.error("audit events lost", count=lost)

    async def write_audit(self) -> None:
        db, queue = self._services.db, self._services.queue
        key = audit_keys(self._services.master)[0]
        for end in await queue.flush(db, key):
            _log_sealed(end)
        began = monotonic()
        while await db.read(audit.unsealed):
            sealed = await db.write(lambda session: audit.seal(session, key))
            if sealed is None:
                break  # another process is at it
            _log_sealed(sealed)
            if sealed.all_of_it:
                break
            await self._make_way(began)
            began = monotonic()

    async def tell_logouts(self) -> None:
        with suppress(Unavailable):  # others say so, less often
            await self._logouts.deliver()

    async def send_mails(self) -> None:
        with suppress(Unavailable):
            await self._mails.deliver()

    async def record_late(self) -> None:
        await changes.record_late(self._services.db)

    async def note_secrets(self) -> None:
        await self._services.secrets_used.write()

    async def tend_keys(self) -> None:
        services = self._services
        await services.followers.write()
        await upkeep.tend(services.db, services.settings, services.master)

    async def prune(self) -> None:
        unused = self._services.settings.registration.registration_unused
        for forget in (
            changes.prune,
            live.prune,
            reserving.prune,
            codes.prune,
            pushed.prune,
            device_codes.prune,
            exchanged.prune,
            lifecycle.prune,
            browser.prune,
            once.prune,
            logouts.prune,
            outbox.prune,
            links.prune,
            devices.prune,
            enrolment.prune,
            uptake.prune,
            partial(unused_clients.prune, age=unused),
            self._services.throttle.prune,
        ):
            began = monotonic()
            while await self._services.db.write(forget) >= SOME:
                if await self._make_way(began):
                    return
                began = monotonic()
        await kinds.recount(self._services.db, self._services.hasher.kind)

    async def delete_left(self) -> None:
        """Accounts that their users have deleted, once nobody can have them back."""
        began = monotonic()
        while await self._services.db.write(leaving.complete) >= leaving.BATCH:
            if await self._make_way(began):
                return
            began = monotonic()

    async def archive_audit(self) -> None:
        """In a thread: it reads much, and waits for the disk."""
        services, retention = self._services, self._services.settings.audit.audit_retention
        assert retention is not None
        horizon = utcnow() - retention
        all_of_it = await services.db.read(lambda s: archiving.due(s, horizon, retention))
        if all_of_it is None:
            return
        archives = archiving.Archives(
            services.db,
            services.settings.audit.audit_archive,
            audit_keys(services.master),
            self._stopping.is_set,
        )

        def make() -> None:
            for made in archives.make(horizon, whole=not all_of_it):
                _log.info("audit archived", file=made.file, seq=made.last, digest=made.digest)
                sleep(LEAST_PAUSE)

        try:
            await asyncio.to_thread(make)
        except (archiving.Broken, OSError) as error:
            _log.error("audit not archived", reason=str(error))

    async def tend_partitions(self) -> None:
        if await self._services.db.read(partitions.concerned):
            tended = await self._services.db.write(partitions.tend)
            if tended.made or tended.dropped:
                _log.info("audit partitions", made=tended.made, dropped=tended.dropped)

    async def watch_files(self) -> None:
        """That nobody asks is no reason to write on into a file that nobody else has."""
        with suppress(Unavailable):  # it has been said
            cast(Files, self._services.db.files).check()

    async def _make_way(self, began: float) -> bool:
        """Wait as long as the batch took that `began` then: whoever waits for SQLite's only lock
        looks for it now and then, and would never find it free. True: the service stops."""
        return await self._stopped_within(max(monotonic() - began, LEAST_PAUSE))

    async def _every(self, seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
        # Not all processes at the same instant.
        while not await self._stopped_within(seconds * random.uniform(0.9, 1.1)):  # noqa: S311
            await self._attempt(chore)

    async def _relieve_queue(self) -> None:
        """Under load the audit's second is too long: what it holds would be megabytes."""
        queue = self._services.queue
        while not self._stopping.is_set():
            await queue.pressing.wait()
            if self._stopping.is_set():
                return  # `stop` writes it, once
            await self._attempt(self.write_audit)
            if queue.pressing.is_set():  # it failed; not in a tight loop
                await self._stopped_within(1)

    async def _stopped_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    async def _attempt(self, chore: Callable[[], Awaitable[None]]) -> None:
        try:
            await chore()
        except Unavailable as error:
            _log.warning("chore postponed", chore=chore.__name__, reason=error.audit)
        except Exception:
            _log.exception("chore failed", chore=chore.__name__)


def _log_sealed(sealed: audit.Sealed) -> None:
    _log.info("audit sealed", seq=sealed.seq, digest=sealed.digest, events=sealed.count)
