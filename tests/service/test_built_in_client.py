"""A start brings the built-in client of an older database to what this version makes it, and
leaves alone what somebody has made it (decision 73)."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlmodel import select

from identity.directory.clients.built_in import first_party
from identity.directory.clients.table import FIRST_PARTY, Client
from identity.directory.configured import Configured
from identity.records.audit import AuditEvent
from identity.service.bootstrap import first_start
from identity.settings import Settings
from identity.store import Database

pytestmark = pytest.mark.first_start

OLD: dict[str, Any] = {"grants": ["password", "refresh_token"], "settings": None, "version": 1}


class House:
    """A database, and the service that is started on it again and again."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        first_start(settings)
        self.changed(**OLD)

    def changed(self, **fields: Any) -> None:
        db = Database(self.settings)
        with db.transaction() as session:
            session.add(session.get_one(Client, FIRST_PARTY).sqlmodel_update(fields))
        db.close()

    def add(self, row: Any) -> None:
        db = Database(self.settings)
        with db.transaction() as session:
            session.add(row)
        db.close()

    def started(self) -> Client:
        first_start(self.settings)
        db = Database(self.settings)
        with db.transaction() as session:
            client = session.get_one(Client, FIRST_PARTY)
            session.expunge(client)
        db.close()
        return client

    def told(self) -> list[AuditEvent]:
        db = Database(self.settings)
        with db.transaction() as session:
            found = session.exec(
                select(AuditEvent).where(
                    AuditEvent.event == "client.updated", AuditEvent.subject == FIRST_PARTY
                )
            ).all()
            session.expunge_all()
        db.close()
        return list(found)


@pytest.fixture
def house(make_settings: Callable[..., Settings]) -> House:
    return House(make_settings())


def test_an_older_one_may_sign_people_in_from_now_on_and_is_brought_once(house: House) -> None:
    client, new = house.started(), first_party()
    assert (client.grants, client.settings, client.version) == (new.grants, new.settings, 2)
    (event,) = house.told()
    assert event.detail["after"] == {"grants": new.grants, "first_party": True}
    assert house.started().version == 2 and len(house.told()) == 1


@pytest.mark.parametrize(
    "chosen",
    [
        {"status": "disabled"},
        {"scopes": ["account"], "name": "Ours"},
        {"settings": {"lifetimes": {"session": 600}}},
    ],
)
def test_what_somebody_has_made_of_it_besides_stays(house: House, chosen: dict[str, Any]) -> None:
    house.changed(**chosen, version=7)
    client = house.started()
    assert client.grants == first_party().grants and client.version == 8
    settings = {**(chosen.get("settings") or {}), "first_party": True}
    made = {name: getattr(client, name) for name in chosen}
    assert made | {"settings": client.settings} == {**chosen, "settings": settings}


@pytest.mark.parametrize(
    "chosen",
    [
        {"grants": ["password"]},
        {"grants": []},
        {"grants": ["password", "refresh_token", "authorization_code"]},
        # The grant was taken away since.
        {"settings": {"first_party": True}},
        # Somebody has plans with it: to add the grant would open that address.
        {"settings": {"redirect_uris": ["https://app.example/callback"]}},
    ],
)
def test_what_somebody_has_decided_about_it_is_not_undone(
    house: House, chosen: dict[str, Any]
) -> None:
    house.changed(**chosen)
    client = house.started()
    assert {name: getattr(client, name) for name in chosen} == chosen
    assert client.version == 1 and house.told() == []


def test_what_a_file_says_of_it_stays(house: House) -> None:
    made = house.started().created_at
    house.changed(**OLD)
    house.add(
        Configured(
            kind="client", name=FIRST_PARTY, set_name="main", created=False, made_at=made, digest=""
        )
    )
    assert house.started().grants == OLD["grants"]
