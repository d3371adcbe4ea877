"""The outbox of mails: what is to be sent waits here, sealed, and is wiped once it has gone.

`write` is part of the act's own unit of work, so there is no act without its mail and no mail
without its act. How a mail waits and who takes it: `store.leased`. Whom it is for and what it says
can be read with the master key alone; the table itself says which kind, whose and how it fares.
"""

import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlmodel import Field, Session, col

from identity.authentication.mail.kinds import KINDS
from identity.clock import utcnow
from identity.keys.master import MasterKey
from identity.opaque import new_id
from identity.settings import Settings, SettingsError
from identity.store import (
    SOME,
    Database,
    Statement,
    UtcDateTime,
    Work,
    delete_some,
    execute,
    leased,
    select_of,
)
from identity.store.leased import Leased
from identity.store.moments import DatabaseClock, database_time

EXPIRED: Final = "it has waited for too long"


class OutgoingMail(Leased, table=True):
    __tablename__ = "mail_outbox"

    id: str = Field(default_factory=new_id, primary_key=True)
    kind: str
    user_id: str | None = Field(default=None, index=True)
    """Whose account it is about; they may be deleted by now."""
    target: str
    """HMAC of the address."""
    sealed: str | None = None
    """A `Letter`; None once it has been sent."""
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)


class Letter(NamedTuple):
    """What is sealed."""

    to: str
    locale: str | None
    values: dict[str, Any]
    """What its template is told, JSON."""


class Taken(NamedTuple):
    """A mail that this process is to send now."""

    id: str
    kind: str
    user_id: str | None
    sealed: str | None
    expires_at: datetime | None
    noted_at: datetime
    attempts: int


_WAITS = col(OutgoingMail.sent_at).is_(None)


def _write() -> Any:
    clock: Any = DatabaseClock()
    given = ("id", "kind", "user_id", "target", "sealed", "expires_at")
    values: dict[Any, Any] = {
        getattr(OutgoingMail, name): bindparam(name, type_=getattr(OutgoingMail, name).type)
        for name in given
    }
    return insert(OutgoingMail).values(
        {**values, OutgoingMail.noted_at: clock, OutgoingMail.due_at: clock,
         OutgoingMail.attempts: 0}
    )  # fmt: skip


_WRITE = Statement(_write)
_DUE = Statement(
    lambda: (
        select_of(OutgoingMail.id)
        .where(
            _WAITS,
            col(OutgoingMail.given_up_at).is_(None),
            col(OutgoingMail.due_at) <= DatabaseClock(),
        )
        .limit(1)
    )
)


class Outbox:
    """`on`: whether mails can be sent. Where they cannot, nothing is written."""

    def __init__(self, settings: Settings, master: MasterKey) -> None:
        self.on = settings.sends_mail
        self._master = master

    def write(
        self,
        work: Work,
        kind: str,
        *,
        to: str | None,
        user_id: str | None = None,
        locale: str | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> str | None:
        """A mail of `kind` to this address, sent once the unit of work is committed; its id. To
        nobody where `to` is None. `values`: JSON, what its template is told beside what all are."""
        wait = KINDS[kind].wait
        if not self.on or to is None:
            return None
        id_, letter = new_id(), Letter(to, locale, dict(values or {}))
        written = {
            "id": id_,
            "kind": kind,
            "user_id": user_id,
            "target": self.target(to),
            "sealed": self._master.encrypt(json.dumps([id_, *letter]).encode()),
            "expires_at": utcnow() + wait,
            "now": utcnow(),
        }
        execute(work, _WRITE, written)
        return id_

    def target(self, address: str) -> str:
        """How an address is known where it must not stand: the same for all its spellings that
        log in the same account."""
        key = self._master.derive("mail target")
        return hmac.new(key, address.lower().encode("utf-8", "replace"), sha256).hexdigest()

    def open(self, mail_id: str, sealed: str) -> Letter:
        """`SettingsError` where it was sealed under another key, or as another mail."""
        whose, *letter = json.loads(self._master.decrypt(sealed))
        if whose != mail_id:
            raise SettingsError(f"what mail {mail_id} says is another's")
        return Letter(*letter)


async def due(db: Database) -> bool:
    """Whether a mail is to be sent now."""
    return bool(await db.query(_DUE, {"now": utcnow()}))


def take(session: Session, most: int) -> list[Taken]:
    """Up to `most` mails that are due; nobody else takes them for a while."""
    columns = [col(getattr(OutgoingMail, name)) for name in Taken._fields]
    return [
        Taken._make(row) for row in leased.take(session, OutgoingMail, most, _WAITS, of=columns)
    ]


def settle_sent(session: Session, taken: Taken) -> None:
    session.execute(
        update(OutgoingMail)
        .where(*leased.same(OutgoingMail, taken.id, taken))
        .values(sent_at=database_time(session), sealed=None, last_error=None)
    )


def discard(session: Session, taken: Taken) -> None:
    """As if it had never been asked for."""
    session.execute(delete(OutgoingMail).where(*leased.same(OutgoingMail, taken.id, taken)))


def settle_failed(session: Session, taken: Taken, pause: timedelta, words: str) -> bool:
    """False where it is given up."""
    return leased.settle_failed(session, OutgoingMail, taken.id, taken, pause, words)


def settle_hopeless(session: Session, taken: Taken, words: str) -> None:
    """Nobody tries again: it would be of no use to anybody."""
    session.execute(
        update(OutgoingMail)
        .where(*leased.same(OutgoingMail, taken.id, taken))
        .values(given_up_at=database_time(session), last_error=words[:200])
    )


def try_again(session: Session, mail_id: str | None = None) -> int:
    """This mail, or all that have not been sent, is due now, also what was given up; how many.
    It waits for a day from then on."""
    which = [] if mail_id is None else [col(OutgoingMail.id) == mail_id]
    now = database_time(session)
    anew = {"noted_at": now, "expires_at": now + leased.GIVEN_UP_AFTER}
    return leased.try_again(session, OutgoingMail, _WAITS, *which, **anew)


def waiting(session: Session) -> tuple[int, int]:
    """How many wait, and how many were given up."""
    given_up = col(OutgoingMail.given_up_at)
    counted = select(func.count(), func.count(given_up)).where(_WAITS)
    all_of_them, over = session.execute(counted).one()
    return all_of_them - over, over


def prune(session: Session) -> int:
    """Forget what was sent or given up, after a while."""
    sent = delete_some(session, OutgoingMail, col(OutgoingMail.sent_at) < utcnow() - leased.KEPT)
    return sent + leased.prune(session, OutgoingMail)


def reencrypt(session: Session, master: MasterKey) -> int:
    """Bring what waits under the newest master key; how many."""
    count, last = 0, ""
    while True:
        some = select(OutgoingMail).where(_WAITS, col(OutgoingMail.id) > last)
        ordered = some.order_by(col(OutgoingMail.id)).limit(SOME).with_for_update()
        rows = session.scalars(ordered).all()
        for row in rows:
            if row.sealed is not None:
                row.sealed = master.reencrypt(row.sealed)
                count += 1
            last = row.id
        session.flush()
        if len(rows) < SOME:
            return count
