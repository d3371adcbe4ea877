"""`/console/audit-export`: the same events as lines of JSON or as CSV, to keep or to look through
with other tools. Sent page by page: memory does not grow with what is asked for."""

import asyncio
import csv
import io
import json
from typing import Any

from sqlmodel import Session, col
from sqlmodel import Session as DatabaseSession

from identity.directory.access.authority import Standing
from identity.directory.users.exporting import neutral
from identity.http.messages import Response, Stream
from identity.pages.beginning import stepped_up
from identity.pages.console.audit import FILTERS, filtered
from identity.pages.console.desk import Desk, Query, Seat
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.records import audit
from identity.records.audit import AuditEvent
from identity.store import Database, deadlines
from identity.store.paging import listed

PAGE = 1000
MEMBERS = (
    "id", "at", "event", "outcome", "actor_type", "actor", "subject", "client_id", "address",
    "request_id", "detail", "seq", "digest",
)  # fmt: skip


class Events:
    """A source of the exported bytes."""

    def __init__(self, db: Database, query: Query, standing: Standing, *, as_csv: bool) -> None:
        self._db, self._query, self._csv = db, query, as_csv
        self._standing = standing
        self._before: int | None = None
        self._begun = self._over = False

    async def next(self) -> bytes | None:
        if self._over:
            return None
        await asyncio.sleep(0)  # a thread is waited for in a task (`wire.eager`)
        deadlines.arrived()  # each page is a question of its own
        await self._standing()
        rows = await listed(self._db, self._page)
        self._over = len(rows) < PAGE
        if rows:
            self._before = rows[-1].id
        head, self._begun = not self._begun, True
        return written(rows, head=head) if self._csv else _lines(rows) or None

    def close(self) -> None:
        self._over = True

    def _page(self, session: DatabaseSession) -> list[AuditEvent]:
        query = filtered(session, self._query)
        if self._before is not None:
            query = query.where(col(AuditEvent.id) < self._before)
        return list(session.exec(query.order_by(col(AuditEvent.id).desc()).limit(PAGE)))


class AuditExport(Desk):
    screen = own("audit_export")

    async def show(self, seat: Seat, query: Query) -> Response:
        if not stepped_up(seat.person):
            return self._prove(seat)
        as_csv = query.get("format") == "csv"
        await listed(self.services.db, lambda s: _checked(s, query))
        told = {name: query[name][:200] for name in FILTERS if query.get(name)}
        written_as = "csv" if as_csv else "ndjson"
        await self.services.db.write(
            lambda s: audit.record(s, "audit.exported", format=written_as, filters=told)
        )
        kind = b"text/csv; charset=utf-8" if as_csv else b"application/x-ndjson"
        name = b"audit.csv" if as_csv else b"audit.ndjson"
        headers = [
            (b"content-type", kind),
            (b"content-disposition", b'attachment; filename="%b"' % name),
        ]
        standing = seat.standing("audit:read")
        return Stream(headers, Events(self.services.db, query, standing, as_csv=as_csv))


def _checked(session: Session, query: Query) -> None:
    """A filter that is wrong is said while a page can still say so."""
    filtered(session, query)


def _lines(rows: list[AuditEvent]) -> bytes:
    lines = (json.dumps(_members(row), ensure_ascii=False) + "\n" for row in rows)
    return "".join(lines).encode()


def written(rows: list[AuditEvent], *, head: bool) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    if head:
        writer.writerow(MEMBERS)
    for row in rows:
        members = _members(row)
        members["detail"] = json.dumps(members["detail"], ensure_ascii=False)
        writer.writerow([harmless(members[name]) for name in MEMBERS])
    return text.getvalue().encode()


def harmless(value: Any) -> str:
    return "" if value is None else neutral(str(value))


def _members(row: AuditEvent) -> dict[str, Any]:
    return {**row.model_dump(), "at": row.at.isoformat()}


async def page(house: House) -> AuditExport:
    return AuditExport(house, await house.rendering())
