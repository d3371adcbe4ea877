"""Each algorithm from the setting to a sibling's verification, by libraries that know nothing of
ours."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt as pyjwt
import pytest
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet

from identity.app import create_app
from identity.keys.material import prepare
from identity.keys.rotation import rotate
from tests.serving import running
from tests.world import World, claims_of


@pytest.fixture
def id_token_algorithms() -> str:
    """One line of keys."""
    return ""


ALGORITHMS = ["ES256", "RS256", "PS256", "EdDSA"]
pytestmark = [
    pytest.mark.first_start,
    pytest.mark.parametrize("dialect", ["sqlite"]),
    pytest.mark.parametrize("algorithm", ALGORITHMS),
    # RFC 9864 gives it another name, which few verifiers know yet.
    pytest.mark.filterwarnings("ignore:EdDSA is deprecated"),
]


@pytest.fixture
async def app(make_settings: Callable[..., Any], algorithm: str) -> AsyncIterator[Any]:
    app = create_app(make_settings(signing_algorithm=algorithm))
    async with running(app):
        yield app


def verified_by_others(token: str, jwks: dict[str, Any], algorithm: str, **expected: str) -> Any:
    """The claims, on which joserfc and PyJWT agree."""
    keys = KeySet.import_key_set(jwks)  # type: ignore[arg-type]
    ours = joserfc_jwt.decode(token, keys, algorithms=[algorithm])
    kid = pyjwt.get_unverified_header(token)["kid"]
    theirs = pyjwt.decode(
        token, pyjwt.PyJWKSet.from_dict(jwks)[kid], algorithms=[algorithm], **expected
    )
    assert ours.claims == theirs
    assert ours.header["alg"] == algorithm
    return ours


async def test_a_token_verifies_by_the_key_set_and_is_introspected(
    world: World, settings: Any, algorithm: str
) -> None:
    user = world.user()
    tokens = await world.log_in()
    jwks = (await world.api.get("/.well-known/jwks.json")).json()
    issuer = settings.issuer
    verified = verified_by_others(
        tokens["access_token"], jwks, algorithm, issuer=issuer, audience=issuer
    )
    assert verified.header["typ"] == "at+jwt"
    assert set(verified.header) == {"alg", "typ", "kid"}
    assert verified.claims["sub"] == user.id
    assert await world.active(tokens["access_token"])
    assert (await world.me(tokens["access_token"])).status_code == 200


async def test_the_key_set_publishes_no_private_part(
    world: World, settings: Any, algorithm: str
) -> None:
    [key] = (await world.api.get("/.well-known/jwks.json")).json()["keys"]
    public = {"ES256": {"crv", "x", "y"}, "EdDSA": {"crv", "x"}}.get(algorithm, {"n", "e"})
    assert set(key) == {"kty", "kid", "use", "alg"} | public
    assert (key["use"], key["alg"]) == ("sig", algorithm)
    if "n" in key:
        assert len(key["n"]) == 512  # 3072 bits


async def test_a_signed_introspection_answer_verifies_too(
    world: World, settings: Any, algorithm: str
) -> None:
    world.user()
    token = (await world.log_in())["access_token"]
    checker = world.client("checker", scopes=["introspect"])
    answer = await world.api.post(
        "/introspect",
        data={"token": token},
        headers={"accept": "application/token-introspection+jwt", **checker.basic},
    )
    assert answer.headers["content-type"] == "application/token-introspection+jwt"
    jwks = (await world.api.get("/.well-known/jwks.json")).json()
    signed = verified_by_others(
        answer.text, jwks, algorithm, issuer=settings.issuer, audience="checker"
    )
    assert signed.header["typ"] == "token-introspection+jwt"
    assert signed.claims["token_introspection"] == await world.introspect(token)
    assert set(signed.claims) == {"iss", "aud", "iat", "token_introspection"}


async def test_after_a_rotation_to_it_both_keys_tokens_are_good(
    world: World, settings: Any, algorithm: str
) -> None:
    world.user()
    before = (await world.log_in())["access_token"]
    with world.change() as session:
        material = prepare(algorithm, world.services.master)
        rotate(session, settings, material, now=True)
    after = (await world.log_in())["access_token"]
    kids = [pyjwt.get_unverified_header(token)["kid"] for token in (before, after)]
    assert kids[0] != kids[1]
    jwks = (await world.api.get("/.well-known/jwks.json")).json()
    for token in (before, after):
        assert await world.active(token)
        verified_by_others(token, jwks, algorithm, issuer=settings.issuer, audience=settings.issuer)
    assert claims_of(after)["jti"] != claims_of(before)["jti"]
