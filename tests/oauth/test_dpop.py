"""Tokens bound to a key (RFC 9449): how clients get them, and that nobody else can use them."""

from typing import Any

import httpx
import pytest

from identity.directory.users.table import User
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.gate.proofs import Proofs
from tests.browsing import Browser, Flow, code_client
from tests.holding import ALGS, NO_PROOF, Holder, challenge, new_key
from tests.rounds import together
from tests.world import PASSWORD, Caller, World, bearer, claims_of, granted, refused

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


@pytest.fixture
def ada(world: World) -> User:
    return world.user("ada", email="ada@example.com", roles=["admin"])


@pytest.fixture
def app_(world: World, ada: User) -> Holder:
    """A public client."""
    return Holder(world, world.client("app", public=True))


@pytest.fixture
def shop(world: World, ada: User) -> Holder:
    """A confidential one."""
    return Holder(world, world.client("shop"))


# --- Tokens -----------------------------------------------------------------------------------


async def test_a_login_with_a_proof_binds_its_tokens(app_: Holder) -> None:
    world = app_.world
    tokens = await app_.log_in()
    assert tokens["token_type"] == "DPoP"
    assert claims_of(tokens["access_token"])["cnf"] == {"jkt": app_.key.jkt}
    told = await world.introspect(tokens["access_token"])
    assert (told["token_type"], told["cnf"]) == ("DPoP", {"jkt": app_.key.jkt})
    for path in ("/users/me", "/users/me/sessions"):
        assert (await app_.ask(path, tokens["access_token"])).status_code == 200
    again = granted(await app_.refresh(tokens["refresh_token"]))
    assert again["token_type"] == "DPoP"
    assert claims_of(again["access_token"])["cnf"] == {"jkt": app_.key.jkt}


@SQLITE
async def test_without_a_proof_everything_is_as_before(world: World, ada: User) -> None:
    tokens = await world.log_in()
    assert tokens["token_type"] == "Bearer" and "cnf" not in claims_of(tokens["access_token"])
    told = await world.introspect(tokens["access_token"])
    assert told["token_type"] == "Bearer" and "cnf" not in told
    assert (await world.me(tokens["access_token"])).status_code == 200


@SQLITE
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_client_binds_its_own_tokens_by_any_algorithm(world: World, algorithm: str) -> None:
    world.user("ada")
    job = Holder(world, world.client("job", scopes=["introspect"]), new_key(algorithm))
    token = granted(await job.token(grant_type="client_credentials", scope="introspect"))[
        "access_token"
    ]
    assert claims_of(token)["cnf"] == {"jkt": job.key.jkt}
    headers = job.key.headers("POST", job.address("/introspect"), token)
    answer = await world.api.post("/introspect", data={"token": token}, headers=headers)
    assert answer.json()["active"] is True
    answer = await job.ask("/revocations?wait=0", token)
    assert answer.status_code == 200


async def test_userinfo_takes_a_bound_token_with_its_proof_alone(world: World, ada: User) -> None:
    flow = Flow(world, code_client(world, first_party=True))
    holder = Holder(world, flow.client)
    code, verifier = await flow.signed_in(Browser(world.api))
    form = {"code": code, "code_verifier": verifier, "redirect_uri": flow.redirect_uri}
    tokens = granted(await holder.token(grant_type="authorization_code", **form))
    assert tokens["token_type"] == "DPoP"
    for method in ("GET", "POST"):
        answer = await holder.ask("/userinfo", tokens["access_token"], method)
        assert answer.json()["sub"] == ada.id
    challenge(await holder.ask("/userinfo", tokens["access_token"], ath=None), "invalid_dpop_proof")
    answer = await world.api.get("/userinfo", headers=bearer(tokens["access_token"]))
    challenge(answer, "invalid_token")


@SQLITE  # on the other they wait for the shared query
async def test_proofs_of_one_round_are_checked_in_a_row(
    app_: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, token = app_.world, (await app_.log_in())["access_token"]
    assert (await app_.ask("/users/me", token)).status_code == 200
    services, order = world.services, list[str]()

    def noted(what: str, work: Any) -> Any:
        return lambda *given, **named: (order.append(what), work(*given, **named))[1]

    monkeypatch.setattr(services.live, "look", noted("known", services.live.look))
    monkeypatch.setattr(Proofs, "check", noted("checked", Proofs.check))
    monkeypatch.setattr(services.db, "apply", noted("spent", services.db.apply))
    address = app_.address("/users/me")
    asked = [
        httpx.Request("GET", address, headers=app_.key.headers("GET", address, token))
        for _ in range(3)
    ]
    assert await together(world.app, asked, wait=True) == [200] * 3
    assert order == ["known"] * 3 + ["checked"] * 3 + ["spent"] * 3


async def test_whoever_has_a_token_and_not_its_key_cannot_use_it(app_: Holder) -> None:
    world, thief = app_.world, Holder(app_.world, app_.client)
    token = (await app_.log_in(scope="*"))["access_token"]
    other = (await app_.log_in())["access_token"]
    for path in ("/users/me", "/users/me/sessions", "/users", "/userinfo", "/revocations"):
        challenge(await world.api.get(path, headers=bearer(token)), "invalid_token")
        challenge(await thief.ask(path, token), "invalid_token")
        alone = await world.api.get(path, headers={"authorization": f"DPoP {token}"})
        challenge(alone, "invalid_dpop_proof")
        of_other = app_.key.headers("GET", app_.address(path), other)
        headers = of_other | {"Authorization": f"DPoP {token}"}
        challenge(await world.api.get(path, headers=headers), "invalid_dpop_proof")
    answer = await world.api.post("/introspect", data={"token": token}, headers=bearer(token))
    challenge(answer, "invalid_token")
    assert (await app_.ask("/users", token)).status_code == 200


async def test_a_token_that_is_not_bound_is_no_token_of_the_scheme_dpop(app_: Holder) -> None:
    token = (await app_.world.log_in())["access_token"]
    for path in ("/users/me", "/users/me/sessions"):
        challenge(await app_.ask(path, token), "invalid_token")


@SQLITE
async def test_scheme_and_header_are_written_in_any_case(app_: Holder) -> None:
    token = (await app_.log_in())["access_token"]
    for scheme, name in (("dpop", "dpop"), ("DPOP", "DPOP"), ("DPoP", "DPoP")):
        proof = app_.key.proof("GET", app_.address("/users/me"), token)
        headers = {"Authorization": f"{scheme} {token}", name: proof}
        assert (await app_.world.api.get("/users/me", headers=headers)).status_code == 200


@SQLITE
async def test_who_sends_nothing_hears_of_both_schemes(world: World) -> None:
    for path in ("/users/me", "/users"):
        said = (await world.api.get(path)).headers["www-authenticate"]
        assert said.startswith('Bearer realm="identity"') and said.endswith(f'DPoP algs="{ALGS}"')


@SQLITE
async def test_what_is_wrong_later_is_said_in_the_scheme_that_was_used(app_: Holder) -> None:
    token = (await app_.log_in())["access_token"]  # no scope of administration, no openid
    for path in ("/users", "/userinfo"):
        answer = await app_.ask(path, token)
        assert answer.status_code == 403
        said = answer.headers["www-authenticate"]
        assert said.startswith("DPoP ") and 'error="insufficient_scope"' in said, said
    first = (await app_.world.log_in())["access_token"]
    answer = await app_.world.api.get("/users", headers=bearer(first))
    assert answer.headers["www-authenticate"].startswith("Bearer ")


# --- Refresh tokens and codes -----------------------------------------------------------------


async def test_a_public_clients_refresh_token_needs_the_very_key(app_: Holder) -> None:
    tokens = await app_.log_in()
    thief = Holder(app_.world, app_.client)
    for _ in range(2):
        refused(await thief.refresh(tokens["refresh_token"]), 400, "invalid_grant")
        refused(await thief.refresh(tokens["refresh_token"], ""), 400, "invalid_grant")
    second = granted(await app_.refresh(tokens["refresh_token"]))
    refused(await thief.refresh(second["refresh_token"]), 400, "invalid_grant")
    # A spent one is nobody's but its holder's to replay: the session lives on.
    refused(await thief.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert await app_.world.active(second["access_token"])
    third = granted(await app_.refresh(second["refresh_token"]))
    assert claims_of(third["access_token"])["cnf"] == {"jkt": app_.key.jkt}
    # One that was bound to nothing is anybody's as before, who may have a key by now.
    unbound = await app_.world.log_in(client=app_.client)
    granted(await thief.refresh(unbound["refresh_token"]))


async def test_a_confidential_client_may_change_its_key_but_not_do_without(shop: Holder) -> None:
    tokens = await shop.log_in()
    refused(await shop.refresh(tokens["refresh_token"], ""), 400, "invalid_grant")
    newer = Holder(shop.world, shop.client)
    tokens = granted(await newer.refresh(tokens["refresh_token"]))
    assert claims_of(tokens["access_token"])["cnf"] == {"jkt": newer.key.jkt}
    assert (await newer.ask("/users/me", tokens["access_token"])).status_code == 200
    challenge(await shop.ask("/users/me", tokens["access_token"]), "invalid_token")


async def test_each_code_binds_its_own_family(world: World, ada: User) -> None:
    flow = Flow(world, code_client(world, public=True, first_party=True))
    browser, holders = Browser(world.api), [Holder(world, flow.client) for _ in range(2)]
    tokens = []
    for holder in holders:
        code, verifier = await flow.signed_in(browser)
        form = {"code": code, "code_verifier": verifier, "redirect_uri": flow.redirect_uri}
        tokens.append(granted(await holder.token(grant_type="authorization_code", **form)))
    one, two = tokens
    assert claims_of(one["access_token"])["sid"] == claims_of(two["access_token"])["sid"]
    unbound = await flow.tokens(browser)
    assert unbound["token_type"] == "Bearer"
    refused(await holders[0].refresh(two["refresh_token"]), 400, "invalid_grant")
    refused(await holders[1].refresh(one["refresh_token"]), 400, "invalid_grant")
    for holder, each in zip(holders, tokens, strict=True):
        again = granted(await holder.refresh(each["refresh_token"]))
        assert claims_of(again["access_token"])["cnf"] == {"jkt": holder.key.jkt}
    granted(await world.refresh(unbound["refresh_token"], flow.client))


async def test_a_code_that_names_a_key_is_redeemed_by_that_one_alone(
    world: World, ada: User
) -> None:
    flow = Flow(world, code_client(world, public=True, first_party=True))
    browser, holder, thief = Browser(world.api), Holder(world, flow.client), Holder(world)
    code, verifier = await flow.signed_in(browser, dpop_jkt=holder.key.jkt)
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
    form["redirect_uri"] = flow.redirect_uri
    thief.client = flow.client
    refused(await thief.token(**form), 400, "invalid_grant")
    refused(await thief.token("", **form), 400, "invalid_grant")
    tokens = granted(await holder.token(**form))  # the code was not spent meanwhile
    assert claims_of(tokens["access_token"])["cnf"] == {"jkt": holder.key.jkt}


@SQLITE
async def test_a_thumbprint_that_is_none_is_told_to_the_client(world: World, ada: User) -> None:
    flow = Flow(world, code_client(world, first_party=True))
    for odd in ("short", "A" * 44, "A" * 42 + "="):
        page, _ = await flow.start(Browser(world.api), dpop_jkt=odd)
        assert page.sent_to["error"] == "invalid_request", odd


async def test_a_client_that_is_set_so_gets_no_bearer_token(world: World, ada: User) -> None:
    client = code_client(world, first_party=True, dpop_bound_access_tokens=True)
    world.change_client(client.id, grants=["authorization_code", "refresh_token", "password",
                                           "client_credentials"])  # fmt: skip
    flow, holder = Flow(world, client), Holder(world, client)
    code, verifier = await flow.signed_in(Browser(world.api))
    refused(await flow.redeem(code, verifier), *NO_PROOF)
    login = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    refused(await holder.token("", **login), *NO_PROOF)
    refused(await holder.token("", grant_type="client_credentials"), *NO_PROOF)
    form = {"code": code, "code_verifier": verifier, "redirect_uri": flow.redirect_uri}
    tokens = granted(await holder.token(grant_type="authorization_code", **form))
    refused(await holder.refresh(tokens["refresh_token"], ""), *NO_PROOF)
    assert granted(await holder.refresh(tokens["refresh_token"]))["token_type"] == "DPoP"


@SQLITE
async def test_the_setting_is_an_administrators_to_make(world: World, ada: User) -> None:
    admin = Holder(world)
    token = (await admin.log_in(scope="*"))["access_token"]
    body = {"id": "app", "name": "App", "type": "public", "grant_types": ["password"]}
    headers = admin.key.headers("POST", admin.address("/clients"), token)
    answer = await world.api.post(
        "/clients", json=body | {"dpop_bound_access_tokens": True}, headers=headers
    )
    assert answer.status_code == 201, answer.text
    app = Holder(world, Caller("app", None))
    login = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    refused(await app.token("", **login), *NO_PROOF)
    assert granted(await app.token(**login))["token_type"] == "DPoP"
