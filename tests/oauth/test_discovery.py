"""The metadata (RFC 8414) and the key set (RFC 7517), for whoever caches them."""

from collections.abc import Callable
from typing import Any

import httpx
import jwt as pyjwt
import pytest

from identity.app import create_app
from identity.keys.material import prepare
from identity.keys.rotation import rotate
from tests.conformance.lines import line
from tests.serving import running
from tests.world import World


@pytest.fixture
def id_token_algorithms() -> str:
    """One line of keys."""
    return ""


JWKS = "/.well-known/jwks.json"
METADATA = "/.well-known/oauth-authorization-server"
RESOURCE = "/.well-known/oauth-protected-resource"
FINGER = "/.well-known/webfinger"
SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


@SQLITE
async def test_the_metadata_names_addresses_that_answer(
    api: httpx.AsyncClient, settings: Any
) -> None:
    answer = await api.get(METADATA)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert document["issuer"] == settings.issuer
    assert document["grant_types_supported"] == [
        "password",
        "refresh_token",
        "client_credentials",
        "authorization_code",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    ]
    assert document["response_types_supported"] == ["code"]
    assert "none" not in document["introspection_endpoint_auth_methods_supported"]
    for name, method in (
        ("token_endpoint", "POST"),
        ("device_authorization_endpoint", "POST"),
        ("introspection_endpoint", "POST"),
        ("revocation_endpoint", "POST"),
        ("jwks_uri", "GET"),
        ("service_documentation", "GET"),
        ("userinfo_endpoint", "GET"),
        ("end_session_endpoint", "GET"),
        ("authorization_endpoint", "GET"),
    ):
        assert document[name].startswith(settings.issuer)
        assert (await api.request(method, document[name])).status_code in (200, 303, 400, 401), name


@SQLITE
async def test_an_issuer_with_a_path_has_its_metadata_behind_the_well_known_name(
    make_settings: Callable[..., Any],
) -> None:
    app = create_app(make_settings(issuer="https://id.example/tenant/"))
    async with (
        running(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="https://id.example"
        ) as api,
    ):
        openid = "/.well-known/openid-configuration"
        for path in (METADATA, f"{METADATA}/tenant", openid, f"{openid}/tenant"):
            document = (await api.get(path)).json()
            assert document["issuer"] == "https://id.example/tenant/"
            assert document["token_endpoint"] == "https://id.example/tenant/token"
        assert (await api.get(f"{METADATA}/other")).status_code == 404
        for path in (RESOURCE, f"{RESOURCE}/tenant"):
            document = (await api.get(path)).json()
            assert document["resource"] == "https://id.example/tenant/"
            assert document["authorization_servers"] == ["https://id.example/tenant/"]


@SQLITE
async def test_the_api_says_where_tokens_for_it_come_from(
    api: httpx.AsyncClient, settings: Any
) -> None:
    """RFC 9728."""
    answer = await api.get(RESOURCE)
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert document["resource"] == settings.issuer
    assert document["authorization_servers"] == [settings.issuer]
    assert document["bearer_methods_supported"] == ["header"]
    assert {"users:read", "account"} <= set(document["scopes_supported"])
    assert "openid" not in document["scopes_supported"]


@SQLITE
async def test_metadata_and_keys_may_be_cached_and_asked_for_again_by_etag(
    make_settings: Callable[..., Any],
) -> None:
    app = create_app(make_settings(jwks_max_age="7m"))
    async with (
        running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as api,
    ):
        for path in (METADATA, JWKS):
            first = await api.get(path)
            etag = first.headers["etag"]
            assert first.headers["cache-control"] == "public, max-age=420"
            assert etag.startswith('"') and etag.endswith('"')
            for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
                again = await api.get(path, headers={"if-none-match": known})
                assert (again.status_code, again.content) == (304, b""), known
                assert again.headers["etag"] == etag
                assert again.headers["cache-control"] == "public, max-age=420"
                assert "content-length" not in again.headers
            for other in ('"other"', "nonsense", ""):
                again = await api.get(path, headers={"if-none-match": other})
                assert (again.status_code, again.content) == (200, first.content)
            head = await api.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["etag"] == etag
            assert head.headers["content-length"] == str(len(first.content))


@line("Discovery", "After a rotation the new key and the old are both there")
async def test_a_new_key_changes_the_key_set_and_its_etag_at_once(
    world: World, settings: Any
) -> None:
    first = await world.api.get(JWKS)
    assert first.headers["content-type"] == "application/jwk-set+json"
    with world.change() as session:
        rotate(session, settings, prepare("EdDSA", world.services.master))
    second = await world.api.get(JWKS, headers={"if-none-match": first.headers["etag"]})
    assert second.status_code == 200
    assert second.headers["etag"] != first.headers["etag"]
    assert [key["alg"] for key in second.json()["keys"]] == ["ES256", "EdDSA"]
    # Published, it does not sign yet.
    world.user()
    token = (await world.log_in())["access_token"]
    assert pyjwt.get_unverified_header(token)["kid"] == first.json()["keys"][0]["kid"]


@SQLITE
@pytest.mark.parametrize(
    "resource",
    ["acct:ada@example.com", "acct:nobody@example.com", "mailto:ada@example.com", "{issuer}",
     "{issuer}/ada"],
)  # fmt: skip
async def test_who_asks_about_an_account_is_led_to_the_issuer(
    api: httpx.AsyncClient, settings: Any, resource: str
) -> None:
    """RFC 7033, as Tailscale asks, from wherever. Whether there is such an account is not told."""
    resource = resource.format(issuer=settings.issuer)
    link = {"rel": "http://openid.net/specs/connect/1.0/issuer", "href": settings.issuer}
    asked = {"resource": resource, "rel": link["rel"]}
    answer = await api.get(FINGER, params=asked, headers={"origin": "https://app.example"})
    assert answer.headers["content-type"] == "application/jrd+json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json() == {"subject": resource, "links": [link]}
    assert (await api.get(FINGER, params={"resource": resource})).json() == answer.json()
    several = [("resource", resource), ("rel", "avatar"), ("rel", link["rel"])]
    assert (await api.get(FINGER, params=several)).json() == answer.json()
    other = await api.get(FINGER, params={"resource": resource, "rel": "avatar"})
    assert other.json() == {"subject": resource, "links": []}


@SQLITE
@pytest.mark.parametrize(
    ("query", "status"),
    [("", 400), ("resource=", 400), ("resource=ada", 400), ("resource=acct:a%20b@c", 400),
     ("resource=acct:a@b&resource=acct:c@d", 400), ("resource=acct:ada", 404),
     ("resource=https://elsewhere.example/ada", 404), ("resource=http://testserver.evil/", 404)],
)  # fmt: skip
async def test_what_is_no_account_is_no_resource(
    api: httpx.AsyncClient, query: str, status: int
) -> None:
    answer = await api.get(f"{FINGER}?{query}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
