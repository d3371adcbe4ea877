"""Two libraries that know nothing of our gate, set as leniently as a careful service may set them:
PyJWT and joserfc. Each answers whether it would take a token at a given time."""

from __future__ import annotations

import json
import warnings
from datetime import datetime, tzinfo
from typing import Any
from unittest import mock

import jwt as pyjwt
from joserfc import jwt as joserfc_jwt
from joserfc.errors import JoseError
from joserfc.jwk import import_key
from joserfc.jws import JWSRegistry

from identity.verifier.gate.algorithms import ALGORITHMS
from tests.verifier.sample import AUDIENCE, ISSUER, NOW, kid_of, private_key

REQUIRED = ["iss", "aud", "exp", "iat", "sub", "jti", "client_id"]
JWKS = {
    kid_of(alg): algorithm.jwk(private_key(alg).public_key(), kid_of(alg))
    for alg, algorithm in ALGORITHMS.items()
}


class _Standing(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.fromtimestamp(NOW, tz)


_PYJWT_KEYS = {kid: pyjwt.PyJWK(jwk) for kid, jwk in JWKS.items()}


def pyjwt_accepts(token: str | bytes) -> bool:
    try:
        kid = pyjwt.get_unverified_header(token).get("kid")
        with mock.patch("jwt.api_jwt.datetime", _Standing):
            pyjwt.decode(
                token,
                _PYJWT_KEYS[kid],
                algorithms=list(ALGORITHMS),
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": REQUIRED},
            )
    except (pyjwt.PyJWTError, KeyError, TypeError):
        return False
    except (ValueError, RecursionError):  # it lets these slip: digits, surrogates, nesting
        return False
    return True


class _Roomy(JWSRegistry):
    max_header_length = 1 << 20
    max_payload_length = 1 << 20


_JOSERFC_KEYS = {kid: import_key(dict(jwk)) for kid, jwk in JWKS.items()}
_REGISTRY = _Roomy(algorithms=list(ALGORITHMS), strict_check_header=False)
_CLAIMS = joserfc_jwt.JWTClaimsRegistry(
    now=NOW,
    iss={"essential": True, "value": ISSUER},
    aud={"essential": True, "value": AUDIENCE},
    **{name: {"essential": True} for name in REQUIRED[2:]},
)


def joserfc_accepts(token: str | bytes) -> bool:
    def find(obj: Any) -> Any:
        return _JOSERFC_KEYS[obj.headers()["kid"]]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it calls the name EdDSA deprecated
            decoded = joserfc_jwt.decode(token, find, registry=_REGISTRY)
        _CLAIMS.validate(decoded.claims)
    except (JoseError, KeyError, TypeError):
        return False
    except (ValueError, RecursionError):
        return False
    return True


def lenient(token: str | bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims as a lax reader sees them, to check an explanation against."""
    text = token.decode("ascii", "ignore") if isinstance(token, bytes) else token
    header, payload = text.split(".")[:2]
    return _read(header), _read(payload)


def _read(segment: str) -> dict[str, Any]:
    octets = pyjwt.utils.base64url_decode(segment)
    value: dict[str, Any] = json.loads(octets)
    return value
