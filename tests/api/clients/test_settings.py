"""What can be set about a client, and what is refused, with a pointer to it."""

from base64 import b64encode
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey

from identity.directory.clients.settings import NAMES, ClientSettings
from identity.directory.clients.table import Client
from identity.store import changes
from tests import acting
from tests.acting import Actor, pointers, problem
from tests.certificates import by_itself
from tests.conformance.lines import line
from tests.world import Caller, World, refused

EC, ED = ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519")
PUBLIC = {**EC.as_dict(private=False), "kid": "a"}
JWKS = {"keys": [PUBLIC]}
OTHERS = b64encode(by_itself().der).decode()
"""A certificate, and not for that key."""
CALLBACK = "https://app.example.com/callback"

EVERYTHING: dict[str, Any] = {
    "redirect_uris": [CALLBACK, "http://127.0.0.1/cb"],
    "post_logout_redirect_uris": ["https://app.example.com/"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "workload_identity",
    "token_endpoint_auth_signing_alg": "ES256",
    "assertion_audience": "token_endpoint",
    "jwks": JWKS,
    "workloads": {"https://cluster.example": "system:serviceaccount:shop:app"},
    "id_token_signed_response_alg": "ES256",
    "userinfo_signed_response_alg": "RS256",
    "authorization_signed_response_alg": "ES256",
    "require_pushed_authorization_requests": True,
    "request_object_signing_alg": "EdDSA",
    "request_uris": ["https://app.example.com/request#abc"],
    "require_signed_request_object": True,
    "subject_type": "public",
    "default_max_age": 0,
    "require_auth_time": True,
    "default_acr_values": ["phr", "aal2"],
    "backchannel_logout_uri": "https://app.example.com/logout",
    "backchannel_logout_session_required": True,
    "initiate_login_uri": "https://app.example.com/login",
    "client_uri": "https://app.example.com",
    "logo_uri": "https://app.example.com/logo.png",
    "policy_uri": "https://app.example.com/policy",
    "tos_uri": "https://app.example.com/terms",
    "contacts": ["ops@example.com"],
    "first_party": True,
    "pkce": "optional",
    "claims_in_id_token": True,
    "claims": {"profile": {"department": "dept"}},
    "lifetimes": {"id_token": 60, "access_token": 60, "refresh_token": 3600, "session": 7200},
    "authorization_details_types": ["payment"],
    "token_exchange": {"https://stock.example": ["*"]},
    "token_exchange_impersonation": ["https://stock.example"],
    "dpop_bound_access_tokens": True,
    "tls_client_certificate_bound_access_tokens": True,
    "profile": "none",
}
BESIDE_NOTHING = {"jwks_uri": "https://app.example.com/jwks.json"}
"""Does not go with `jwks`."""
ASKED_FOR = {"sector_identifier_uri"}
"""Whoever sets it has it looked at (`tests/authentication/test_sectors.py`)."""
BY_CERTIFICATE: dict[str, Any] = {
    "tls_client_auth_subject_dn": "CN=app,O=Example",
    "tls_client_auth_san_dns": "app.example.com",
    "tls_client_auth_san_uri": "https://app.example.com",
    "tls_client_auth_san_ip": "192.0.2.1",
    "tls_client_auth_san_email": "app@example.com",
}
"""Each without the others, and with its method alone."""


async def make(boss: Actor, **settings: Any) -> Any:
    return await boss.done("POST", "/clients", {"id": "app", "name": "App", **settings})


@line("Registration", "`initiate_login_uri` is stored")
async def test_every_setting_is_kept_and_shown_and_null_sets_its_default(world: World) -> None:
    apart = BESIDE_NOTHING.keys() | BY_CERTIFICATE.keys() | ASKED_FOR
    assert EVERYTHING.keys() | apart == NAMES
    world.scopes("stock:read", audience="https://stock.example")
    boss = await acting.admin(world)
    made = await make(boss, **EVERYTHING)
    assert {name: made[name] for name in EVERYTHING} == EVERYTHING
    shown = await boss.done("GET", "/clients/app")
    assert {name: shown[name] for name in EVERYTHING} == EVERYTHING
    (listed,) = (await boss.done("GET", "/clients", params={"q": "App"}))["items"]
    assert listed == shown
    empty = await boss.done("PATCH", "/clients/app", dict.fromkeys(NAMES))
    defaults = ClientSettings().model_dump(mode="json")
    assert {name: empty[name] for name in NAMES} == defaults
    alone = await boss.done("PATCH", "/clients/app", BESIDE_NOTHING)
    assert {name: alone[name] for name in BESIDE_NOTHING} == BESIDE_NOTHING
    for name, value in BY_CERTIFICATE.items():
        one = {**dict.fromkeys(BY_CERTIFICATE), "token_endpoint_auth_method": "tls_client_auth"}
        changed = await boss.done("PATCH", "/clients/app", {**one, name: value})
        assert changed[name] == value
    await boss.done("PATCH", "/clients/app", dict.fromkeys(NAMES))
    with world.change() as session:
        client = session.get(Client, "app")
        assert client is not None
        assert client.settings is None


async def test_a_client_without_settings_is_shown_with_the_defaults(world: World) -> None:
    boss = await acting.admin(world)
    made = await make(boss)
    defaults = ClientSettings().model_dump(mode="json")
    assert {name: made[name] for name in NAMES} == defaults
    assert (defaults["pkce"], defaults["id_token_signed_response_alg"]) == ("required", "RS256")
    assert defaults["first_party"] is False


BAD: list[tuple[dict[str, Any], set[str]]] = [
    ({"redirect_uris": CALLBACK}, {"/redirect_uris"}),
    ({"redirect_uris": [CALLBACK, "http://app.example.com/"]}, {"/redirect_uris/1"}),
    ({"redirect_uris": ["JaVaScRiPt:alert(1)"]}, {"/redirect_uris/0"}),
    ({"redirect_uris": [CALLBACK, CALLBACK]}, {"/redirect_uris"}),
    ({"redirect_uris": [f"{CALLBACK}?code=1"]}, {"/redirect_uris/0"}),
    ({"redirect_uris": [f"{CALLBACK}#x"]}, {"/redirect_uris/0"}),
    ({"redirect_uris": [None]}, {"/redirect_uris/0"}),
    ({"redirect_uris": [CALLBACK + "?" + "a" * 2000]}, {"/redirect_uris/0"}),
    ({"redirect_uris": [f"https://a.example/{n}" for n in range(51)]}, {"/redirect_uris"}),
    ({"post_logout_redirect_uris": ["data:text/html,x"]}, {"/post_logout_redirect_uris/0"}),
    ({"logo_uri": "javascript:alert(1)"}, {"/logo_uri"}),
    ({"client_uri": "DATA:text/html,x"}, {"/client_uri"}),
    ({"policy_uri": "http://app.example.com/"}, {"/policy_uri"}),
    ({"tos_uri": "https://app.example.com/\u202e"}, {"/tos_uri"}),
    ({"initiate_login_uri": "http://127.0.0.1/login"}, {"/initiate_login_uri"}),
    ({"request_uris": ["vbscript:x"]}, {"/request_uris/0"}),
    ({"contacts": ["a\nb"]}, {"/contacts/0"}),
    ({"token_exchange": {"https://a.example": "*"}}, {"/token_exchange/https:~1~1a.example"}),
    ({"contacts": ["\u202etxt"]}, {"/contacts/0"}),
    ({"token_endpoint_auth_method": "none"}, {"/token_endpoint_auth_method"}),
    ({"token_endpoint_auth_method": "client_secret_jwt"}, {"/token_endpoint_auth_method"}),
    ({"response_types": ["code", "code"]}, {"/response_types"}),
    ({"response_types": ["token"]}, {"/response_types/0"}),
    ({"backchannel_logout_uri": "javascript:x"}, {"/backchannel_logout_uri"}),
    ({"id_token_signed_response_alg": "none"}, {"/id_token_signed_response_alg"}),
    ({"request_object_signing_alg": "HS256"}, {"/request_object_signing_alg"}),
    ({"sector_identifier_uri": "http://127.0.0.1/s.json"}, {"/sector_identifier_uri"}),
    ({"default_acr_values": ["loa3"]}, {"/default_acr_values/0"}),
    ({"default_max_age": -1}, {"/default_max_age"}),
    ({"default_max_age": True}, {"/default_max_age"}),
    ({"first_party": "yes"}, {"/first_party"}),
    ({"lifetimes": {"access_token": 0}}, {"/lifetimes/access_token"}),
    ({"claims": {"profile": {"groups": "x"}}}, {"/claims"}),
    ({"claims": {"profile": {"Sub ": "x"}}}, {"/claims"}),
    ({"claims": {"profile": {"email_verified": "x"}}}, {"/claims"}),
    ({"claims": {"profile": {"age_VERIFIED": "x"}}}, {"/claims"}),
    ({"claims": {"profile": {"email": "x"}}}, {"/claims"}),
    ({"profile": "fapi3"}, {"/profile"}),
    ({"token_endpoint_auth_method": "private_key_jwt"}, {"/token_endpoint_auth_method"}),
    ({"token_endpoint_auth_method": "workload_identity"}, {"/workloads"}),
    ({"workloads": {"https://cluster.example": "x"}}, {"/workloads"}),
    ({"workloads": {"https://cluster.example": ""}}, {"/workloads/https:~1~1cluster.example"}),
    ({"jwks": JWKS, **BESIDE_NOTHING}, {"/jwks_uri"}),
    *(
        ({"token_endpoint_auth_method": "tls_client_auth", f"tls_client_auth_{name}": value},
         {f"/tls_client_auth_{name}"})
        for name, value in (
            ("subject_dn", "app"), ("subject_dn", "CN="), ("subject_dn", " "),
            ("subject_dn", "cn=app, o=Example"), ("subject_dn", "/O=Example/CN=app"),
            ("san_ip", "app.example.com"), ("san_ip", "192.0.2.0/24"), ("san_dns", ""),
        )
    ),
    ({"no_such": 1}, {"/no_such"}),
]  # fmt: skip


@line("Registration", "Fragments are refused, and `initiate_login_uri` by http")
async def test_what_cannot_be_is_refused_and_says_where(world: World) -> None:
    boss = await acting.admin(world)
    await make(boss)
    before = await boss.done("GET", "/clients/app")
    for settings, where in BAD:
        made = await boss("POST", "/clients", {"name": "X", **settings})
        assert pointers(made) == where, settings
        assert pointers(await boss("PATCH", "/clients/app", settings)) == where, settings
    assert await boss.done("GET", "/clients/app") == before


async def test_only_public_keys_are_registered_and_no_private_one_is_repeated(
    world: World,
) -> None:
    boss = await acting.admin(world)
    small = {"kty": "RSA", "n": "w" * 171, "e": "AQAB"}
    private = EC.as_dict(private=True)
    wrong: list[Any] = [
        {},
        {"keys": {}},
        {"keys": []},
        {"keys": [PUBLIC], "more": 1},
        {"keys": [private]},
        {"keys": [ED.as_dict(private=True)]},
        {"keys": [OctKey.generate_key(256).as_dict(private=True)]},
        {"keys": [{**PUBLIC, "k": "AAAA"}]},
        {"keys": [PUBLIC, PUBLIC]},
        {"keys": [{**PUBLIC, "kid": str(n)} for n in range(11)]},
        {"keys": [{**PUBLIC, "alg": "HS256"}]},
        {"keys": [{**PUBLIC, "alg": "none"}]},
        {"keys": [{**PUBLIC, "use": "enc"}]},
        {"keys": [{**PUBLIC, "x": PUBLIC["y"]}]},
        {"keys": [{**PUBLIC, "kid": 1}]},
        {"keys": [small]},
        {"keys": ["key"]},
        {"keys": [{**PUBLIC, "x5c": ["A" * 20_000]}]},
        *({"keys": [{**PUBLIC, "x5c": x5c}]} for x5c in ([], "A", ["A"], ["AAAA"], [1], [OTHERS])),
        [],
    ]
    for jwks in wrong:
        answer = await boss("POST", "/clients", {"name": "X", "jwks": jwks})
        assert {where.split("/")[1] for where in pointers(answer)} == {"jwks"}, jwks
        assert "not act on it" not in answer.text, jwks
        assert str(private["d"]) not in answer.text
    right = {"keys": [PUBLIC, ED.as_dict(private=False)]}
    answer = await boss.done("POST", "/clients", {"name": "X", "jwks": right})
    assert answer["jwks"] == right


async def test_the_names_of_rfc_7591_are_taken_and_shown_beside_ours(world: World) -> None:
    boss = await acting.admin(world)
    made = await boss.done(
        "POST", "/clients", {"client_name": "App", "scope": "introspect account"}
    )
    path = f"/clients/{made['id']}"
    assert (made["name"], made["client_name"], made["client_id"]) == ("App", "App", made["id"])
    assert (made["scopes"], made["scope"]) == (["introspect", "account"], "introspect account")
    patch = {"client_name": "Other", "scope": "account"}
    changed = await boss.done("PATCH", path, patch)
    assert (changed["name"], changed["scopes"]) == ("Other", ["account"])
    for both in ({"name": "A", "client_name": "B"}, {"scopes": ["account"], "scope": "introspect"}):
        problem(await boss("PATCH", path, both), 422)
    assert pointers(await boss("POST", "/clients", {"scope": "account"})) == {"/name"}
    assert pointers(await boss("PATCH", path, {"client_name": None})) == {"/client_name"}
    assert (await boss.done("PATCH", path, {"scope": ""}))["scopes"] == []


async def test_a_patch_changes_members_of_objects(world: World) -> None:
    boss = await acting.admin(world)
    await make(boss, claims={"profile": {"department": "dept", "team": "team"}, "email": {}})
    patched = await boss.done(
        "PATCH", "/clients/app", {"claims": {"profile": {"team": None, "room": "room"}}}
    )
    assert patched["claims"] == {"profile": {"department": "dept", "room": "room"}, "email": {}}
    assert pointers(await boss("PATCH", "/clients/app", {"claims": {"profile": {"sub": "x"}}}))
    await boss.done("PATCH", "/clients/app", {"lifetimes": {"id_token": 60}})
    gone = await boss.done("PATCH", "/clients/app", {"claims": None, "lifetimes": {}})
    assert (gone["claims"], gone["lifetimes"]) == ({}, {"id_token": 60})


async def test_grants_is_grant_types_under_its_former_name(world: World) -> None:
    boss = await acting.admin(world)
    made = await make(boss, grants=["password"])
    assert made["grants"] == made["grant_types"] == ["password"]
    both = {"grants": ["password"], "grant_types": ["refresh_token"]}
    problem(await boss("PATCH", "/clients/app", both), 422)
    one = await boss.done("PATCH", "/clients/app", {"grants": ["refresh_token"]})
    assert one["grant_types"] == ["refresh_token"]
    same = {"grants": ["password"], "grant_types": ["password"], "redirect_uris": [CALLBACK]}
    assert (await boss.done("PATCH", "/clients/app", same))["grants"] == ["password"]


async def test_a_client_uses_exactly_the_method_it_is_registered_for(world: World) -> None:
    boss = await acting.admin(world)
    made = await make(boss, grant_types=["client_credentials"])
    caller = Caller("app", made["client_secret"])
    form = {"grant_type": "client_credentials"}

    async def by_basic() -> Any:
        return await world.api.post("/token", data=form, headers=caller.basic)

    await world.act(caller)
    assert (await by_basic()).status_code == 200
    await boss.done("PATCH", "/clients/app", {"token_endpoint_auth_method": "client_secret_post"})
    said = refused(await by_basic(), 401, "invalid_client")
    assert said == "the client is registered to authenticate by client_secret_post"
    await world.act(caller)
    await boss.done("PATCH", "/clients/app", {"token_endpoint_auth_method": "client_secret_basic"})
    assert (await by_basic()).status_code == 200
    refused(await world.token(caller, **form), 401, "invalid_client")
    told = refused(await world.token(Caller("app", "wrong"), **form), 401, "invalid_client")
    assert "basic" not in told


async def test_who_proves_itself_by_its_key_has_no_secrets(world: World) -> None:
    boss = await acting.admin(world)
    made = await make(boss, grant_types=["client_credentials"])
    by_key = {"token_endpoint_auth_method": "private_key_jwt", "jwks": JWKS}
    await boss.done("PATCH", "/clients/app", by_key)
    caller = Caller("app", made["client_secret"])
    refused(await world.token(caller, grant_type="client_credentials"), 401, "invalid_client")
    problem(await boss("POST", "/clients/app/secrets"), 409)


async def test_a_setting_takes_effect_at_once(world: World) -> None:
    boss = await acting.admin(world)
    made = await make(boss, grant_types=["client_credentials"])
    await world.act(Caller("app", made["client_secret"]))
    await boss.done("PATCH", "/clients/app", {"default_max_age": 60})
    await world.services.feed.catch_up()
    remembered = await world.services.clients.get("app")
    assert remembered is not None
    assert remembered.settings.default_max_age == 60


async def test_what_a_newer_version_stored_is_kept_and_what_a_rule_forbids_by_now_is_shown(
    world: World,
) -> None:
    boss = await acting.admin(world)
    await make(boss)
    older = {"redirect_uris": ["http://app.example.com/"], "from_a_newer_version": [1]}
    world.change_client("app", settings=older)
    shown = await boss.done("GET", "/clients/app")
    assert shown["redirect_uris"] == older["redirect_uris"]
    await boss.done("PATCH", "/clients/app", {"name": "Renamed"})
    await boss.done("PATCH", "/clients/app", {"redirect_uris": [CALLBACK]})
    with world.change() as session:
        client = session.get(Client, "app")
        assert client is not None
        assert client.settings == {"redirect_uris": [CALLBACK], "from_a_newer_version": [1]}
        changes.record(session, "client.changed", "app")
    await world.services.feed.catch_up()
    remembered = await world.services.clients.get("app")
    assert remembered is not None
    assert remembered.settings.redirect_uris == (CALLBACK,)


async def test_the_audit_has_what_a_setting_was_and_is(world: World) -> None:
    boss = await acting.admin(world)
    await make(boss, redirect_uris=[CALLBACK])
    await boss.done("PATCH", "/clients/app", {"redirect_uris": None, "default_max_age": 1})
    (event,) = await world.events("client.updated")
    assert event.detail["before"] == {"redirect_uris": [CALLBACK], "default_max_age": None}
    assert event.detail["after"] == {"redirect_uris": None, "default_max_age": 1}


@pytest.mark.parametrize(
    ("given", "scope"),
    [({"first_party": True}, None), ({"claims": {"a": {"b": "c"}}}, "users:read")],
)
async def test_settings_that_give_more_are_given_by_whoever_holds_it(
    world: World, given: dict[str, Any], scope: str | None
) -> None:
    clerk = await acting.clerk(world, "clients:read", "clients:write")
    problem(await clerk("POST", "/clients", {"name": "X", **given}), 403)
    mine = await clerk.done("POST", "/clients", {"name": "Mine"})
    problem(await clerk("PATCH", f"/clients/{mine['id']}", given), 403)
    boss = await acting.admin(world)
    await make(boss, **given)
    for change in ({"redirect_uris": ["https://evil.example/"]}, dict.fromkeys(given)):
        problem(await clerk("PATCH", "/clients/app", change), 403)
    problem(await clerk("POST", "/clients/app/secrets"), 403)
    problem(await clerk("DELETE", "/clients/app"), 403)
    if scope:
        more = await acting.clerk(world, "clients:write", scope, username="more")
        await more.done("PATCH", f"/clients/{mine['id']}", given)


async def test_ten_thousand_redirect_uris_are_refused_in_a_few_words(world: World) -> None:
    boss = await acting.admin(world)
    many = [f"h:{n}" for n in range(6_000)]
    answer = await boss("POST", "/clients", {"name": "X", "redirect_uris": many})
    problem(answer, 422)
    assert len(answer.content) < 10_000
    many = [f"https://a.example/{n}" for n in range(10_000)]
    problem(await boss("POST", "/clients", {"name": "X", "redirect_uris": many}), 413)
