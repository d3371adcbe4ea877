"""Whatever the schedule: no verifier that caches the key set as allowed meets an unknown key."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, delete
from sqlalchemy.pool import StaticPool
from sqlmodel import Session, select

from identity.clock import frozen, utcnow
from identity.keys import exchange, rotation, transitions
from identity.keys.master import MasterKey
from identity.keys.material import prepare
from identity.keys.table import PUBLISHED, KeyFollower, SigningKey
from identity.records import audit
from identity.service.tables import metadata
from identity.settings import Settings
from tests.proofs import effort

MASTER = MasterKey([Fernet.generate_key().decode()], "tests")
MAX_AGE = timedelta(minutes=5)
LEEWAY = timedelta(seconds=30)

# Two replicas in the middle of a change of settings.
REPLICAS = [
    Settings.of(
        jwks_max_age="5m", key_rotation="1h", access_token_ttl="15m", id_token_algorithms=""
    ),
    Settings.of(
        id_token_algorithms="",
        jwks_max_age="5m",
        key_rotation="20m",
        access_token_ttl="40m",
        signing_algorithm="EdDSA",
    ),
]


def database() -> Engine:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    tables = [SigningKey.__table__, KeyFollower.__table__, audit.AuditEvent.__table__]  # type: ignore[attr-defined]
    metadata.create_all(engine, tables=tables)
    return engine


ENGINE = database()


@dataclass
class World:
    session: Session
    served: list[tuple[datetime, set[str]]] = field(default_factory=list)
    """Every key set, and since when it was served."""
    tokens: list[tuple[str, datetime]] = field(default_factory=list)
    """The key of every token, and when the last verifier takes it for expired."""

    def start(self, settings: Settings) -> None:
        made = prepare(settings.keys.signing_algorithm, MASTER)
        rotation.ensure(self.session, settings, {"": made})

    def tend(self, settings: Settings) -> None:
        made = prepare(settings.keys.signing_algorithm, MASTER)
        rotation.tend(self.session, settings, made)

    def rotate(self, settings: Settings) -> None:
        made = prepare(settings.keys.signing_algorithm, MASTER)
        rotation.rotate(self.session, settings, made)

    def bring(self, settings: Settings) -> None:
        exchange.import_(self.session, settings, prepare("ES256", MASTER))

    def mint(self, settings: Settings) -> None:
        self.tend(settings)  # as every process does every few seconds
        active = transitions.find(self.session, "active")
        assert active is not None
        assert active.private is not None
        self.tokens.append((active.kid, utcnow() + settings.tokens.access_token_ttl + LEEWAY))

    def serve(self) -> None:
        query = select(SigningKey.kid).where(SigningKey.state.in_(PUBLISHED))  # type: ignore[attr-defined]
        self.served.append((utcnow(), set(self.session.exec(query))))

    def check(self) -> None:
        now = utcnow()
        alive = {kid for kid, expires in self.tokens if now < expires}
        for number, (_, known) in enumerate(self.served):
            last_fetched = self.served[number + 1][0] if number + 1 < len(self.served) else now
            if last_fetched >= now - MAX_AGE:
                assert alive <= known, "a cached key set lacks the key of a good token"
        states = self.session.exec(select(SigningKey.state)).all()
        assert states.count("active") == 1
        assert states.count("next") <= 1


ACTS = [World.start, World.tend, World.rotate, World.bring, World.mint, World.mint]
STEPS = st.tuples(
    st.sampled_from([0, 1, 29, 30, 31, 60, 299, 300, 301, 360, 899, 900, 931, 2400, 3600])
    | st.integers(0, 4000),
    st.sampled_from(ACTS),
    st.sampled_from(REPLICAS),
)


@pytest.mark.proof
@hypothesis_settings(max_examples=effort(20, 100, 20_000))
@given(st.lists(STEPS, min_size=5, max_size=40))
def test_a_verifier_with_a_cached_key_set_never_meets_an_unknown_key(
    steps: list[tuple[int, object, Settings]],
) -> None:
    with frozen() as clock, Session(ENGINE) as session:
        session.execute(delete(SigningKey))
        session.execute(delete(audit.AuditEvent))
        world = World(session)
        world.start(REPLICAS[0])
        world.serve()
        for seconds, act, settings in steps:
            clock.tick(seconds)
            world.check()
            act(world, settings)  # type: ignore[operator]
            world.serve()
            world.check()
        session.rollback()
