"""What users have agreed that a client may do: remembered, shown and taken back.

One row a user and client, with every scope agreed to so far; a client that asks for more is asked
about those only. Agreed is with who may get the codes: when a client gets a redirect URI more, what
was agreed before it counts no longer. Each function is part of the caller's unit of work.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import JSON, CursorResult, bindparam, delete, update
from sqlmodel import Field, Session, col, select

from identity.clock import utcnow
from identity.directory.clients.registry import ClientSnapshot
from identity.directory.clients.settings import load as settings_of
from identity.directory.clients.table import Client, ClientRegistration
from identity.records import audit
from identity.store import (
    Database,
    Statement,
    StatementBy,
    Stored,
    UtcDateTime,
    Work,
    changes,
    document,
    execute,
    insert_for,
    select_of,
)
from identity.store.remembered import Remembered
from identity.store.statements import DialectName

CHANGED = "consent.changed"
OF_CLIENT = "consents"
"""What is called so in the change feed is about all consents of a client: whoever remembers any
forgets all that they remember."""


class Consent(Stored, table=True):
    __tablename__ = "consent"

    user_id: str = Field(foreign_key="user_account.id", primary_key=True, ondelete="CASCADE")
    client_id: str = Field(
        foreign_key="client.id", primary_key=True, ondelete="CASCADE", index=True
    )
    scopes: list[str] = Field(default_factory=list, sa_type=JSON)
    granted_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=utcnow, sa_type=UtcDateTime)


Consents = Remembered[frozenset[str]]
"""Scopes agreed to, under `key(user, client)`."""


def key(user_id: str, client_id: str) -> str:
    return f"{user_id} {client_id}"


_LOAD = Statement(
    lambda: select_of(Consent.scopes).where(
        col(Consent.user_id) == bindparam("user_id"),
        col(Consent.client_id) == bindparam("client_id"),
    )
)


async def load(db: Database, ref: str) -> frozenset[str] | None:
    user_id, _, client_id = ref.partition(" ")
    rows = await db.query(_LOAD, {"user_id": user_id, "client_id": client_id})
    return frozenset(document(rows[0][0])) if rows else None


_NEW: dict[Any, str] = {
    Consent.user_id: "user_id",
    Consent.client_id: "client_id",
    Consent.scopes: "scopes",
    Consent.granted_at: "now",
    Consent.updated_at: "now",
}
_WIDER: tuple[Any, ...] = (Consent.scopes, Consent.updated_at)


def _granted(dialect: DialectName) -> Any:
    written = insert_for(dialect, Consent).values({c: bindparam(n) for c, n in _NEW.items()})
    return written.on_conflict_do_update(
        index_elements=[Consent.user_id, Consent.client_id],
        set_={column: written.excluded[column.key] for column in _WIDER},
    )


_GRANT = StatementBy(_granted)
_REGISTERED = Statement(
    lambda: (
        select_of(Client.settings)
        .where(col(Client.id) == bindparam("client_id"))
        .with_for_update(read=True)
    )  # so that it stays as it is until we commit
)


_USED = Statement(
    lambda: (
        update(ClientRegistration)
        .where(
            col(ClientRegistration.client_id) == bindparam("client_id"),
            col(ClientRegistration.used).is_(False),
        )
        .values({ClientRegistration.used: True})
    )
)


def grant(work: Work, user_id: str, client: ClientSnapshot, scopes: Collection[str]) -> None:
    """The user agrees to these too. Two answers at once lose nothing but the need to ask again.
    Nor is it remembered of a client that is, by now, not the one that the user was shown."""
    whose = {"user_id": user_id, "client_id": client.id}
    registered = execute(work, _REGISTERED, whose).fetchall()
    if not registered or wider(client.settings.redirect_uris, document(registered[0][0])):
        return
    known = execute(work, _LOAD, whose).fetchall()
    before = frozenset(document(known[0][0])) if known else frozenset()
    after = sorted(before.union(scopes))
    execute(work, _GRANT, {**whose, "scopes": after, "now": utcnow()})
    if client.self_registered:
        execute(work, _USED, whose)
    changes.record(work, CHANGED, key(user_id, client.id))
    audit.record(
        work, "consent.granted", subject=user_id, client_id=client.id,
        scopes=sorted(set(scopes) - before),
    )  # fmt: skip


def withdraw(session: Session, user_id: str, client_id: str) -> bool:
    """The caller ends the client's sessions of this user. False where nothing was agreed to."""
    found = session.get(Consent, (user_id, client_id))
    if found is None:
        return False
    session.delete(found)
    session.flush()
    changes.record(session, CHANGED, key(user_id, client_id))
    audit.record(session, "consent.withdrawn", subject=user_id, client_id=client_id)
    return True


def wider(before: Collection[str], settings: Mapping[str, Any] | None) -> bool:
    """Whether codes may be sent, by `settings` as they are stored, to where they might not
    before."""
    return not set(settings_of(settings).redirect_uris).issubset(before)


def withdraw_all(session: Session, client_id: str, reason: str) -> None:
    """Of all users, for a client that is not what they agreed to. Its sessions go on: what it has
    got by then it got where they agreed that it goes."""
    theirs = delete(Consent).where(col(Consent.client_id) == client_id)
    gone = cast(CursorResult[Any], session.execute(theirs)).rowcount
    if gone:
        changes.record(session, f"{OF_CLIENT}.withdrawn", client_id)
        audit.record(
            session, "client.consents_withdrawn", subject=client_id, reason=reason, count=gone
        )


def of_user(session: Session, user_id: str) -> Sequence[Consent]:
    query = select(Consent).where(Consent.user_id == user_id)
    return session.exec(query.order_by(col(Consent.client_id))).all()
