"""A database with this slice's tables, and the short cuts that its tests share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from identity.clock import Frozen, frozen
from identity.keys import master
from identity.keys.master import MasterKey
from identity.keys.table import SigningKey
from identity.records import audit
from identity.settings import Settings
from identity.store import Database
from identity.store.table import Change


@pytest.fixture
def make(database_url: str, tmp_path: Path) -> Callable[..., Settings]:
    def make(**changed: Any) -> Settings:
        chosen: dict[str, Any] = {
            "database_url": database_url,
            "keys_dir": tmp_path / "keys",
            "id_token_algorithms": "",  # one line of keys, unless a test wants another
            **changed,
        }
        return Settings.of(**chosen)

    return make


@pytest.fixture
def settings(make: Callable[..., Settings]) -> Settings:
    return make()


@pytest.fixture
def master_key(db: Database, settings: Settings) -> MasterKey:
    with db.transaction() as session:
        return master.load(session, settings)


@pytest.fixture
def clock() -> Iterator[Frozen]:
    with frozen() as hand:
        yield hand


@pytest.fixture
def keys(db: Database) -> Callable[[], dict[str, str]]:
    """`keys()`: the state of every key in the database."""

    def keys() -> dict[str, str]:
        with db.transaction() as session:
            return {key.kid: key.state for key in session.exec(select(SigningKey))}

    return keys


@pytest.fixture
def told(db: Database) -> Callable[..., list[Any]]:
    """`told(kid)`: the audit's events on it in order, and the change feed's kinds, once each."""

    def told(kid: str) -> list[Any]:
        with db.transaction() as session:
            events = session.exec(
                select(audit.AuditEvent.event)
                .where(audit.AuditEvent.subject == kid)
                .order_by(audit.AuditEvent.id)  # type: ignore[arg-type]
            ).all()
            kinds = session.exec(select(Change.kind).where(Change.ref == kid)).all()
        return [*events, sorted(set(kinds))]

    return told
