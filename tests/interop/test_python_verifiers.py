"""Libraries that siblings may use already, as their own documentation shows them: they take what
the real service issues, by every algorithm that they know, and nothing that is broken."""

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import jwt as pyjwt
import pytest
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2 import ResourceProtector
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from jose import JWTError
from jose import jwt as python_jose
from joserfc import jwt as joserfc
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tests.interop.conftest import Issued

Claims = dict[str, Any]
REFUSALS = (pyjwt.PyJWTError, JoseError, AuthlibBaseError, JWTError)
NEEDED = ["iss", "aud", "exp", "sub", "client_id", "iat", "jti"]  # RFC 9068 §2.2


def key_set(issued: Issued) -> Any:
    return httpx.get(issued.jwks_uri, trust_env=False).json()


def by_pyjwt(issued: Issued) -> Callable[[str], Claims]:
    """PyJWT, "Retrieve RSA signing keys from a JWKS endpoint"."""
    client = pyjwt.PyJWKClient(issued.jwks_uri)

    def verify(token: str) -> Claims:
        claims: Claims = pyjwt.decode(
            token,
            client.get_signing_key_from_jwt(token),
            algorithms=[issued.alg],
            audience=issued.audience,
            issuer=issued.issuer,
            options={"require": NEEDED},
        )
        return claims

    return verify


def by_joserfc(issued: Issued) -> Callable[[str], Claims]:
    keys = KeySet.import_key_set(key_set(issued))
    registry = joserfc.JWTClaimsRegistry(
        iss={"essential": True, "value": issued.issuer},
        aud={"essential": True, "value": issued.audience},
        **{name: {"essential": True} for name in NEEDED[2:]},
    )

    def verify(token: str) -> Claims:
        decoded = joserfc.decode(token, keys, algorithms=[issued.alg])
        registry.validate(decoded.claims)
        return decoded.claims

    return verify


def by_authlib(issued: Issued) -> Callable[[str], Claims]:
    """Its RFC 9068 validator in its resource protector, which also looks for the scope."""

    keys = KeySet.import_key_set(key_set(issued))

    class Validator(JWTBearerTokenValidator):  # type: ignore[misc]
        def get_jwks(self) -> Any:
            return keys

    require = ResourceProtector()
    require.register_token_validator(Validator(issued.issuer, issued.audience))

    def verify(token: str) -> Claims:
        request = SimpleNamespace(headers={"Authorization": f"Bearer {token}"})
        return dict(require.validate_request(["orders:read"], request))

    return verify


def by_python_jose(issued: Issued) -> Callable[[str], Claims]:
    """As FastAPI's tutorial called it for years, with the key that `kid` names."""
    keys = {key["kid"]: key for key in key_set(issued)["keys"]}

    def verify(token: str) -> Claims:
        key = keys.get(python_jose.get_unverified_header(token).get("kid"))
        if key is None:
            raise JWTError("no such key")
        claims: Claims = python_jose.decode(
            token,
            key,
            algorithms=[issued.alg],
            audience=issued.audience,
            issuer=issued.issuer,
            options={f"require_{name}": True for name in ("iss", "aud", "exp", "iat", "sub")},
        )
        return claims

    return verify


VERIFIERS = {
    by_pyjwt: ["ES256", "RS256", "PS256", "EdDSA"],
    by_joserfc: ["ES256", "RS256", "PS256", "EdDSA"],
    by_authlib: ["ES256", "RS256"],
    by_python_jose: ["ES256", "RS256"],
}
"""Which algorithms each of them knows as it comes."""


@pytest.mark.parametrize(
    ("verifier", "alg"),
    [
        pytest.param(verifier, alg, id=f"{verifier.__name__}-{alg}")
        for verifier, algorithms in VERIFIERS.items()
        for alg in algorithms
    ],
)
def test_it_takes_what_we_issue_and_nothing_that_is_broken(
    issued: dict[str, Issued], verifier: Callable[[Issued], Callable[[str], Claims]], alg: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that will be deprecated
        verify = verifier(issued[alg])
        claims = verify(issued[alg].good)
        assert claims["username"] == "ada"
        assert claims["scope"].split() == ["orders:read", "orders:write"]
        taken = []
        for name, token in issued[alg].broken:
            try:
                verify(token)
            except REFUSALS:
                continue
            except Exception as problem:
                taken.append(f"{name}: {problem!r}")
            else:
                taken.append(name)
    assert not taken
    assert len(issued[alg].broken) > 50
