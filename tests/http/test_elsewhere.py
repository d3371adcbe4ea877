"""Pages of other origins: what they may read without anybody having listed them."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.app import create_app
from identity.directory import uris
from tests.browsing import Browser, Flow, code_client
from tests.serving import running
from tests.transport import served
from tests.world import World, bearer

SHOP = "https://shop.example"
EVIL = "https://evil.example"
ALLOWED = "access-control-allow-origin"
CLIENTS = ("/token", "/par", "/register", "/revoke", "/userinfo")
SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


def asking(origin: str, **more: str) -> dict[str, str]:
    return {"origin": origin, **more}


def assert_readable_by(answer: httpx.Response, origin: str | None) -> None:
    assert answer.headers.get(ALLOWED) == origin, answer.headers
    assert "access-control-allow-credentials" not in answer.headers
    if origin is not None:
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert {"DPoP-Nonce", "WWW-Authenticate", "Retry-After"} <= set(exposed)
    if origin != "*":
        assert "origin" in answer.headers["vary"].lower()


@SQLITE
async def test_discovery_and_keys_are_for_every_page(api: httpx.AsyncClient) -> None:
    for path in (
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource",
        "/.well-known/jwks.json",
    ):
        answer = await api.get(path, headers=asking(EVIL))
        assert answer.status_code == 200
        assert_readable_by(answer, "*")
        again = await api.get(
            path, headers=asking(EVIL, **{"if-none-match": answer.headers["etag"]})
        )
        assert again.status_code == 304
        assert_readable_by(again, "*")


@SQLITE
@pytest.mark.parametrize("origin", [SHOP, EVIL, "null"])
async def test_any_preflight_is_answered_and_never_with_credentials(
    api: httpx.AsyncClient, origin: str
) -> None:
    for path in (*CLIENTS, "/.well-known/openid-configuration", "/.well-known/jwks.json"):
        asked = asking(
            origin,
            **{
                "access-control-request-method": "POST",
                "access-control-request-headers": "authorization,content-type,dpop,x-of-its-own",
            },
        )
        answer = await api.options(path, headers=asked)
        assert (answer.status_code, answer.headers[ALLOWED]) == (200, "*")
        allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
        assert {"authorization", "content-type", "dpop", "*"} <= set(allowed)
        assert "access-control-allow-credentials" not in answer.headers
    for path in ("/introspect", "/users", "/authorize", "/sign-in", "/status-lists"):
        answer = await api.options(path, headers=asked)
        assert ALLOWED not in answer.headers, path


async def test_an_answer_is_for_the_pages_of_its_client_alone(world: World) -> None:
    world.user("ada")
    flow = Flow(world, code_client(world, "spa", public=True, first_party=True))
    other = code_client(world, "other", redirect_uris=[f"{EVIL}/callback"])
    code, verifier = await flow.signed_in(Browser(world.api))
    form = {
        "grant_type": "authorization_code", "client_id": "spa", "code": code,
        "code_verifier": verifier, "redirect_uri": flow.redirect_uri,
    }  # fmt: skip
    refusal = await world.api.post("/token", data=form | {"code": "ac_x"}, headers=asking(SHOP))
    assert refusal.json()["error"] == "invalid_grant"
    assert_readable_by(refusal, SHOP)
    assert_readable_by(
        await world.api.post("/token", data=form | {"code": "ac_x"}, headers=asking(EVIL)), None
    )
    answer = await world.api.post("/token", data=form, headers=asking(SHOP))
    assert_readable_by(answer, SHOP)
    tokens = answer.json()
    for origin, readable in ((SHOP, SHOP), (EVIL, None), ("null", None), (f"{SHOP}:444", None)):
        headers = {**asking(origin), **bearer(tokens["access_token"])}
        about = await world.api.get("/userinfo", headers=headers)
        assert about.status_code == 200
        assert_readable_by(about, readable)
        refused = {**asking(origin), **bearer("no-token-of-ours")}
        answer = await world.api.get("/userinfo", headers=refused)
        assert answer.status_code == 401
        assert_readable_by(answer, origin)
    stranger = await world.api.post("/token", data={"client_id": "nobody"}, headers=asking(SHOP))
    assert_readable_by(stranger, None)
    wrong = other.post | {"client_secret": "wrong"}
    assert_readable_by(await world.api.post("/token", data=wrong, headers=asking(EVIL)), EVIL)
    assert_readable_by(await world.api.post("/token", data=wrong, headers=asking(SHOP)), None)
    for _ in range(2):  # looked at, then known again by its header
        headers = {**asking(EVIL), **other.basic}
        answer = await world.api.post("/revoke", data={"token": "x"}, headers=headers)
        assert_readable_by(answer, EVIL)
    pushed = {"client_id": "spa", "response_type": "code"}
    assert_readable_by(await world.api.post("/par", data=pushed, headers=asking(SHOP)), SHOP)
    assert_readable_by(await world.api.post("/par", data=pushed, headers=asking(EVIL)), None)
    token = tokens["refresh_token"]
    revoked = {"token": token, "client_id": "spa"}
    done = await world.api.post("/revoke", data=revoked, headers=asking(SHOP))
    assert done.status_code == 200
    assert_readable_by(done, SHOP)
    # Of a request after it on the same connection nothing is left.
    assert_readable_by(await world.api.post("/token", data=form, headers=asking(EVIL)), None)
    assert ALLOWED not in (await world.api.post("/token", data=form)).headers


@SQLITE
async def test_listed_origins_may_read_these_too(make_settings: Callable[..., Any]) -> None:
    app = create_app(make_settings(cors_origins=EVIL))
    async with (
        running(app),
        httpx.AsyncClient(transport=served(app), base_url="http://test") as api,
    ):
        for path in CLIENTS:
            assert_readable_by(await api.post(path, headers=asking(EVIL)), EVIL)
            assert_readable_by(await api.post(path, headers=asking(SHOP)), None)


@pytest.mark.parametrize(
    ("origin", "uri", "is_its_own"),
    [
        ("https://shop.example", "https://shop.example/callback?a=b", True),
        ("https://shop.example", "https://shop.example:443/callback", True),
        ("https://shop.example:8443", "https://shop.example/callback", False),
        ("http://shop.example", "https://shop.example/callback", False),
        ("https://shop.example.evil", "https://shop.example/callback", False),
        ("https://evil.example", "com.example.app:/callback", False),
        ("null", "com.example.app:/callback", False),
        ("http://127.0.0.1:5173", "http://127.0.0.1/callback", True),
        ("http://[::1]:5173", "http://[::1]:80/callback", True),
        ("http://localhost:5173", "http://localhost:3000/callback", False),
        ("http://localhost:3000", "http://localhost:3000/callback", True),
        ("http://127.0.0.1.evil", "http://127.0.0.1/callback", False),
    ],
)
def test_a_page_is_the_clients_where_its_redirect_uris_are(
    origin: str, uri: str, is_its_own: bool
) -> None:
    assert uris.redirect_problem(uri) is None
    assert uris.may_come_from(origin, [uri]) is is_its_own
    assert not uris.may_come_from(origin, [])


@given(st.text())
def test_no_other_text_is_an_origin_of_a_client(origin: str) -> None:
    assert uris.may_come_from(origin, ["https://shop.example/x"]) is (origin == SHOP)


@SQLITE
@pytest.mark.parametrize(("how", "reads"), [("open", "*"), ("token", None), ("off", None)])
async def test_any_page_may_register_where_anybody_may(
    make_settings: Callable[..., Any], how: str, reads: str | None
) -> None:
    app = create_app(make_settings(registration=how))
    async with (
        running(app),
        httpx.AsyncClient(transport=served(app), base_url="http://test") as api,
    ):
        document = {"redirect_uris": [f"{EVIL}/callback"]}
        answer = await api.post("/register", json=document, headers=asking(EVIL))
        assert answer.status_code == {"open": 201, "token": 401, "off": 404}[how]
        assert_readable_by(answer, reads)
