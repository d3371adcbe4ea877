"""Files of users going out and coming in while the service works: a piece at a time, in threads, on
record."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlmodel import Session

from identity.dataclass import dataclass
from identity.directory.access.authority import Standing
from identity.directory.access.granting import ensure_built_in
from identity.directory.users import exporting
from identity.directory.users.exporting import Format
from identity.directory.users.listing import Wanted
from identity.errors import IdentityError, Overloaded
from identity.records import audit
from identity.service.importing.batches import Batch, Import
from identity.service.wiring import Services
from identity.store import Database, deadlines

AT_ONCE = 2
"""Imports that one process takes: each holds its names in memory, and its file on the disk."""
_under_way: set[object] = set()


# --- Out ------------------------------------------------------------------------------------


async def export(
    services: Services, wanted: Wanted, form: Format, standing: Standing
) -> AsyncGenerator[bytes, None]:
    """The file, piece by piece. That it was asked for is on record before this returns, how far it
    came when it ends."""
    said = {name: _told(value) for name, value in asdict(wanted).items() if value is not None}
    await services.db.write(
        lambda session: audit.record(session, "users.exported", format=form, **said)
    )
    return _pieces(services, wanted, form, standing)


async def _pieces(
    services: Services, wanted: Wanted, form: Format, standing: Standing
) -> AsyncGenerator[bytes, None]:
    count, whole = 0, False
    try:
        yield exporting.heading(form)
        after: Any = None
        while True:
            deadlines.arrived()  # each piece is a question of its own
            await standing()
            users, after = await _read(services.db, _page(wanted, after))
            if users:
                yield await asyncio.to_thread(exporting.lines, users, form)
                count += len(users)
            if after is None:
                break
        whole = True
    finally:
        services.queue.put("users.export_ended", format=form, count=count, whole=whole)


def _page(wanted: Wanted, after: Any) -> Callable[[Session], Any]:
    return lambda session: exporting.page(session, wanted, after)


async def _read(db: Database, unit: Callable[[Session], Any]) -> Any:
    """Never in the event loop."""
    if db.dialect == "postgresql":
        return await db.read(unit)

    def look() -> Any:
        with Session(db.engine) as session:
            return unit(session)

    return await asyncio.to_thread(look)


def _told(value: object) -> Any:
    return value if isinstance(value, str | bool) else str(value)


# --- In -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import has come; `bad_rows`: those since the last time, (line, reason)."""

    rows: int
    created: int
    updated: int
    unchanged: int
    differing: int
    bad: int
    bad_rows: list[tuple[int, str]]
    done: bool = False
    problem: str | None = None
    """Why it ends before the file does. What was done stays done."""


@asynccontextmanager
async def received(chunks: AsyncIterator[bytes]) -> AsyncIterator[Path]:
    """A file that comes in, on the disk, and nowhere afterwards. `Overloaded` where enough of them
    come already."""
    if len(_under_way) >= AT_ONCE:
        raise Overloaded(30, "other imports are under way")
    mine = object()
    _under_way.add(mine)
    try:
        with tempfile.NamedTemporaryFile(prefix="identity-import-") as file:
            async for chunk in chunks:
                file.write(chunk)
            file.flush()
            yield Path(file.name)
    finally:
        _under_way.discard(mine)


async def import_users(
    services: Services,
    file: Path,
    form: str,
    *,
    update: bool,
    dry_run: bool,
    standing: Standing,
) -> AsyncGenerator[Progress, None]:
    """After each batch, which is a transaction; cut off, it is simply sent again. The first is
    there before this returns: `ValidationFailed` where it is no such file at all."""
    deadlines.arrived()  # receiving the file has taken a while
    held = await standing()
    work = Import(services.db, update=update, dry_run=dry_run, held=held)
    if not dry_run:
        await services.db.write(ensure_built_in)
    batches = work.run(file, form)
    first = await asyncio.to_thread(next, batches, None)

    async def told() -> AsyncGenerator[Progress, None]:
        batch: Batch | None = first
        problem: str | None = "cut off"
        try:
            while batch is not None:
                yield _progress(work, [(bad.line, bad.reason) for bad in batch.bad])
                deadlines.arrived()
                work.held = await standing()
                batch = await asyncio.to_thread(next, batches, None)
            problem = None
        except IdentityError as refusal:
            problem = refusal.detail
        finally:
            counts: dict[str, Any] = dict(work.report.counts())
            services.queue.put(
                "users.imported", dry_run=dry_run, update=update, why=problem,
                **counts,
            )  # fmt: skip
        yield _progress(work, [], done=problem is None, problem=problem)

    return told()


def _progress(
    work: Import, bad: list[tuple[int, str]], *, done: bool = False, problem: str | None = None
) -> Progress:
    r = work.report
    return Progress(
        r.rows, r.created, r.updated, r.unchanged, r.differing, r.bad, bad, done, problem
    )
