"""What ID tokens and /userinfo say, by which keys, and by which name."""

import httpx
import jwt as pyjwt
import pytest

from identity.directory.users import accounts
from identity.store import changes
from tests.browsing import Browser, Flow, code_client
from tests.conformance.lines import line
from tests.world import World, bearer, claims_of, granted, refused


async def verified(world: World, token: str, audience: str) -> dict[str, object]:
    """By another library, with the published keys."""
    keys = pyjwt.PyJWKSet.from_dict((await world.api.get("/.well-known/jwks.json")).json())
    kid = pyjwt.get_unverified_header(token)["kid"]
    (key,) = [key for key in keys.keys if key.key_id == kid]
    found: dict[str, object] = pyjwt.decode(
        token, key.key, algorithms=[str(key.algorithm_name)], audience=audience,
        issuer=world.services.settings.issuer,
    )  # fmt: skip
    return found


@line("Code flow", "The ID token's `iss aud exp iat sub`, signature, `at_hash`")
@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_an_id_token_is_what_a_client_checks(world: World, algorithm: str) -> None:
    ada = world.user("ada", email="ada@example.com", name="Ada")
    settings = {} if algorithm == "RS256" else {"id_token_signed_response_alg": algorithm}
    flow = Flow(world, code_client(world, first_party=True, **settings))
    browser = Browser(world.api)
    code, verifier = await flow.signed_in(browser, nonce="n-0S6_WzA2Mj")
    tokens = granted(await flow.redeem(code, verifier))
    header = pyjwt.get_unverified_header(tokens["id_token"])
    assert header["alg"] == algorithm
    told = await verified(world, tokens["id_token"], "shop")
    assert (told["sub"], told["azp"], told["nonce"]) == (ada.id, "shop", "n-0S6_WzA2Mj")
    assert (told["acr"], told["amr"]) == ("aal1", ["pwd"])
    digest = pyjwt.get_algorithm_by_name(algorithm).compute_hash_digest(
        tokens["access_token"].encode()
    )
    expected = pyjwt.utils.base64url_encode(digest[: len(digest) // 2]).decode()
    assert told["at_hash"] == expected
    assert "email" not in told and "name" not in told  # from /userinfo, in the code flow
    again = granted(await world.refresh(tokens["refresh_token"], flow.client))
    after = claims_of(again["id_token"])
    for name in ("sub", "sid", "auth_time", "acr", "amr"):
        assert after[name] == told[name]
    assert "nonce" not in after
    # Neither kind of token passes for the other.
    for path in ("/userinfo", "/users/me"):
        answer = await world.api.get(path, headers=bearer(tokens["id_token"]))
        assert answer.status_code == 401
    assert not await world.active(tokens["id_token"])


@line("Code flow", "Userinfo by GET and POST with a header")
async def test_userinfo_says_what_the_scopes_release(world: World) -> None:
    ada = world.user("ada", email="ada@example.com", name="Ada")
    flow, browser = Flow(world, code_client(world, first_party=True)), Browser(world.api)

    async def said(scope: str) -> dict[str, object]:
        headers = bearer((await flow.tokens(browser, scope=scope))["access_token"])
        got = await world.api.get("/userinfo", headers=headers)
        posted = await world.api.post("/userinfo", headers=headers)
        assert got.status_code == 200 and got.json() == posted.json()
        found: dict[str, object] = got.json()
        assert found.pop("sub") == ada.id
        return found

    assert await said("openid") == {}
    assert await said("email openid") == {"email": "ada@example.com", "email_verified": False}
    profile = await said("openid profile")
    assert (profile["name"], profile["preferred_username"]) == ("Ada", "ada")
    assert isinstance(profile["updated_at"], int)
    assert await said("openid groups") == {"groups": []}
    without = (await flow.tokens(browser, scope="account"))["access_token"]
    answer = await world.api.get("/userinfo", headers=bearer(without))
    assert answer.status_code == 403 and 'scope="openid"' in answer.headers["www-authenticate"]
    assert (await world.api.get("/userinfo")).status_code == 401
    answer = await world.api.get(f"/userinfo?access_token={without}")
    assert answer.status_code == 401


async def test_what_userinfo_has_said_before_it_does_not_say_after_a_change(world: World) -> None:
    ada = world.user("ada", email="ada@example.com", name="Ada")
    flow = Flow(world, code_client(world, first_party=True))
    tokens = await flow.tokens(Browser(world.api), scope="openid profile email")

    async def ask() -> httpx.Response:
        return await world.api.get("/userinfo", headers=bearer(tokens["access_token"]))

    first = (await ask()).json()
    assert first["name"] == "Ada" and (await ask()).json() == first
    with world.change() as session:
        user = accounts.get(session, ada.id, lock=True)
        user.name = "Countess"
        session.add(user)
        changes.record(session, "user.changed", ada.id)
    assert (await ask()).json()["name"] == "Countess"
    world.change_client("shop", scopes=["openid", "email"])
    told = {"email": "ada@example.com", "email_verified": False, "sub": ada.id}
    assert (await ask()).json() == told
    world.change_client("shop", settings={"userinfo_signed_response_alg": "ES256"})
    assert (await ask()).headers["content-type"] == "application/jwt"
    world.change_client("shop", scopes=["email"])
    assert (await ask()).status_code == 403
    world.set_status(ada, "disabled")
    assert (await ask()).status_code == 401


async def test_only_short_answers_are_remembered(world: World) -> None:
    ada = world.user("ada")
    with world.change() as session:
        user = accounts.get(session, ada.id, lock=True)
        user.address = {"formatted": "x" * 2_000}
        session.add(user)
        changes.record(session, "user.changed", ada.id)
    flow, browser = Flow(world, code_client(world, first_party=True)), Browser(world.api)
    for scope, remembered in (("openid profile", True), ("openid address", False)):
        token = (await flow.tokens(browser, scope=scope))["access_token"]
        first = await world.api.get("/userinfo", headers=bearer(token))
        again = await world.api.get("/userinfo", headers=bearer(token))
        assert first.status_code == 200 and again.content == first.content
        live = await world.services.live.find(token)
        assert live is not None and (live.known.told is not None) is remembered


@line("Registration", "Signed userinfo")
async def test_a_client_may_have_claims_in_the_id_token_and_userinfo_signed(world: World) -> None:
    ada = world.user("ada", email="ada@example.com")
    settings = {"claims_in_id_token": True, "userinfo_signed_response_alg": "ES256"}
    flow = Flow(world, code_client(world, first_party=True, **settings))
    tokens = await flow.tokens(Browser(world.api), scope="openid email")
    assert claims_of(tokens["id_token"])["email"] == "ada@example.com"
    answer = await world.api.get("/userinfo", headers=bearer(tokens["access_token"]))
    assert answer.headers["content-type"] == "application/jwt"
    said = await verified(world, answer.text, "shop")
    assert (said["sub"], said["email"]) == (ada.id, "ada@example.com")


async def test_a_pairwise_client_knows_its_users_by_names_of_its_own(world: World) -> None:
    ada, browser = world.user("ada", email="ada@example.com"), Browser(world.api)
    world.user("eve")
    flows = [
        Flow(world, code_client(world, name, subject_type="pairwise", redirect_uris=[uri]), uri)
        for name, uri in (
            ("shop", "https://shop.example/cb"),
            ("till", "https://shop.example/till"),
            ("bank", "https://bank.example/cb"),
        )
    ]
    tokens = [await flow.tokens(browser, scope="openid email account groups") for flow in flows]
    names = [claims_of(each["id_token"])["sub"] for each in tokens]
    assert names[0] == names[1] != names[2] and ada.id not in names
    access = claims_of(tokens[0]["access_token"])
    assert access["sub"] == names[0] and access["aud"] == world.services.settings.issuer
    assert not {"username", "roles"} & access.keys()
    headers = bearer(tokens[0]["access_token"])
    said = (await world.api.get("/userinfo", headers=headers)).json()
    assert said["sub"] == names[0] and said["email"] == "ada@example.com"
    assert (await world.api.get("/users/me", headers=headers)).status_code == 403
    told = await world.introspect(tokens[0]["access_token"])
    assert told["sub"] == names[0] and not {"username", "roles"} & told.keys()
    told = await world.introspect(tokens[0]["refresh_token"])
    assert told["sub"] == names[0] and "username" not in told
    page, _ = await flows[0].start(browser, resource="https://orders.example/")
    assert page.sent_to["error"] == "invalid_target"
    hint = tokens[0]["id_token"]
    page, _ = await flows[0].start(browser, prompt="none", scope="openid", id_token_hint=hint)
    assert page.sent_to["code"]
    code, verifier = await flows[0].signed_in(browser)
    elsewhere = await flows[0].redeem(code, verifier, resource="https://orders.example/")
    refused(elsewhere, 400, "invalid_target")
    world.set_status(ada, "disabled")
    assert (await world.api.get("/userinfo", headers=headers)).status_code == 401
