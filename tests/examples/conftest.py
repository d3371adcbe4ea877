from collections.abc import Iterator

import pytest

from tests.interop.deployment import Deployment
from tests.serving import ADMIN_PASSWORD, Server
from tests.templates import Templates


@pytest.fixture(scope="session")
def deployment(
    templates: Templates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """The real service on SQLite, which all examples share."""
    folder = tmp_path_factory.mktemp("deployment")
    server = Server(
        folder,
        {
            "DATABASE_URL": templates.fresh("sqlite", folder),
            "KEYS_DIR": str(folder / "keys"),
            "BOOTSTRAP_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "BCRYPT_ROUNDS": "4",
            "TEST_WEAK_HASHING": "1",
        },
    )
    deployment = Deployment(server.url)
    yield deployment
    deployment.close()
    server.stop()
