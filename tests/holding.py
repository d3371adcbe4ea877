"""A client of the service that holds a key, and proves it with each request (RFC 9449)."""

from dataclasses import dataclass, field
from typing import Any

import httpx

from identity import clock
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.testing.proofs import ProofKey
from tests.world import PASSWORD, Caller, World, granted

ALGS = " ".join(ALGORITHMS)
NO_PROOF = (400, "invalid_dpop_proof")


def challenge(answer: httpx.Response, error: str) -> str:
    """The challenge of scheme DPoP, which names the algorithms."""
    assert answer.status_code == 401, answer.text
    said: str = answer.headers["www-authenticate"]
    assert said.startswith("DPoP ") and f'algs="{ALGS}"' in said, said
    assert f'error="{error}"' in said, said
    return said


def new_key(algorithm: str = "ES256") -> ProofKey:
    """By the service's clock, which tests hold still."""
    return ProofKey(algorithm, clock=lambda: clock.now())


@dataclass
class Holder:
    world: World
    client: Caller | None = None
    key: ProofKey = field(default_factory=new_key)

    @property
    def token_endpoint(self) -> str:
        return self.address("/token")

    def address(self, path: str) -> str:
        return self.world.services.settings.issuer.rstrip("/") + path

    async def token(self, proof: str | None = None, **form: str) -> httpx.Response:
        """`proof` in place of a good one; an empty one is left out."""
        proof = self.key.proof("POST", self.token_endpoint) if proof is None else proof
        headers = {"dpop": proof} if proof else {}
        said = form | (self.client.post if self.client else {})
        return await self.world.api.post("/token", data=said, headers=headers)

    async def log_in(self, username: str = "ada", **form: str) -> dict[str, Any]:
        form |= {"grant_type": "password", "username": username, "password": PASSWORD}
        return granted(await self.token(**form))

    async def refresh(self, refresh_token: str, proof: str | None = None) -> httpx.Response:
        return await self.token(proof, grant_type="refresh_token", refresh_token=refresh_token)

    async def ask(
        self, path: str, token: str, method: str = "GET", **claims: Any
    ) -> httpx.Response:
        """A request with `token` and its proof, in which `claims` win."""
        headers = self.key.headers(method, self.address(path.partition("?")[0]), token, **claims)
        return await self.world.api.request(method, path, headers=headers)
