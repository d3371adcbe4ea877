"""DPoP proofs that others have made are good here, and ours there (RFC 9449 §4)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import jwt as pyjwt
import pytest
from joserfc import errors, jwk, jwt

from identity.verifier.gate.algorithms import ALGORITHMS, RSA_BITS
from identity.verifier.gate.proofs import WINDOW, Proofs
from identity.verifier.testing.proofs import ProofKey

NOW = 1_700_000_000.0
URL = "https://orders.example/orders"
TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"

# RFC 9449, figures 2 and 12, and the thumbprint of figure 9.
_HEAD = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0V"
    "jNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10Nn"
    "Y5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19."
)
AT_TOKEN_ENDPOINT = (
    f"{_HEAD}eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV"
    "4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwn"
    "Qg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)
AT_RESOURCE = (
    f"{_HEAD}eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5"
    "leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNT"
    "NFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6p"
    "xHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)
THUMBPRINT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


def proofs(at: float = NOW) -> Proofs:
    return Proofs(clock=lambda: at)


def test_the_rfcs_own_proofs_are_good() -> None:
    at_endpoint = proofs(1562262616).check(
        AT_TOKEN_ENDPOINT, "POST", "https://server.example.com/token"
    )
    assert (at_endpoint.jkt, at_endpoint.jti) == (THUMBPRINT, "-BwC3ESc6acc2lTc")
    at_resource = proofs(1562262618).check(
        AT_RESOURCE, "GET", "https://resource.example.org/protectedresource", TOKEN
    )
    assert (at_resource.jkt, at_resource.jti) == (THUMBPRINT, "e1j3V_bKic8-LAEB")
    assert at_resource.nonce is None and at_resource.until == 1562262618 + WINDOW


MAKERS: Mapping[str, Callable[[], Any]] = {
    "ES256": lambda: jwk.ECKey.generate_key("P-256"),
    "RS256": lambda: jwk.RSAKey.generate_key(RSA_BITS),
    "PS256": lambda: jwk.RSAKey.generate_key(RSA_BITS),
    "EdDSA": lambda: jwk.OKPKey.generate_key("Ed25519"),
}


# RFC 9864 gives EdDSA on Ed25519 another name, and the library says so.
OLD_NAME = pytest.mark.filterwarnings(f"ignore::{errors.__name__}.SecurityWarning")


@OLD_NAME
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_proofs_that_another_library_makes_are_good_and_their_thumbprints_ours(alg: str) -> None:
    key = MAKERS[alg]()
    header = {"typ": "dpop+jwt", "alg": alg, "jwk": key.as_dict(private=False)}
    ath = base64.urlsafe_b64encode(sha256(TOKEN.encode()).digest()).rstrip(b"=").decode()
    said = {"jti": "a", "htm": "GET", "htu": URL, "iat": int(NOW), "ath": ath, "nonce": "n"}
    proof = proofs().check(jwt.encode(header, said, key, [alg]), "GET", URL, TOKEN)
    assert (proof.jkt, proof.jti, proof.nonce) == (key.thumbprint(), "a", "n")


@OLD_NAME
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_our_proofs_are_good_to_another_library(alg: str) -> None:
    key = ProofKey(alg, clock=lambda: NOW)
    proof, public = key.proof("GET", URL, TOKEN), pyjwt.PyJWK(key.jwk, alg).key
    said = pyjwt.decode(proof, public, algorithms=[alg], options={"verify_iat": False})
    assert pyjwt.get_unverified_header(proof)["jwk"] == key.jwk and said["htu"] == URL
    assert jwk.import_key(dict(key.jwk)).thumbprint() == key.jkt
