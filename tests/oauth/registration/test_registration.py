"""Programs that register themselves (RFC 7591) and look after themselves (RFC 7592)."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlmodel import select

from identity import clock
from identity.app import create_app
from identity.directory.access.granting import BUILT_IN
from identity.directory.clients import registrations
from identity.directory.clients.self_described import MAY_SAY, NEVER, TOLD
from identity.directory.clients.settings import NAMES
from identity.directory.clients.table import Client, ClientRegistration
from identity.opaque import digest
from identity.service import unused_clients
from tests.acting import admin
from tests.browsing import Browser, Flow
from tests.serving import running
from tests.signing import Signer
from tests.transport import served
from tests.world import Caller, World, bearer, granted, refused

CALLBACK = "https://notes.example/callback"
NOTES = {"client_name": "Notes", "redirect_uris": [CALLBACK]}
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
WEEK = timedelta(days=7)


@pytest.fixture
def how() -> str:
    return "open"


@pytest.fixture
async def app(make_settings: Callable[..., Any], how: str) -> AsyncIterator[Any]:
    app = create_app(make_settings(registration=how, registration_most=30))
    async with running(app):
        yield app


async def register(world: World, **said: Any) -> httpx.Response:
    return await world.api.post("/register", json={**NOTES, **said})


async def registered(world: World, **said: Any) -> dict[str, Any]:
    answer = await register(world, **said)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    document: dict[str, Any] = answer.json()
    return document


@pytest.mark.parametrize("how", ["token"])
async def test_nobody_registers_as_what_others_vouch_for(world: World) -> None:
    boss = await admin(world)
    document = {**NOTES, "token_endpoint_auth_method": "workload_identity"}
    for more in ({}, {"workloads": {"https://cluster.example": "system:serviceaccount:a:b"}}):
        answer = await boss("POST", "/register", document | more)
        refused(answer, 400, "invalid_client_metadata")


async def manage(
    world: World, method: str, client: dict[str, Any], document: Any = None, token: str = ""
) -> httpx.Response:
    headers = bearer(token or client["registration_access_token"])
    return await world.api.request(
        method, client["registration_client_uri"], headers=headers, json=document
    )


def stored(world: World, client_id: str) -> Client:
    with world.change() as session:
        return session.get_one(Client, client_id)


def body_of(client: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """What RFC 7592 §2.2 has it send to change something."""
    ours = {"registration_access_token", "registration_client_uri", "client_id_issued_at"}
    return {name: value for name, value in client.items() if name not in ours} | changed


# --- Registering ----------------------------------------------------------------------------


async def test_who_registers_gets_a_public_client_that_can_sign_people_in(world: World) -> None:
    world.user("ada")
    client = await registered(world, grant_types=["authorization_code", "refresh_token"])
    assert client["token_endpoint_auth_method"] == "none" and "client_secret" not in client
    assert client["client_name"] == "Notes" and client["redirect_uris"] == [CALLBACK]
    assert client["scope"] == "openid profile email phone address offline_access"
    assert client["response_types"] == ["code"]
    assert abs(client["client_id_issued_at"] - clock.now()) < 60
    flow = Flow(world, Caller(client["client_id"], None), CALLBACK)
    browser = Browser(world.api)
    page, verifier = await flow.start(browser)
    page = await browser.sign_in(page)
    assert "consent" in str(page.answer.url) and "notes.example" in page.text
    assert "Nobody here has vouched for it" in page.text
    page = await browser.submit(page, "agree")
    tokens = granted(await flow.redeem(page.sent_to["code"], verifier))
    assert tokens["id_token"] and tokens["refresh_token"]
    (event,) = await world.events("client.registered")
    assert event.subject == client["client_id"] and event.actor_type == "anonymous"


@pytest.mark.parametrize(
    "said", [{}, {"response_types": []}, {"response_types": ["code"]}], ids=str
)
async def test_a_device_is_told_that_it_gets_no_codes(world: World, said: dict[str, Any]) -> None:
    client = await registered(world, grant_types=[DEVICE_CODE], redirect_uris=[], **said)
    assert client["grant_types"] == [DEVICE_CODE] and client["response_types"] == []
    again = await manage(world, "PUT", client, body_of(client))
    assert again.status_code == 200 and again.json()["response_types"] == []


async def test_metadata_names_the_address(world: World) -> None:
    document = (await world.api.get("/.well-known/oauth-authorization-server")).json()
    assert document["registration_endpoint"] == f"{document['issuer']}/register"
    assert "none" in document["token_endpoint_auth_methods_supported"]


@pytest.mark.parametrize("how", ["off"])
async def test_where_it_is_off_nobody_registers(world: World) -> None:
    assert (await register(world)).status_code == 404
    boss = await admin(world)
    assert (await boss("POST", "/register", NOTES)).status_code == 404
    document = (await world.api.get("/.well-known/oauth-authorization-server")).json()
    assert "registration_endpoint" not in document


@pytest.mark.parametrize("how", ["token"])
async def test_with_a_token_a_client_may_have_a_secret(world: World) -> None:
    answer = await register(world)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    world.user("ada")
    ada = await world.log_in("ada")
    answer = await world.api.post("/register", json=NOTES, headers=bearer(ada["access_token"]))
    assert answer.status_code == 403
    boss = await admin(world)
    client = await boss.done("POST", "/register", NOTES)
    assert client["token_endpoint_auth_method"] == "client_secret_basic"
    assert client["client_secret"].startswith("cs_") and client["client_secret_expires_at"] == 0
    caller = Caller(client["client_id"], client["client_secret"])
    form = {"grant_type": "client_credentials"}
    answer = await world.api.post("/token", data=form, headers=caller.basic)
    refused(answer, 400, "unauthorized_client")
    looked = (await manage(world, "GET", client)).json()
    assert "client_secret" not in looked  # only its digest is kept
    public = await boss.done("POST", "/register", {**NOTES, "token_endpoint_auth_method": "none"})
    assert "client_secret" not in public


async def test_who_asks_for_a_secret_is_told_that_there_is_none(world: World) -> None:
    for method in ("client_secret_basic", "client_secret_post"):
        client = await registered(world, token_endpoint_auth_method=method)
        assert client["token_endpoint_auth_method"] == "none"
        assert "client_secret" not in client and stored(world, client["client_id"]).type == "public"


async def test_what_nobody_may_say_of_themselves_is_passed_over(world: World) -> None:
    client = await registered(
        world,
        first_party=True,
        pkce="optional",
        claims={"openid": {"admin": "department"}},
        claims_in_id_token=True,
        lifetimes={"id_token": 86400},
        profile="fapi2",
        authorization_details_types=["payment"],
        default_scopes=["users:write"],
        audiences=["https://orders.example"],
        type="confidential",
        id="first-party",
        client_id="mine",
        client_secret="mine",
        status="active",
        builtin=True,
        self_registered=False,
        software_id="4NRB1-0XZABZI9E6-5SM3R",
    )
    row = stored(world, client["client_id"])
    assert set(row.settings or {}) == {"redirect_uris", "token_endpoint_auth_method"}
    assert (row.type, row.builtin, row.self_registered) == ("public", False, True)
    assert row.audiences == [] and row.default_scopes == []
    assert client["client_id"] not in ("mine", "first-party")
    assert not NEVER & client.keys()


def test_each_setting_is_decided_by_somebody() -> None:
    assert NEVER <= NAMES and MAY_SAY | NEVER == NAMES


async def test_no_scope_but_those_that_are_open(world: World) -> None:
    world.scopes("orders:write", audience="https://orders.example")
    for scope in (*sorted(BUILT_IN.keys() - set(TOLD)), "*", "orders:write", "openid nonsense"):
        refused(await register(world, scope=scope), 400, "invalid_client_metadata")


@pytest.mark.parametrize(
    "grant", ["password", "client_credentials", "implicit", "urn:ietf:params:oauth:grant-type:x"]
)
async def test_no_grant_by_which_nobody_is_asked(world: World, grant: str) -> None:
    answer = await register(world, grant_types=["authorization_code", grant])
    refused(answer, 400, "invalid_client_metadata")


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)", "JaVaScRiPt:alert(1)//x.y:", "data:text/html,x",
        "https://*.example/", "https://notes.example/cb#fragment",
        "https://a@b@notes.example/cb", "http://notes.example/",
        "https://notes.example/cb?code=1", "https://notes.example/cb?iss=1", "notes:callback",
        "", 7,
    ],
)  # fmt: skip
async def test_an_address_that_no_code_may_go_to_is_refused_by_its_own_error(
    world: World, uri: Any
) -> None:
    refused(await register(world, redirect_uris=[uri]), 400, "invalid_redirect_uri")


async def test_codes_have_to_be_sent_somewhere(world: World) -> None:
    refused(await register(world, redirect_uris=[]), 400, "invalid_redirect_uri")
    refused(await register(world, redirect_uris=None), 400, "invalid_redirect_uri")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, "JaVaScRiPt:alert(document.domain)//https://x.example")
        for name in sorted(NAMES)
        if name.endswith("_uri")
    ]
    + [
        ("initiate_login_uri", "http://notes.example/login"),
        ("subject_type", "everybody"),
        ("id_token_signed_response_alg", "none"),
        ("response_types", ["token"]),
        ("response_types", "code"),
        ("token_endpoint_auth_method", "private_key_jwt"),
        ("token_endpoint_auth_method", ["none"]),
        ("grant_types", "authorization_code"),
        ("grant_types", [1]),
        ("scope", ["openid"]),
        ("client_name", "a\u202eb"),
        ("client_name", "n" * 101),
        ("client_name", {"en": "Notes"}),
        ("contacts", "ada@example.com"),
        ("default_max_age", -1),
    ],
)
async def test_a_bad_value_is_refused(world: World, name: str, value: Any) -> None:
    description = refused(await register(world, **{name: value}), 400, "invalid_client_metadata")
    assert name in description


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"client_name": "a", "client_name": "b"}', b"\xff", b'{"a": NaN}',
     b'{"a":' * 40 + b"1" + b"}" * 40],
)  # fmt: skip
async def test_what_is_no_json_object_is_refused(world: World, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = await world.api.post("/register", content=body, headers=headers)
    refused(answer, 400, "invalid_client_metadata")


async def test_it_is_json_and_of_a_bounded_size(world: World) -> None:
    answer = await world.api.post("/register", data={"client_name": "Notes"})
    assert answer.status_code == 415
    uris = [f"https://notes.example/{n}/{'x' * 1900}" for n in range(10)]
    assert (await register(world, redirect_uris=uris)).status_code == 413


async def test_registrations_are_bounded_by_network_and_in_all(world: World) -> None:
    for _ in range(registrations.PER_NETWORK):
        await registered(world)
    answer = await register(world)
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0
    elsewhere = httpx.AsyncClient(
        transport=served(world.app, client=("203.0.113.9", 1)), base_url=world.api.base_url
    )
    async with elsewhere as api:
        for _ in range(30 - registrations.PER_NETWORK):
            assert (await api.post("/register", json=NOTES)).status_code == 201
        answer = await api.post("/register", json=NOTES)
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
    with world.change() as session:
        for row in session.exec(select(ClientRegistration)):
            row.created_at -= registrations.WINDOW
            session.add(row)
    assert (await register(world)).status_code == 503


# --- Scopes that are open -------------------------------------------------------------------


async def test_a_scope_that_is_open_can_be_had_and_is_lost_when_it_is_closed(world: World) -> None:
    boss = await admin(world)
    scope = {"name": "notes:read", "audience": "https://api.notes.example"}
    await boss.done("POST", "/scopes", {**scope, "open_to_registered": True})
    world.user("ada")
    with world.change() as session:
        from identity.directory.access.table import Role, RoleScope
        from identity.directory.users.table import User, UserRole

        session.add(Role(name="reader"))
        session.flush()
        session.add(RoleScope(role="reader", scope="notes:read"))
        ada = session.exec(select(User).where(User.username == "ada")).one()
        session.add(UserRole(user_id=ada.id, role="reader"))
    client = await registered(world, scope="openid notes:read")
    flow = Flow(world, Caller(client["client_id"], None), CALLBACK)
    resource = {"scope": "notes:read", "resource": scope["audience"]}
    tokens = await flow.tokens(Browser(world.api), **resource)
    assert tokens["scope"] == "notes:read" and await world.active(tokens["access_token"])
    assert (await world.introspect(tokens["access_token"]))["aud"] == scope["audience"]
    # A request that names the resource and no scope gets what the client may have there.
    named = await flow.tokens(Browser(world.api), scope=None, resource=scope["audience"])
    assert named["scope"] == "notes:read"
    await boss.done("PATCH", "/scopes/notes:read", {"open_to_registered": False})
    assert stored(world, client["client_id"]).scopes == ["openid"]
    said = await world.introspect(tokens["access_token"])
    assert "scope" not in said or said["scope"] == ""
    refused(await register(world, scope="notes:read"), 400, "invalid_client_metadata")


async def test_a_built_in_scope_cannot_be_opened(world: World) -> None:
    boss = await admin(world)
    for name in ("users:read", "groups", "openid"):
        answer = await boss("PATCH", f"/scopes/{name}", {"open_to_registered": True})
        assert answer.status_code == 409


# --- Looking after oneself (RFC 7592) -------------------------------------------------------


async def test_a_client_sees_changes_and_takes_back_its_registration(world: World) -> None:
    client = await registered(world, client_uri="https://notes.example/")
    looked = (await manage(world, "GET", client)).json()
    assert looked == client
    body = body_of(client, client_name="Notes 2")
    del body["client_uri"]
    answer = await manage(world, "PUT", client, body)
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert changed["client_name"] == "Notes 2" and "client_uri" not in changed
    assert changed["registration_access_token"] != client["registration_access_token"]
    assert (await manage(world, "DELETE", changed)).status_code == 204
    refused(await manage(world, "GET", changed), 401, "invalid_token")
    with world.change() as session:
        assert session.get(Client, client["client_id"]) is None


async def test_a_token_is_replaced_and_the_former_is_good_until_the_new_one_is_used(
    world: World,
) -> None:
    client = await registered(world)
    first = client["registration_access_token"]
    second = (await manage(world, "PUT", client, body_of(client))).json()
    # The answer got lost: the former one still opens it, and brings another.
    third = (await manage(world, "GET", client)).json()
    token = third["registration_access_token"]
    assert token not in (first, second["registration_access_token"])
    refused(await manage(world, "GET", second), 401, "invalid_token")
    assert (await manage(world, "GET", third)).json()["registration_access_token"] == token
    refused(await manage(world, "GET", client), 401, "invalid_token")
    with world.change() as session:
        row = session.get_one(ClientRegistration, client["client_id"])
        assert (row.digest, row.former) == (digest(token), None)


@pytest.mark.parametrize("how", ["token"])
async def test_a_client_that_comes_to_need_a_secret_is_given_one(world: World) -> None:
    boss, key = await admin(world), Signer()
    by_key = {"token_endpoint_auth_method": "private_key_jwt", "jwks": key.jwks}
    client = (await boss("POST", "/register", {**NOTES, **by_key})).json()
    assert "client_secret" not in client
    changed = body_of(client, token_endpoint_auth_method="client_secret_post")
    del changed["jwks"]
    client = (await manage(world, "PUT", client, changed)).json()
    assert client["client_secret"].startswith("cs_") and client["client_secret_expires_at"] == 0
    form = {"client_id": client["client_id"], "client_secret": client["client_secret"]}
    assert (await world.api.post("/revoke", data={**form, "token": "x"})).status_code == 200
    # One that has a secret is not given another.
    changed = body_of(client, client_name="Notes 2")
    del changed["client_secret_expires_at"]
    again = (await manage(world, "PUT", client, changed)).json()
    assert again["client_name"] == "Notes 2" and "client_secret" not in again


async def test_a_token_opens_its_own_client_and_nothing_else(world: World) -> None:
    mine, other = await registered(world), await registered(world)
    token = mine["registration_access_token"]
    for method in ("GET", "PUT", "DELETE"):
        answer = await manage(world, method, other, body_of(other), token=token)
        refused(answer, 401, "invalid_token")
        answer = await world.api.request(method, other["registration_client_uri"], json={})
        assert answer.status_code == 401
    assert (await manage(world, "GET", mine, token="ra_" + "x" * 43)).status_code == 401
    boss = await admin(world)
    assert (await manage(world, "GET", mine, token=boss.token)).status_code == 401
    assert (await world.api.get("/users/me", headers=bearer(token))).status_code == 401
    assert not await world.active(token)


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "another"}, {"client_id": None}, {"client_secret": "mine"},
        {"registration_access_token": "ra_x"}, {"client_id_issued_at": 1},
        {"scope": "openid users:write"}, {"grant_types": ["password"]},
        {"redirect_uris": ["javascript:alert(1)"]}, {"redirect_uris": []},
        {"token_endpoint_auth_method": "private_key_jwt"}, {"logo_uri": "javascript:x"},
    ],
)  # fmt: skip
async def test_an_update_is_looked_at_as_a_whole_and_changes_nothing_when_refused(
    world: World, changed: dict[str, Any]
) -> None:
    client = await registered(world, policy_uri="https://notes.example/policy")
    before = stored(world, client["client_id"])
    answer = await manage(world, "PUT", client, body_of(client, client_name="Evil", **changed))
    assert answer.status_code == 400 and answer.json()["error"].startswith("invalid_"), answer.text
    after = stored(world, client["client_id"])
    assert (after.name, after.version) == ("Notes", before.version)
    assert after.settings == before.settings and after.scopes == before.scopes
    assert (await manage(world, "GET", client)).json() == client


async def test_an_update_takes_nothing_from_what_an_administrator_has_set(world: World) -> None:
    boss = await admin(world)
    client = await registered(world)
    path = f"/clients/{client['client_id']}"
    await boss.done("PATCH", path, {"claims_in_id_token": True})
    answer = await manage(
        world, "PUT", client, body_of(client, redirect_uris=["https://x.example"])
    )
    refused(answer, 403, "access_denied")
    await boss.done("PATCH", path, {"claims_in_id_token": None, "first_party": True})
    answer = await manage(
        world, "PUT", client, body_of(client, redirect_uris=["https://x.example"])
    )
    refused(answer, 403, "access_denied")
    await boss.done("PATCH", path, {"first_party": None, "scopes": ["*"]})
    answer = await manage(world, "PUT", client, body_of(client))
    refused(answer, 403, "access_denied")
    assert (await manage(world, "GET", client)).status_code == 200
    shown = await boss.done("GET", path)
    assert shown["self_registered"] is True


async def test_a_client_that_was_disabled_can_do_nothing_for_itself(world: World) -> None:
    boss = await admin(world)
    client = await registered(world)
    await boss.done("PATCH", f"/clients/{client['client_id']}", {"status": "disabled"})
    for method in ("GET", "PUT", "DELETE"):
        refused(await manage(world, method, client, body_of(client)), 403, "access_denied")
    assert stored(world, client["client_id"]).status == "disabled"


async def test_another_redirect_uri_withdraws_what_users_agreed_to(world: World) -> None:
    world.user("ada")
    client = await registered(world)
    flow, browser = Flow(world, Caller(client["client_id"], None), CALLBACK), Browser(world.api)
    await flow.signed_in(browser)
    page, _ = await flow.start(browser)
    assert "code" in page.sent_to
    uris = [CALLBACK, "https://evil.example/callback"]
    assert (await manage(world, "PUT", client, body_of(client, redirect_uris=uris))).is_success
    page, _ = await flow.start(browser)
    assert "consent" in str(page.answer.url)


# --- Unused ---------------------------------------------------------------------------------


async def test_a_client_that_nobody_has_used_goes_after_a_while(world: World) -> None:
    world.user("ada")
    used, unused = await registered(world), await registered(world)
    await Flow(world, Caller(used["client_id"], None), CALLBACK).signed_in(Browser(world.api))

    async def prune() -> int:
        return await world.services.db.write(lambda s: unused_clients.prune(s, WEEK))

    assert await prune() == 0
    with world.change() as session:
        for row in session.exec(select(ClientRegistration)):
            row.created_at -= WEEK + timedelta(minutes=1)
            session.add(row)
    assert await prune() == 1 and await prune() == 0
    refused(await manage(world, "GET", unused), 401, "invalid_token")
    assert (await manage(world, "GET", used)).status_code == 200
    assert [event.subject for event in await world.events("client.deleted")] == [
        unused["client_id"]
    ]
