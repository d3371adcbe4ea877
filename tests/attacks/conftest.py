import pytest
from sqlmodel import select

from identity.keys.material import unseal
from identity.keys.table import SigningKey
from tests.attacks.rules import pytest_generate_tests, pytest_pyfunc_call
from tests.verifier.forger import Forger
from tests.world import World, claims_of

__all__ = ["forger", "pytest_generate_tests", "pytest_pyfunc_call"]


@pytest.fixture
async def forger(world: World) -> Forger:
    """A forger who has stolen the service's own key, and a good token's claims."""
    world.user(roles=["admin"])
    token = (await world.log_in())["access_token"]
    with world.change() as session:
        active = select(SigningKey).where(SigningKey.state == "active", SigningKey.serves == "")
        row = session.exec(active).one()
        key = unseal(row, world.services.master)
    return Forger(key, row.kid, row.algorithm, claims_of(token))
