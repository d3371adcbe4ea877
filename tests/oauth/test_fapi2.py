"""What the profile `fapi2` does beside the settings that it implies (FAPI 2.0 Security Profile)."""

from sqlmodel import select

from identity.authentication.assertions import ASSERTION_TYPE
from identity.clock import frozen
from identity.opaque import digest
from identity.store.table import Change
from identity.tokens.sessions import lifecycle
from identity.tokens.sessions.table import RefreshToken
from identity.tokens.status.table import RevokedPlace
from tests import acting
from tests.acting import pointers
from tests.browsing import CALLBACK, Browser, Flow, code_client
from tests.holding import Holder
from tests.pushing import come, push, pushed
from tests.signing import Signer
from tests.signing import said as assertion
from tests.world import Caller, World, claims_of, granted, refused


def bank(world: World) -> Flow:
    """Its refresh tokens and its pushes alone are looked at: it has a secret, and no key."""
    world.user()
    settings = {"profile": "fapi2", "require_pushed_authorization_requests": True}
    return Flow(world, code_client(world, **settings, first_party=True))


async def tokens(flow: Flow) -> dict[str, str]:
    browser = Browser(flow.world.api)
    request_uri, verifier = await pushed(flow)
    page = await browser.sign_in(await come(browser, flow, request_uri))
    return granted(await flow.redeem(page.sent_to["code"], verifier))


async def test_refresh_tokens_are_not_rotated_and_end_with_their_session(world: World) -> None:
    flow = bank(world)
    first = await tokens(flow)
    issued = [first["access_token"]]
    for _ in range(3):
        again = granted(await world.refresh(first["refresh_token"], flow.client))
        assert again["refresh_token"] == first["refresh_token"]
        issued.append(again["access_token"])
    assert len(set(issued)) == 4
    assert [await world.active(token) for token in issued] == [True] * 4
    await world.revoke(first["refresh_token"], flow.client)
    assert [await world.active(token) for token in issued] == [False] * 4
    refused(await world.refresh(first["refresh_token"], flow.client), 400, "invalid_grant")
    with world.change() as session:
        places = session.exec(select(RevokedPlace.place)).all()
    assert len(set(places)) == 4  # each token's place in the status lists


async def test_the_end_of_a_session_is_told_as_long_as_its_last_access_token_could_live(
    world: World,
) -> None:
    flow = bank(world)
    with frozen() as clock:
        first = await tokens(flow)
        sid, user_id = (claims_of(first["access_token"])[name] for name in ("sid", "sub"))
        clock.tick(600)
        last = granted(await world.refresh(first["refresh_token"], flow.client))
        clock.tick(600)
        assert await world.active(last["access_token"])
        with world.change() as session:
            lifecycle.end_all(session, "by an administrator", user_id=user_id)
        assert not await world.active(last["access_token"])
    with world.change() as session:
        told = session.exec(select(Change.ref).where(Change.kind == "session.ended")).all()
    assert told == [sid]


async def test_one_that_lay_unused_too_long_is_dead(world: World) -> None:
    flow = bank(world)
    first = await tokens(flow)
    with world.change() as session:
        stored = session.get_one(RefreshToken, digest(first["refresh_token"]))
        stored.expires_at = stored.issued_at
        session.add(stored)
    refused(await world.refresh(first["refresh_token"], flow.client), 400, "invalid_grant")


async def test_a_client_of_the_profile_from_its_registration_to_a_refresh(world: World) -> None:
    world.user()
    signer, holder, browser = Signer(), Holder(world), Browser(world.api)
    issuer, boss = world.services.settings.issuer, await acting.admin(world)
    said = {
        "id": "bank", "name": "Bank", "profile": "fapi2", "jwks": signer.jwks,
        "token_endpoint_auth_method": "private_key_jwt", "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"], "scopes": ["*"],
        "first_party": True,
    }  # fmt: skip
    made = await boss.done("POST", "/clients", said)
    assert made["require_pushed_authorization_requests"] and made["dpop_bound_access_tokens"]
    flow = Flow(world, Caller("bank", None))

    def proven(form: dict[str, str]) -> dict[str, str]:
        proof = signer.sign(assertion("bank", issuer))
        return form | {"client_assertion": proof, "client_assertion_type": ASSERTION_TYPE}

    parameters, verifier = flow.parameters()
    proof = {"dpop": holder.key.proof("POST", holder.address("/par"))}
    answer = await world.api.post("/par", data=proven(parameters), headers=proof)
    assert answer.status_code == 201, answer.text
    refused(await world.api.post("/par", data=proven(parameters), headers=proof), 400,
            "invalid_dpop_proof")  # fmt: skip
    page = await browser.sign_in(await come(browser, flow, answer.json()["request_uri"]))
    form = {
        "grant_type": "authorization_code", "code": page.sent_to["code"],
        "redirect_uri": CALLBACK, "code_verifier": verifier,
    }  # fmt: skip
    thief = Holder(world)
    assert "proof" in refused(await thief.token(**proven(form)), 400, "invalid_grant")
    refused(await holder.token("", **proven(form)), 400, "invalid_dpop_proof")
    got = granted(await holder.token(**proven(form)))
    assert got["token_type"] == "DPoP" and claims_of(got["access_token"])["cnf"]
    form = {"grant_type": "refresh_token", "refresh_token": got["refresh_token"]}
    refused(await holder.token("", **proven(form)), 400, "invalid_dpop_proof")
    refused(await holder.token(**form, client_id="bank"), 401, "invalid_client")
    for _ in range(2):
        again = granted(await holder.token(**proven(form)))
        assert again["refresh_token"] == got["refresh_token"]


async def test_a_push_is_for_the_key_that_it_proves_or_names(world: World) -> None:
    flow, holder = bank(world), Holder(world)
    parameters, _ = flow.parameters(dpop_jkt=Holder(world).key.jkt)
    proof = {"dpop": holder.key.proof("POST", holder.address("/par"))}
    form = parameters | flow.client.post
    refused(await world.api.post("/par", data=form, headers=proof), 400, "invalid_dpop_proof")
    form["dpop_jkt"] = holder.key.jkt
    assert (await world.api.post("/par", data=form, headers=proof)).status_code == 201


async def test_nothing_weakens_it(world: World) -> None:
    boss = await acting.admin(world)
    strong = {
        "name": "Bank", "profile": "fapi2", "jwks": Signer().jwks,
        "token_endpoint_auth_method": "private_key_jwt", "redirect_uris": [CALLBACK],
    }  # fmt: skip
    for weak in (
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"require_pushed_authorization_requests": False},
        {"dpop_bound_access_tokens": False},
        {"assertion_audience": "token_endpoint"},
        {"request_object_signing_alg": "RS256"},
        {"token_endpoint_auth_signing_alg": "RS256"},
    ):
        answer = await boss("POST", "/clients", strong | weak)
        assert pointers(answer) == {f"/{name}" for name in weak}, weak


async def test_a_push_names_where_to_send_the_browser(world: World) -> None:
    flow = bank(world)
    refused((await push(flow, redirect_uri=None))[0], 400, "invalid_request")


async def test_it_takes_no_password(world: World) -> None:
    bank(world)
    boss = await acting.admin(world)
    answer = await boss("PATCH", "/clients/shop", {"grant_types": ["password"]})
    assert pointers(answer) == {"/grant_types"}
