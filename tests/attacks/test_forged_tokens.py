"""Every forged token we know of, sent over HTTP: none is alive anywhere, and none is a 5xx."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from identity.verifier.gate import algorithms as gate_algorithms
from tests.proofs import effort
from tests.verifier.forge import attacks, malleated, unprintable_attacks
from tests.verifier.forger import Attack, Forger
from tests.world import FORM, World, bearer, claims_of

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])
ALGORITHMS = pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256", "EdDSA"])


@pytest.fixture
def settings(
    make_settings: Callable[..., Any], request: pytest.FixtureRequest, monkeypatch: Any
) -> Any:
    """Its RSA keys are as short as may be: hundreds of tokens are signed with each."""
    monkeypatch.setattr(gate_algorithms, "RSA_BITS", 2048)
    spec = getattr(request.node, "callspec", None)
    algorithm = spec.params.get("algorithm", "ES256") if spec else "ES256"
    return make_settings(signing_algorithm=algorithm)


def corpus(forger: Forger) -> list[Attack]:
    made = attacks(forger.private_key, forger.kid, forger.alg, forger.claims)
    assert len(made) > 350
    return made


def sent(attacks: list[Attack], algorithm: str) -> list[Attack]:
    """Of what is no ES256 a part: the gate itself is tried on all of them elsewhere."""
    return attacks if algorithm == "ES256" else attacks[:: effort(4, 1)]


def unprintable(forger: Forger) -> list[Attack]:
    return unprintable_attacks(forger.private_key, forger.kid, forger.alg, forger.claims)


@ALGORITHMS
@SQLITE
@pytest.mark.proof
@pytest.mark.first_start
async def test_introspection_says_of_every_forged_token_only_that_it_is_inactive(
    world: World, forger: Forger, algorithm: str
) -> None:
    assert forger.alg == algorithm
    checker = world.client("checker", scopes=["introspect"])
    genuine = forger.token()
    for name, token in [*sent(corpus(forger), algorithm), *unprintable(forger)]:
        octets = token.encode("utf-8", "surrogatepass")
        answer = await world.api.post(
            "/introspect",
            content=b"token=" + quote_from_bytes(octets, safe="").encode(),
            headers={"content-type": FORM, **checker.basic},
        )
        if not token or "\0" in token:  # refused before there is a token to look at
            assert answer.json()["error"] == "invalid_request", name
            continue
        assert answer.status_code == 200, (name, answer.text)
        assert answer.json() == {"active": False}, (name, answer.text)
    assert await world.active(genuine)  # the forger does know how to make a good one


@ALGORITHMS
@SQLITE
@pytest.mark.proof
@pytest.mark.first_start
async def test_no_forged_token_is_a_bearer_token(
    world: World, forger: Forger, algorithm: str
) -> None:
    assert forger.alg == algorithm
    for name, token in sent(corpus(forger), algorithm):
        answer = await world.api.get("/users/me", headers=bearer(token))
        assert answer.status_code == 401, (name, answer.text)
        assert 'error="invalid_token"' in answer.headers["www-authenticate"], name
        assert answer.headers["content-type"] == "application/problem+json"
        # What exactly was wrong is not for whoever forged it.
        assert answer.json()["detail"] == "the token is expired, revoked or malformed", name
    for name, token in unprintable(forger):
        raw = b"Bearer " + token.encode("utf-8", "surrogatepass")
        answer = await world.api.get("/users/me", headers=[(b"authorization", raw)])
        # Around the token HTTP allows white space (RFC 9110 §5.5); it is not part of it.
        trimmed = token.strip(" \t\r\n").count(".") == 2 and token.strip(" \t\r\n") != token
        assert answer.status_code == 401 or (trimmed and answer.status_code == 200), name
    assert (await world.me(forger.token())).status_code == 200


@SQLITE
async def test_no_forged_token_can_be_revoked_or_refreshed_to_any_effect(
    world: World, forger: Forger
) -> None:
    genuine = forger.token()
    for name, token in corpus(forger)[::5]:
        assert (await world.revoke(token)).status_code in (200, 400), name
        answer = await world.refresh(token)
        assert answer.status_code == 400, name
    assert await world.active(genuine)


@SQLITE
async def test_the_first_lane_and_fastapi_refuse_alike(world: World, forger: Forger) -> None:
    for name, token in corpus(forger)[::7]:
        answers = [
            await world.api.get("/users/me", headers=bearer(token)),
            await world.api.get("/users/me/sessions", headers=bearer(token)),
            await world.api.get("/users", headers=bearer(token)),
            await world.api.post("/introspect", data={"token": "x"}, headers=bearer(token)),
        ]
        assert [answer.status_code for answer in answers] == [401] * 4, name


@SQLITE
async def test_a_second_spelling_of_a_signature_is_revoked_with_the_first(
    world: World, forger: Forger
) -> None:
    """One ES256 signature has two spellings, so a denylist by text would miss one."""
    token = (await world.log_in())["access_token"]
    other = malleated(token)
    assert other != token
    assert await world.active(other)
    assert (await world.revoke(token)).status_code == 200
    assert not await world.active(other)
    assert not await world.active(token)


@SQLITE
async def test_our_other_signed_documents_are_no_access_tokens(world: World) -> None:
    world.user()
    token = (await world.log_in())["access_token"]
    checker = world.client("checker", scopes=["introspect"])
    answer = await world.api.post(
        "/introspect",
        data={"token": token},
        headers={"accept": "application/token-introspection+jwt", **checker.basic},
    )
    assert not await world.active(answer.text)
    assert (await world.me(answer.text)).status_code == 401


@SQLITE
async def test_a_refresh_token_is_no_bearer_token_and_an_access_token_no_refresh_token(
    world: World,
) -> None:
    world.user()
    tokens = await world.log_in()
    assert (await world.me(tokens["refresh_token"])).status_code == 401
    assert (await world.refresh(tokens["access_token"])).status_code == 400


@SQLITE
async def test_a_token_of_another_issuer_with_the_same_key_is_refused(
    world: World, forger: Forger
) -> None:
    stranger = forger.with_claims(iss="http://127.0.0.1:8001")
    assert not await world.active(stranger)


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
async def test_what_a_stolen_key_signs_hangs_on_what_the_database_holds(
    world: World, forger: Forger
) -> None:
    assert await world.active(forger.token())
    neighbour = forger.with_claims(sub=world.user("neighbour").id)
    assert not await world.active(neighbour)  # the session is not theirs
    assert (await world.me(neighbour)).status_code == 401
    for name in ("sub", "sid", "client_id", "jti"):
        for value in ("01990000-0000-7000-8000-000000000000", "\U0001f511", "x" * 3000, "a\0b"):
            if name == "jti" and "\0" not in value:
                continue  # any other is as good as what we might have minted
            token = forger.with_claims(**{name: value})
            assert await world.introspect(token) == {"active": False}, (name, value)
            assert (await world.me(token)).status_code == 401, (name, value)


@SQLITE
async def test_nothing_is_sent_twice_to_be_understood_differently(world: World) -> None:
    """Two Authorization headers, or a token in query and header: one reading, or none."""
    world.user()
    token = (await world.log_in())["access_token"]
    header = ("authorization", f"Bearer {token}")
    for path in ("/users/me", "/users/me/sessions"):
        answer = await world.api.get(path, headers=[header, header])
        assert answer.status_code in (400, 401), path
        answer = await world.api.get(f"{path}?access_token={token}")
        assert answer.status_code == 401, path


NO_BEARER_TOKENS = [
    b"",
    b"Bearer",
    b"Bearer ",
    b"bearer\t",
    b"Bearer \xff\xfe",
    b"Bearer a b c",
    b"Bearer " + b"." * 8000,
    b"Token abc",
    b"Basic YWRhOnB3",
    b"\xe2\x80\x8bBearer abc",
]


@SQLITE
async def test_an_authorization_header_that_is_no_bearer_token_is_401(world: World) -> None:
    for header in NO_BEARER_TOKENS:
        for path in ("/users/me", "/users", "/users/me/sessions"):
            answer = await world.api.get(path, headers=[(b"authorization", header)])
            assert answer.status_code == 401, (header, path)
            assert answer.headers["www-authenticate"].startswith("Bearer realm=")


@SQLITE
async def test_whether_a_token_says_admin_makes_no_difference(world: World, forger: Forger) -> None:
    """Roles and scopes are the database's to say, whatever a signed token claims."""
    user = world.user("eve")
    tokens = await world.log_in("eve")
    claims = dict(claims_of(tokens["access_token"]))
    eve = Forger(forger.private_key, forger.kid, forger.alg, claims)
    raised = eve.with_claims(roles=["admin"], scope="users:read keys:write", username="ada")
    described = await world.introspect(raised)
    assert (described["scope"], described["roles"], described["username"]) == ("", [], "eve")
    assert described["sub"] == user.id
    answer = await world.api.get("/users", headers=bearer(raised))
    assert answer.status_code == 403
