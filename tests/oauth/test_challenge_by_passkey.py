"""An app's own login form, with a passkey alone or beside the password."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.authenticators import Authenticator, with_passkey
from tests.browsing import Flow, code_client, verifier_and_challenge
from tests.world import PASSWORD, World, claims_of, granted, refused


@pytest.fixture
def settings(make_settings: Callable[..., Any]) -> Any:
    return make_settings(issuer="http://localhost:8000", first_party_challenge=True)


@pytest.fixture
def flow(world: World) -> Flow:
    code_client(world, "other", public=True, first_party=True)
    return Flow(world, code_client(world, "app", public=True, first_party=True))


async def challenge(flow: Flow, **said: str) -> tuple[httpx.Response, str]:
    verifier, code_challenge = verifier_and_challenge()
    form = {
        "client_id": "app", "scope": "openid", "code_challenge": code_challenge,
        "code_challenge_method": "S256", **said,
    }  # fmt: skip
    return await flow.world.api.post("/authorize-challenge", data=form), verifier


async def asked(flow: Flow, **said: str) -> dict[str, Any]:
    answer, _ = await challenge(flow, **said)
    document = answer.json()
    assert (answer.status_code, document["error"]) == (400, "insufficient_authorization")
    options: dict[str, Any] = document["passkey_options"]
    return options


def answered(key: Authenticator, options: dict[str, Any], **lies: Any) -> str:
    return json.dumps(key.sign(options, **lies))


async def told(flow: Flow, answer: httpx.Response, verifier: str) -> Any:
    tokens = await flow.world.token(
        flow.client, grant_type="authorization_code", code_verifier=verifier,
        code=granted(answer)["authorization_code"],
    )  # fmt: skip
    return claims_of(granted(tokens)["id_token"])


async def test_a_passkey_alone_ends_in_a_code(flow: Flow) -> None:
    user, key = await with_passkey(flow.world)
    credential = answered(key, await asked(flow))
    answer, verifier = await challenge(flow, passkey=credential, acr_values="phr")
    claims = await told(flow, answer, verifier)
    assert (claims["sub"], claims["acr"]) == (user.id, "phr")
    assert claims["amr"] == ["swk", "user", "mfa"]
    answer, _ = await challenge(flow, passkey=credential)  # once
    refused(answer, 400, "insufficient_authorization")


async def test_beside_a_password_it_is_the_second_factor(flow: Flow) -> None:
    _, key = await with_passkey(flow.world)
    _, hers = await with_passkey(flow.world, "eve")
    who = {"username": "ada", "password": PASSWORD}
    options = await asked(flow, **who)
    assert len(options["allowCredentials"]) == 1
    answer, _ = await challenge(flow, **who, passkey=answered(hers, options))
    refused(answer, 400, "insufficient_authorization")
    answer, _ = await challenge(
        flow, username="ada", password="wrong but long", passkey=answered(key, options)
    )
    refused(answer, 400, "insufficient_authorization")
    answer, verifier = await challenge(flow, **who, passkey=answered(key, options))
    assert (await told(flow, answer, verifier))["amr"] == ["pwd", "swk", "user", "mfa"]


async def test_only_a_right_answer_to_this_clients_challenge_will_do(flow: Flow) -> None:
    _, key = await with_passkey(flow.world)
    theirs = await asked(flow, client_id="other")
    for credential in (
        answered(key, theirs),
        answered(key, await asked(flow), origin="http://evil.example"),
        answered(key, await asked(flow), flags=1),
        "{}", "null",
    ):  # fmt: skip
        answer, _ = await challenge(flow, passkey=credential)
        refused(answer, 400, "insufficient_authorization")
    events = await flow.world.events("login")
    assert events and all(event.outcome == "refused" for event in events)
