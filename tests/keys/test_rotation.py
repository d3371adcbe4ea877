from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy.exc import IntegrityError

from identity.clock import Frozen, utcnow
from identity.errors import NotFound
from identity.keys import master, rotation, transitions, upkeep
from identity.keys.master import MasterKey
from identity.keys.material import Material, prepare
from identity.keys.table import SigningKey
from identity.settings import Settings, SettingsError
from identity.store import Database
from tests.keys.starting import start

Keys = Callable[[], dict[str, str]]
Told = Callable[..., list[Any]]
Make = Callable[..., Settings]

CHANGED = ["key.changed"]


@pytest.fixture
def material(master_key: MasterKey) -> Callable[..., Material]:
    return lambda algorithm="ES256": prepare(algorithm, master_key)


@pytest.fixture
def act(db: Database, settings: Settings) -> Callable[..., Any]:
    """`act(unit, *arguments)` runs a unit of this slice in a transaction of its own."""

    def act(unit: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with db.transaction() as session:
            return unit(session, named.pop("settings", settings), *arguments, **named)

    return act


@pytest.fixture
def first(act: Any, material: Any, clock: Frozen) -> str:
    """The first key, active since now."""
    made = material()
    act(rotation.ensure, {"": made})
    return str(made.kid)


def test_the_first_key_signs_at_once(first: str, keys: Keys, told: Told) -> None:
    assert keys() == {first: "active"}
    assert told(first) == ["key.created", "key.activated", CHANGED]


def test_a_second_start_changes_nothing(first: str, act: Any, material: Any, keys: Keys) -> None:
    act(rotation.ensure, {"": material()})
    assert keys() == {first: "active"}
    assert act(rotation.tend, material()) is False


async def test_keys_follow_one_another_by_age(
    first: str,
    db: Database,
    settings: Settings,
    master_key: MasterKey,
    keys: Keys,
    told: Told,
    clock: Frozen,
) -> None:
    async def tend() -> bool:
        return await upkeep.tend(db, settings, master_key)

    clock.tick(timedelta(days=30, minutes=-6, seconds=-1))
    assert not await tend()
    clock.tick(1)
    assert await tend()  # published the JWKS's max-age and a minute before its time
    (second,) = keys().keys() - {first}
    assert keys() == {first: "active", second: "next"}
    clock.tick(timedelta(minutes=6, seconds=-1))
    assert not await tend()
    clock.tick(1)
    assert await tend()
    assert keys() == {first: "retired", second: "active"}
    with db.transaction() as session:
        retired = session.get_one(SigningKey, first)
        assert retired.private is None
        assert retired.expires_at == utcnow() + timedelta(hours=1, seconds=30)
    clock.tick(timedelta(hours=1, seconds=29))
    assert not await tend()
    clock.tick(1)
    assert await tend()
    assert told(first) == ["key.created", "key.activated", "key.retired", "key.withdrawn", CHANGED]
    assert not await tend()
    with db.transaction() as session:
        due = rotation.due(session, settings)
        assert not due.remove and not due.withdraw
        first_gone = session.get_one(SigningKey, first)
        assert first_gone.withdrawn_at == utcnow()
        first_gone.retired_at = utcnow() - settings.sessions.session_ttl
        session.add(first_gone)
    assert await tend()
    assert keys() == {second: "active"}
    assert told(first) == [
        "key.created", "key.activated", "key.retired", "key.withdrawn", "key.removed", CHANGED,
    ]  # fmt: skip


def test_without_material_a_key_waits_for_the_next_time(
    first: str, act: Any, material: Any, keys: Keys, clock: Frozen
) -> None:
    clock.tick(timedelta(days=30))
    assert act(rotation.tend, None) is False
    assert act(rotation.tend, material()) is True
    assert sorted(keys().values()) == ["active", "next"]


def test_rotating_on_demand_publishes_first(
    first: str, act: Any, material: Any, keys: Keys, clock: Frozen
) -> None:
    second = act(rotation.rotate, material()).kid
    assert keys() == {first: "active", second: "next"}
    assert act(rotation.rotate, material()).kid == second
    clock.tick(timedelta(minutes=6, seconds=-1))
    assert act(rotation.tend, None) is False
    clock.tick(1)
    assert act(rotation.tend, None) is True
    assert keys() == {first: "retired", second: "active"}


def test_rotating_now_does_not_wait(first: str, act: Any, material: Any, keys: Keys) -> None:
    second = act(rotation.rotate, material()).kid
    assert act(rotation.rotate, material(), now=True).kid == second
    assert keys() == {first: "retired", second: "active"}
    third = act(rotation.rotate, material(), now=True).kid
    assert keys() == {first: "retired", second: "retired", third: "active"}


def test_rotating_an_empty_database_makes_the_first_key(
    act: Any, material: Any, keys: Keys
) -> None:
    kid = act(rotation.rotate, material()).kid
    assert keys() == {kid: "active"}


def test_a_revoked_key_is_replaced_at_once(
    first: str, db: Database, act: Any, material: Any, keys: Keys, told: Told
) -> None:
    fresh = material()
    assert act(rotation.revoke, first, fresh).state == "revoked"
    assert keys() == {first: "revoked", fresh.kid: "active"}
    assert told(first)[2:] == ["key.revoked", ["key.changed", "key.revoked"]]
    with db.transaction() as session:
        assert session.get_one(SigningKey, first).private is None


def test_a_next_key_takes_the_place_of_a_revoked_one(
    first: str, act: Any, material: Any, keys: Keys
) -> None:
    second = act(rotation.rotate, material()).kid
    act(rotation.revoke, first, material())
    assert keys() == {first: "revoked", second: "active"}


def test_next_and_retired_keys_can_be_revoked(
    first: str, act: Any, material: Any, keys: Keys, clock: Frozen
) -> None:
    second = act(rotation.rotate, material(), now=True).kid
    third = act(rotation.rotate, material()).kid
    for kid in (first, third):
        act(rotation.revoke, kid, material())
    assert keys() == {first: "revoked", second: "active", third: "revoked"}
    clock.tick(timedelta(days=1))
    act(rotation.tend, None)
    assert keys()[first] == "revoked"  # it is remembered, so that nobody imports it again


def test_revoking_twice_is_revoking_once(
    first: str, act: Any, material: Any, keys: Keys, told: Told
) -> None:
    act(rotation.revoke, first, material())
    before = keys(), told(first)
    act(rotation.revoke, first, material())
    assert (keys(), told(first)) == before


def test_an_unknown_key_cannot_be_revoked(first: str, act: Any, material: Any) -> None:
    with pytest.raises(NotFound):
        act(rotation.revoke, "unknown", material())


async def test_another_algorithm_in_the_settings_brings_a_successor(
    first: str,
    db: Database,
    make: Make,
    master_key: MasterKey,
    act: Any,
    material: Any,
    keys: Keys,
    told: Told,
    clock: Frozen,
) -> None:
    eddsa = make(signing_algorithm="EdDSA")
    await start(db, eddsa, master_key)
    (second,) = keys().keys() - {first}
    assert keys() == {first: "active", second: "next"}
    await start(db, eddsa, master_key)
    assert keys() == {first: "active", second: "next"}

    # Another change of mind before it has signed: it goes, a third comes in its place.
    await start(db, make(signing_algorithm="RS256"), master_key)
    (third,) = keys().keys() - {first}
    assert keys() == {first: "active", third: "next"}
    assert told(second) == ["key.created", "key.removed", CHANGED]

    # And back to the first algorithm.
    act(rotation.ensure, {"": material()})
    assert keys() == {first: "active"}


async def test_a_start_makes_the_first_key(
    db: Database, settings: Settings, master_key: MasterKey, keys: Keys
) -> None:
    await start(db, settings, master_key)
    assert list(keys().values()) == ["active"]


async def test_of_two_machines_with_different_master_keys_one_refuses_to_start(
    db: Database, settings: Settings, master_key: MasterKey, keys: Keys
) -> None:
    other = MasterKey([Fernet.generate_key().decode()], "IDENTITY_MASTER_KEY")
    await start(db, settings, master_key)
    with pytest.raises(SettingsError, match="was encrypted under another master key"):
        await start(db, settings, other)
    assert list(keys().values()) == ["active"]


@pytest.mark.parametrize("dialect", ["postgresql"])  # on SQLite nobody writes meanwhile
def test_a_master_key_made_while_another_machine_wrote_the_first_signing_key_is_refused(
    db: Database, make_settings: Make, act: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = MasterKey([Fernet.generate_key().decode()], "IDENTITY_MASTER_KEY")
    make = master._make

    def make_meanwhile(file: Path) -> None:
        make(file)
        act(rotation.ensure, {"": prepare("ES256", elsewhere)})

    monkeypatch.setattr(master, "_make", make_meanwhile)
    with (
        pytest.raises(SettingsError, match="was encrypted under another master key"),
        db.transaction() as session,
    ):
        master.load(session, make_settings(keys_dir=tmp_path / "empty"))


def test_a_key_stays_published_for_the_longest_token_it_signed(
    first: str, db: Database, make: Make, act: Any, material: Any, clock: Frozen
) -> None:
    assert act(rotation.tend, None, settings=make(access_token_ttl="1h")) is True
    assert act(rotation.tend, None) is False
    act(rotation.rotate, material(), now=True)
    with db.transaction() as session:
        expires_at = session.get_one(SigningKey, first).expires_at
    assert expires_at == utcnow() + timedelta(hours=1, seconds=30)


def test_a_rotation_shorter_than_the_lead_still_publishes_first(
    first: str, make: Make, act: Any, material: Any, keys: Keys, clock: Frozen
) -> None:
    hasty = make(key_rotation="1s")
    act(rotation.tend, material(), settings=hasty)
    clock.tick(timedelta(minutes=6, seconds=-1))
    assert act(rotation.tend, material(), settings=hasty) is False
    clock.tick(1)
    assert act(rotation.tend, material(), settings=hasty) is True
    assert keys()[first] == "retired"


@pytest.mark.parametrize("state", ["active", "next"])
def test_the_database_itself_refuses_a_second_key_in_a_state(
    act: Any, db: Database, settings: Settings, material: Any, state: str
) -> None:
    def second(session: Any, settings: Settings) -> None:
        for _ in range(2):
            key = transitions.publish(session, settings, material())
            key.state = state  # type: ignore[assignment]
            session.flush()

    with pytest.raises(IntegrityError):
        act(second)


def test_the_database_itself_refuses_an_unknown_state(act: Any, material: Any) -> None:
    def misspelt(session: Any, settings: Settings) -> None:
        transitions.publish(session, settings, material()).state = "activ"  # type: ignore[assignment]

    with pytest.raises(IntegrityError):
        act(misspelt)
