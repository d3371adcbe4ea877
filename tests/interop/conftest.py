from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlmodel import select

from identity.keys import master as master_key
from identity.keys import rotation
from identity.keys.material import prepare, unseal
from identity.keys.table import SigningKey
from identity.service.wiring import open_database
from identity.settings import Settings
from identity.verifier.gate.algorithms import ALGORITHMS
from tests.interop.deployment import AUDIENCE, Deployment
from tests.serving import ADMIN_PASSWORD, Server
from tests.templates import Templates
from tests.verifier.forge import attacks
from tests.verifier.forger import GONE, Attack, Forger
from tests.world import claims_of

BY_EVERYBODY = ("header.alg: ", "signature: ", "key.alg: ")
"""Attacks that whoever verifies signatures must turn away."""


@dataclass(frozen=True)
class Issued:
    """Tokens of the real service, signed by `alg`; others' keys are in its key set as well."""

    issuer: str
    audience: str
    alg: str
    good: str
    broken: list[Attack]

    @property
    def jwks_uri(self) -> str:
        return f"{self.issuer}/.well-known/jwks.json"


@pytest.fixture(scope="session")
def issued(
    templates: Templates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Issued]]:
    """By algorithm, from one `identity serve` whose key was rotated from one to the next."""
    folder = tmp_path_factory.mktemp("interop")
    url = templates.fresh("sqlite", folder)
    settings = Settings.of(database_url=url, keys_dir=folder / "keys")
    server = Server(
        folder,
        {
            "DATABASE_URL": url,
            "KEYS_DIR": str(folder / "keys"),
            "BOOTSTRAP_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "BCRYPT_ROUNDS": "4",
            "TEST_WEAK_HASHING": "1",
        },
    )
    deployment = Deployment(server.url)
    db = open_database(settings)
    tokens = {}
    for alg in ALGORITHMS:
        with db.transaction() as session:
            key = master_key.load(session, settings)
            rotation.rotate(session, settings, prepare(alg, key), now=True)
        good = deployment.token()
        with db.transaction() as session:
            active = select(SigningKey).where(SigningKey.state == "active")
            row = session.exec(active.where(SigningKey.serves == "")).one()
            stolen = unseal(row, key)
        forger = Forger(stolen, row.kid, row.algorithm, claims_of(good))
        assert forger.alg == alg
        tokens[alg] = Issued(server.url, AUDIENCE, alg, good, list(_broken(forger)))
    db.close()
    yield tokens
    deployment.close()
    server.stop()


def _broken(forger: Forger) -> Iterator[Attack]:
    """What must not be taken by anybody who has read RFC 9068 §4, whatever their library."""
    for name, token in attacks(forger.private_key, forger.kid, forger.alg, forger.claims):
        if name.startswith(BY_EVERYBODY):
            yield name, token
    expires_at = forger.claims["exp"]
    for name, changes in {
        "expired": {"exp": expires_at - 100_000, "iat": expires_at - 101_000, "nbf": GONE},
        "not yet valid": {"nbf": expires_at + 100_000, "exp": expires_at + 200_000},
        "another issuer": {"iss": "https://evil.example"},
        "another audience": {"aud": "https://invoices.example.com"},
        "no issuer": {"iss": GONE},
        "no audience": {"aud": GONE},
    }.items():
        yield f"claims: {name}", forger.with_claims(**changes)
