"""Every kind of JWT that this service signs or takes, in the place of every other kind, over HTTP;
and every kind that a client signs itself, made of what a proof of DPoP is made of."""

from typing import Any

import httpx
import pytest

from tests.browsing import Browser, Flow, code_client
from tests.holding import Holder
from tests.world import PASSWORD, World, bearer, claims_of, granted

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])

Kinds = dict[str, str]


@pytest.fixture
async def flow(world: World) -> Flow:
    world.user("ada", email="ada@example.com", name="Ada")
    client = code_client(world, first_party=True, userinfo_signed_response_alg="ES256")
    return Flow(world, client)


@pytest.fixture
async def kinds(world: World, flow: Flow) -> Kinds:
    """One good one of each, of one user and client."""
    holder, browser = Holder(world, flow.client), Browser(world.api)
    tokens = await flow.tokens(browser)
    code, verifier = await flow.signed_in(browser)
    form = {"code": code, "code_verifier": verifier, "redirect_uri": flow.redirect_uri}
    bound = granted(await holder.token(grant_type="authorization_code", **form))
    checker = world.client("checker", scopes=["introspect"])
    asked = {"accept": "application/token-introspection+jwt", **checker.basic}
    introspected = await world.api.post(
        "/introspect", data={"token": tokens["access_token"]}, headers=asked
    )
    about = await world.api.get("/userinfo", headers=bearer(tokens["access_token"]))
    place = claims_of(tokens["access_token"])["status"]["status_list"]["uri"]
    listed = await world.api.get(place)
    return {
        "access token": tokens["access_token"],
        "bound access token": bound["access_token"],
        "ID token": tokens["id_token"],
        "introspection": introspected.text,
        "userinfo": about.text,
        "status list": listed.text,
        "proof": holder.key.proof("GET", holder.address("/users/me"), bound["access_token"]),
        "proof at /token": holder.key.proof("POST", holder.token_endpoint),
    }


def others(kinds: Kinds, *but: str) -> list[tuple[str, str]]:
    assert all(token.count(".") == 2 for token in kinds.values()), kinds
    return [(kind, token) for kind, token in kinds.items() if kind not in but]


async def test_nothing_else_is_a_bearer_token(world: World, kinds: Kinds) -> None:
    for kind, token in others(kinds, "access token"):
        for path in ("/users/me", "/users/me/sessions", "/userinfo", "/forward-auth"):
            answer = await world.api.get(path, headers=bearer(token))
            assert answer.status_code == 401, (kind, path)
    assert (await world.api.get("/userinfo", headers=bearer(kinds["access token"]))).is_success


async def test_nothing_else_is_alive(world: World, kinds: Kinds) -> None:
    for kind, token in others(kinds, "access token", "bound access token"):
        assert not await world.active(token), kind
    for kind in ("access token", "bound access token"):
        assert await world.active(kinds[kind])


async def test_nothing_else_is_a_token_of_the_scheme_dpop(world: World, kinds: Kinds) -> None:
    holder = Holder(world)
    for kind, token in kinds.items():  # nobody's key but the bound one's, which is not ours
        answer = await holder.ask("/users/me", token)
        assert answer.status_code == 401, kind


async def test_nothing_else_is_a_proof(world: World, kinds: Kinds) -> None:
    login = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    for kind, token in others(kinds, "proof at /token"):
        answer = await world.api.post("/token", data=login, headers={"dpop": token})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof"), kind
    sent = {"authorization": f"DPoP {kinds['bound access token']}"}
    for kind, token in others(kinds, "proof"):
        answer = await world.api.get("/userinfo", headers={**sent, "dpop": token})
        assert answer.status_code == 401, kind
    answer = await world.api.post("/token", data=login, headers={"dpop": kinds["proof at /token"]})
    assert answer.json()["token_type"] == "DPoP"


async def test_nothing_else_is_a_hint(world: World, flow: Flow, kinds: Kinds) -> None:
    for kind, token in others(kinds, "ID token"):
        page, _ = await flow.start(Browser(world.api), id_token_hint=token, prompt="none")
        assert page.sent_to["error"] == "invalid_request", kind
    page, _ = await flow.start(Browser(world.api), id_token_hint=kinds["ID token"], prompt="none")
    assert page.sent_to["error"] == "login_required"


async def test_nothing_else_is_a_refresh_token_or_a_code(
    world: World, flow: Flow, kinds: Kinds
) -> None:
    for kind, token in kinds.items():
        assert (await world.refresh(token, flow.client)).status_code == 400, kind
        assert (await flow.redeem(token, "v" * 43)).status_code == 400, kind


OF_OURS = ("at+jwt", "JWT", "token-introspection+jwt", "statuslist+jwt", "logout+jwt")


@pytest.mark.parametrize("typ", OF_OURS)
async def test_what_a_client_signs_is_never_ours_nor_ours_a_clients(
    world: World, kinds: Kinds, typ: str
) -> None:
    """With its key in the header, under each of our names, saying what ours say."""
    holder = Holder(world)
    header: dict[str, Any] = {"typ": typ, "alg": "ES256", "jwk": holder.key.jwk}
    said = dict(claims_of(kinds["access token"]))
    for more in ({}, {"kid": holder.key.jkt}):
        forged = holder.key.sign({**header, **more}, said)
        assert not await world.active(forged)
        answers: list[httpx.Response] = [
            await world.api.get("/users/me", headers=bearer(forged)),
            await holder.ask("/users/me", forged),
        ]
        assert [answer.status_code for answer in answers] == [401, 401]
    proof = holder.key.proof("POST", holder.token_endpoint, header={"typ": typ})
    answer = await holder.token(proof, grant_type="password", username="ada", password=PASSWORD)
    assert answer.json()["error"] == "invalid_dpop_proof"
