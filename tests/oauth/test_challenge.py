"""An app's own login form (draft-ietf-oauth-first-party-apps): a password for a code."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from identity.app import create_app
from identity.clock import frozen
from tests.browsing import Flow, code_client, verifier_and_challenge
from tests.holding import NO_PROOF, Holder
from tests.second_factors import with_app
from tests.serving import running
from tests.transport import served
from tests.world import PASSWORD, World, bearer, claims_of, granted, refused


@pytest.fixture
async def app(make_settings: Callable[..., Any]) -> AsyncIterator[Any]:
    app = create_app(make_settings(first_party_challenge=True, login_max_failures=3))
    async with running(app):
        yield app


@pytest.fixture
def flow(world: World) -> Flow:
    world.user("ada", email="ada@example.com", name="Ada")
    return Flow(world, code_client(world, "app", public=True, first_party=True))


async def challenge(
    flow: Flow, headers: dict[str, str] | None = None, **changed: str | None
) -> tuple[httpx.Response, str]:
    verifier, code_challenge = verifier_and_challenge()
    form: dict[str, str | None] = {
        "client_id": "app", "username": "ada", "password": PASSWORD, "scope": "openid email",
        "code_challenge": code_challenge, "code_challenge_method": "S256", **changed,
    }  # fmt: skip
    said = {name: value for name, value in form.items() if value is not None}
    answer = await flow.world.api.post("/authorize-challenge", data=said, headers=headers)
    return answer, verifier


async def redeem(flow: Flow, code: str, verifier: str, **form: str) -> httpx.Response:
    said = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier, **form}
    return await flow.world.token(flow.client, **said)


async def test_an_app_gets_a_code_for_a_password_and_tokens_for_the_code(flow: Flow) -> None:
    world = flow.world
    answer, verifier = await challenge(flow, nonce="n-1", scope="openid email offline_access")
    document = granted(answer)
    assert document.keys() == {"authorization_code"}
    assert answer.headers["cache-control"] == "no-store" and "set-cookie" not in answer.headers
    wrong, _ = verifier_and_challenge()
    code = document["authorization_code"]
    refused(await redeem(flow, code, wrong), 400, "invalid_grant")
    tokens = granted(await redeem(flow, code, verifier))
    assert tokens["scope"] == "openid email offline_access"
    told = claims_of(tokens["id_token"])
    assert (told["nonce"], told["amr"], told["acr"]) == ("n-1", ["pwd"], "aal1")
    about = await world.api.get("/userinfo", headers=bearer(tokens["access_token"]))
    assert about.json()["email"] == "ada@example.com"
    granted(await world.refresh(tokens["refresh_token"], flow.client))
    (login,) = [each for each in await world.events("login") if each.detail.get("by") == "app"]
    assert login.client_id == "app"
    form = {
        "username": "ada", "current_password": PASSWORD, "new_password": "another harbour 93",
    }  # fmt: skip
    answer, verifier = await challenge(flow)
    assert (await world.api.post("/password", json=form)).status_code == 204
    code = granted(answer)["authorization_code"]
    refused(await redeem(flow, code, verifier), 400, "invalid_grant")


async def test_who_does_not_prove_themselves_gets_none_at_one_speed_and_is_slowed(
    flow: Flow,
) -> None:
    for changed in ({"password": "wrong"}, {"username": "nobody"}):
        answer, _ = await challenge(flow, **changed)
        words = refused(answer, 400, "insufficient_authorization")
        assert words == "the username or password is wrong"
    for missing in ("username", "password"):
        answer, _ = await challenge(flow, **{missing: None})
        refused(answer, 400, "insufficient_authorization")
    for _ in range(2):
        await challenge(flow, password="wrong")
    answer, _ = await challenge(flow)
    refused(answer, 429, "temporarily_unavailable")
    with frozen() as clock:
        clock.tick(301)
        granted((await challenge(flow))[0])


async def test_it_is_for_our_own_clients_with_proof_of_possession_of_the_code(
    flow: Flow,
) -> None:
    world = flow.world
    for changed in (
        {"code_challenge": None}, {"code_challenge": "short"}, {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
    ):  # fmt: skip
        answer, _ = await challenge(flow, **changed)
        refused(answer, 400, "invalid_request")
    answer, _ = await challenge(flow, scope="no:such")
    refused(answer, 400, "invalid_scope")
    answer, _ = await challenge(flow, resource="https://elsewhere.example/")
    refused(answer, 400, "invalid_target")
    answer, _ = await challenge(flow, acr_values="phr")
    refused(answer, 400, "redirect_to_web")
    code_client(world, "third", public=True)
    answer, _ = await challenge(flow, client_id="third")
    refused(answer, 400, "unauthorized_client")
    world.change_client("app", grants=["refresh_token"])
    answer, _ = await challenge(flow)
    refused(answer, 400, "unauthorized_client")
    answer, _ = await challenge(flow, client_id="nobody")
    refused(answer, 401, "invalid_client")
    answer, _ = await challenge(flow, client_id=None)
    refused(answer, 400, "unauthorized_client")


async def test_who_must_choose_a_password_does_so_in_a_browser(flow: Flow) -> None:
    flow.world.user("bob", must_change_password=True)
    answer, _ = await challenge(flow, username="bob")
    refused(answer, 400, "redirect_to_web")


async def test_the_metadata_names_it_where_it_is_on_and_else_nobody_may(
    flow: Flow, make_settings: Callable[..., Any]
) -> None:
    metadata = "/.well-known/oauth-authorization-server"
    issuer = flow.world.services.settings.issuer
    document = (await flow.world.api.get(metadata)).json()
    assert document["authorization_challenge_endpoint"] == f"{issuer}/authorize-challenge"
    off = create_app(make_settings())
    async with (
        running(off),
        httpx.AsyncClient(transport=served(off), base_url=issuer) as api,
    ):
        assert "authorization_challenge_endpoint" not in (await api.get(metadata)).json()
        answer, _ = await challenge(Flow(World(off, api), flow.client))
        refused(answer, 400, "unauthorized_client")


async def test_whoever_has_a_second_factor_gives_its_code_along(flow: Flow) -> None:
    _, app = with_app(flow.world, "bob")
    answer, _ = await challenge(flow, username="bob")
    assert answer.status_code == 400
    document = answer.json()
    assert document["error"] == "insufficient_authorization"
    assert document["factors"] == ["totp", "recovery_code"]
    answer, _ = await challenge(flow, username="bob", otp=app.wrong())
    refused(answer, 400, "insufficient_authorization")
    code = app.code()
    answer, verifier = await challenge(flow, username="bob", otp=code, acr_values="aal2")
    tokens = granted(await redeem(flow, granted(answer)["authorization_code"], verifier))
    told = claims_of(tokens["id_token"])
    assert (told["amr"], told["acr"]) == (["pwd", "otp", "mfa"], "aal2")
    answer, _ = await challenge(flow, username="bob", otp=code)  # once
    refused(answer, 400, "insufficient_authorization")


async def test_the_code_is_for_the_key_that_the_app_proves_or_names(flow: Flow) -> None:
    """RFC 9449 §10, §10.1: as at `/authorize` and `/par`."""
    app, thief = Holder(flow.world, flow.client), Holder(flow.world, flow.client)
    address = app.address("/authorize-challenge")
    refused((await challenge(flow, dpop_jkt="short"))[0], 400, "invalid_request")
    named, proven = {"dpop_jkt": app.key.jkt}, {"dpop": app.key.proof("POST", address)}
    other = {"dpop": thief.key.proof("POST", address)}
    refused((await challenge(flow, other, **named))[0], *NO_PROOF)
    elsewhere = {"dpop": app.key.proof("POST", app.token_endpoint)}
    refused((await challenge(flow, elsewhere))[0], *NO_PROOF)
    for answer, verifier in (await challenge(flow, **named), await challenge(flow, proven)):
        code = granted(answer)["authorization_code"]
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
        refused(await redeem(flow, code, verifier), 400, "invalid_grant")
        refused(await thief.token(**form), 400, "invalid_grant")
        assert granted(await app.token(**form))["token_type"] == "DPoP"
    refused((await challenge(flow, proven))[0], *NO_PROOF)  # once
