"""One active key for each algorithm in use: that of the setting, and those that audiences chose."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from identity.clock import Frozen
from identity.keys import exchange, transitions, upkeep
from identity.keys.master import MasterKey
from identity.keys.material import prepare, seal
from identity.keys.table import SigningKey
from identity.settings import Settings, SettingsError
from identity.store import Database
from tests.keys.starting import start

CHOSEN = "https://orders.test=RS256"
Make = Callable[..., Settings]


@pytest.fixture
def chosen(make: Make) -> Settings:
    return make(audience_algorithms=CHOSEN)


@pytest.fixture
def by_algorithm(db: Database) -> Callable[[], dict[str, list[str]]]:
    def by_algorithm() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        with db.transaction() as session:
            rows = session.exec(select(SigningKey).order_by(SigningKey.created_at)).all()  # type: ignore[arg-type]
        for row in rows:
            found.setdefault(row.algorithm, []).append(row.state)
        return found

    return by_algorithm


async def test_at_the_very_first_start_every_algorithm_signs_at_once(
    db: Database, chosen: Settings, master_key: MasterKey, by_algorithm: Any
) -> None:
    await start(db, chosen, master_key)
    assert by_algorithm() == {"ES256": ["active"], "RS256": ["active"]}
    await start(db, chosen, master_key)
    assert not await upkeep.tend(db, chosen, master_key)
    assert by_algorithm() == {"ES256": ["active"], "RS256": ["active"]}


async def test_one_that_is_chosen_later_signs_once_every_verifier_knows_its_key(
    db: Database,
    settings: Settings,
    chosen: Settings,
    master_key: MasterKey,
    by_algorithm: Any,
    clock: Frozen,
) -> None:
    await start(db, settings, master_key)
    clock.tick(timedelta(hours=1))
    await start(db, chosen, master_key)
    assert by_algorithm() == {"ES256": ["active"], "RS256": ["next"]}
    clock.tick(transitions.lead(chosen) - timedelta(seconds=1))
    assert not await upkeep.tend(db, chosen, master_key)
    clock.tick(1)
    assert await upkeep.tend(db, chosen, master_key)
    assert by_algorithm() == {"ES256": ["active"], "RS256": ["active"]}


async def test_each_follows_its_own_age_and_one_that_nobody_chooses_any_more_goes(
    db: Database,
    settings: Settings,
    chosen: Settings,
    master_key: MasterKey,
    by_algorithm: Any,
    clock: Frozen,
) -> None:
    await start(db, chosen, master_key)
    for _ in range(3):  # published, promoted; then the retired have expired
        clock.tick(timedelta(days=30, minutes=-6) if _ == 0 else timedelta(hours=2))
        assert await upkeep.tend(db, chosen, master_key)
    assert by_algorithm() == {"ES256": ["retired", "active"], "RS256": ["retired", "active"]}
    clock.tick(timedelta(days=1))
    assert not await upkeep.tend(db, settings, master_key)  # another replica may not know yet
    clock.tick(timedelta(days=30))
    while await upkeep.tend(db, settings, master_key):
        clock.tick(timedelta(minutes=30))
    assert "active" not in by_algorithm()["RS256"] and "next" not in by_algorithm()["RS256"]
    clock.tick(settings.sessions.session_ttl)
    while await upkeep.tend(db, settings, master_key):
        clock.tick(timedelta(hours=2))
    assert "RS256" not in by_algorithm()


async def test_a_key_that_is_brought_takes_the_place_of_its_algorithm(
    db: Database, chosen: Settings, master_key: MasterKey, by_algorithm: Any
) -> None:
    await start(db, chosen, master_key)
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for algorithm, states in (
        ("RS256", {"ES256": ["active"], "RS256": ["retired", "active"]}),
        # Nobody chose this one: it signs what chose none.
        ("PS256", {"ES256": ["retired"], "RS256": ["retired", "active"], "PS256": ["active"]}),
    ):
        if algorithm == "PS256":
            private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        made = seal(private, algorithm, master_key)
        with db.transaction() as session:
            exchange.import_(session, chosen, made, activate=True)
        assert by_algorithm() == states


def test_the_database_refuses_a_second_active_key_of_an_algorithm(
    db: Database, chosen: Settings, master_key: MasterKey
) -> None:
    def publish_two(serves: tuple[str, str]) -> None:
        with db.transaction() as session:
            for each in serves:
                made = prepare("ES256", master_key)
                key = transitions.publish(session, chosen, made, serves=each)
                key.state = "active"
                session.flush()

    with pytest.raises(IntegrityError):
        publish_two(("RS256", "RS256"))
    publish_two(("", "RS256"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("https://orders.test", "AUDIENCE=ALGORITHM"),
        ("=RS256", "AUDIENCE=ALGORITHM"),
        ("https://orders.test=HS256", "'ES256', 'RS256', 'PS256' or 'EdDSA'"),
        ("a=RS256 a=PS256", "names the audience a twice"),
    ],
)
def test_a_choice_that_is_none_refuses_the_start(value: str, words: str) -> None:
    with pytest.raises(SettingsError, match="IDENTITY_AUDIENCE_ALGORITHMS") as refused:
        Settings.of(audience_algorithms=value)
    assert words in str(refused.value)


def test_choices_are_read_with_the_algorithm_behind_the_last_equals_sign() -> None:
    keys = Settings.of(audience_algorithms="https://a.test/?x=1=RS256, urn:b=ES256").keys
    assert keys.audience_algorithms == {"https://a.test/?x=1": "RS256", "urn:b": "ES256"}
    assert keys.served == ("", "RS256")
