"""Clients that prove themselves by a certificate (RFC 8705), of which a proxy tells (RFC 9440)."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from identity.authentication import key_sets
from identity.clock import frozen
from identity.settings import Settings, SettingsError
from tests.certificates import DAY, SERVER, Authority, Issued, by_itself, jwk
from tests.elsewhere import Answer, elsewhere
from tests.transport import served
from tests.world import World, basic, claims_of, granted, refused

OWN = {"grant_type": "client_credentials"}
SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])
PROXY = "127.0.0.1"
NOT_TRUSTED = "no authority that is trusted vouches for the certificate"
OF_ANOTHER = "the certificate names another subject"


@pytest.fixture(autouse=True)
def _still() -> Iterator[None]:
    with frozen():
        yield


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def settings(
    make_settings: Callable[..., Settings], authority: Authority, tmp_path: Path
) -> Settings:
    ca = tmp_path / "clients.pem"
    ca.write_bytes(authority.own.pem)
    return make_settings(
        trusted_proxies=PROXY,
        certificate_proxies=PROXY,
        certificate_ca=ca,
        mtls_address="https://mtls.id.example",
    )


def registered(world: World, client_id: str = "shop", **settings: Any) -> str:
    world.client(client_id, scopes=["introspect"])
    method = {"token_endpoint_auth_method": "tls_client_auth"}
    world.change_client(client_id, settings=method | settings)
    return client_id


def named(world: World, client_id: str = "shop", dn: str = "CN=shop,O=Example") -> str:
    return registered(world, client_id, tls_client_auth_subject_dn=dn)


def self_signed(world: World, client_id: str = "shop", **settings: Any) -> str:
    method = {"token_endpoint_auth_method": "self_signed_tls_client_auth"}
    return registered(world, client_id, **(method | settings))


async def ask(
    world: World, client: str, headers: Any, path: str = "/token", **more: str
) -> httpx.Response:
    form = OWN | {"token": "x", "client_id": client} | more
    return await world.api.post(path, data=form, headers=headers)


async def reasons(world: World) -> list[str]:
    return [event.detail["why"] for event in await world.events("client.authentication")]


# --- tls_client_auth --------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
async def test_a_client_proves_itself_by_its_certificate(
    world: World, authority: Authority, path: str
) -> None:
    client = named(world)
    answer = await ask(world, client, authority.issue().headers, path)
    assert answer.status_code == 200, answer.text
    if path == "/token":
        claims = claims_of(answer.json()["access_token"])
        assert claims["sub"] == client and "cnf" not in claims


@SQLITE
async def test_a_header_that_came_with_a_certificate_proves_nothing_without_it(
    world: World, authority: Authority
) -> None:
    """A client may name itself by Basic credentials without a secret (RFC 6749 §2.3.1)."""
    said = basic(named(world), "")
    for path in ("/token", "/introspect"):
        form = OWN | {"token": "x"}
        proven = await world.api.post(path, data=form, headers=authority.issue().headers | said)
        assert proven.status_code == 200, proven.text
        refused(await world.api.post(path, data=form, headers=said), 401, "invalid_client")


@SQLITE
@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [
        ("san_dns", "Shop.example.com", x509.DNSName("shop.example.com")),
        ("san_uri", "spiffe://example/shop", x509.UniformResourceIdentifier("spiffe://example/shop")),
        ("san_ip", "2001:DB8::7", x509.IPAddress(ip_address("2001:db8::7"))),
        ("san_ip", "192.0.2.7", x509.IPAddress(ip_address("192.0.2.7"))),
        ("san_email", "shop@example.com", x509.RFC822Name("shop@example.com")),
    ],
)  # fmt: skip
async def test_the_name_may_be_an_alternative_one(
    world: World, authority: Authority, setting: str, value: str, name: x509.GeneralName
) -> None:
    client = registered(world, **{f"tls_client_auth_{setting}": value})
    others = (x509.DNSName("other.example.com"), x509.RFC822Name("other@example.com"))
    granted(await ask(world, client, authority.issue("CN=any", *others, name).headers))
    wrong = authority.issue(
        "CN=any", *others, x509.DNSName("*.example.com"), x509.DNSName("shop.example.com.evil.org")
    )
    refused(await ask(world, client, wrong.headers), 401, "invalid_client")
    refused(await ask(world, client, authority.issue("CN=any").headers), 401, "invalid_client")


@SQLITE
async def test_an_alternative_name_of_another_kind_is_another_name(
    world: World, authority: Authority
) -> None:
    client = registered(world, tls_client_auth_san_dns="192.0.2.7")
    issued = authority.issue("CN=192.0.2.7", x509.IPAddress(ip_address("192.0.2.7")))
    refused(await ask(world, client, issued.headers), 401, "invalid_client")


@SQLITE
@pytest.mark.parametrize(
    ("registered_as", "is_named", "fits"),
    [
        ("CN=shop,OU=a+O=Example,C=DE", "CN=shop,OU=a+O=Example,C=DE", True),
        ("CN=a\\,b,O=Example", "CN=a\\,b,O=Example", True),
        ("emailAddress=a@b.example,CN=shop", "1.2.840.113549.1.9.1=a@b.example,CN=shop", True),
        ("CN=shop,O=Example", "O=Example,CN=shop", False),
        ("CN=shop,O=Example", "CN=shop,O=example", False),
        ("CN=shop,O=Example", "CN=shop", False),
        ("CN=shop", "CN=shop,O=Example", False),
        ("CN=shop,O=Example", "CN=shop,OU=x,O=Example", False),
    ],
)
async def test_a_subject_is_compared_whole(
    world: World, authority: Authority, registered_as: str, is_named: str, fits: bool
) -> None:
    client = named(world, dn=registered_as)
    answer = await ask(world, client, authority.issue(is_named).headers)
    assert answer.status_code == (200 if fits else 401), answer.text


@SQLITE
@pytest.mark.parametrize("bytes_of_header", [True, False])
async def test_who_stands_between_may_be_sent_along(
    world: World, authority: Authority, bytes_of_header: bool
) -> None:
    client = named(world)
    issued = Authority("CN=Below", Authority("CN=Middle", authority)).issue()
    headers = dict(issued.headers)
    if not bytes_of_header:
        del headers["client-cert-chain"]
    answer = await ask(world, client, headers)
    assert answer.status_code == (200 if bytes_of_header else 401)


def attacks(authority: Authority) -> dict[str, tuple[Issued, str]]:
    shop = authority.issue()
    beneath = Issued(authority.own.certificate, authority.key)
    posing = Authority("CN=shop,O=Example")
    posing.key, posing._chain = shop.key, (shop,)
    return {
        "expired": (authority.issue(ends=-timedelta(seconds=1)), NOT_TRUSTED),
        "not yet": (authority.issue(begins=timedelta(seconds=1)), NOT_TRUSTED),
        "same subject from another authority": (Authority("CN=Other").issue(), NOT_TRUSTED),
        "same subject from an authority of the same name": (Authority().issue(), NOT_TRUSTED),
        "by itself": (by_itself("CN=shop,O=Example"), NOT_TRUSTED),
        "by a client": (posing.issue(), NOT_TRUSTED),
        "for servers": (authority.issue(usage=[SERVER]), NOT_TRUSTED),
        "for nothing in particular": (authority.issue(usage=[]), NOT_TRUSTED),
        "with something unknown": (authority.issue(critical=True), NOT_TRUSTED),
        "another's": (authority.issue("CN=till,O=Example"), OF_ANOTHER),
        "the authority's own": (beneath, OF_ANOTHER),
    }  # fmt: skip


async def test_no_other_certificate_will_do(world: World, authority: Authority) -> None:
    client = named(world)
    for words, (issued, why) in attacks(authority).items():
        answer = await ask(world, client, issued.headers)
        assert refused(answer, 401, "invalid_client") == "Client authentication failed", words
        assert (await reasons(world))[-1] == why, words
    granted(await ask(world, client, authority.issue().headers))


@SQLITE
async def test_a_certificate_of_another_client_is_that_ones(
    world: World, authority: Authority
) -> None:
    named(world), named(world, "till", "CN=till,O=Example")
    till = authority.issue("CN=till,O=Example")
    granted(await ask(world, "till", till.headers))
    refused(await ask(world, "shop", till.headers), 401, "invalid_client")


# --- self_signed_tls_client_auth --------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False], ids=["x5c", "key"])
@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
async def test_a_client_proves_itself_by_a_certificate_of_its_own(
    world: World, whole: bool, path: str
) -> None:
    own, other = by_itself(), by_itself()
    client = self_signed(
        world, jwks={"keys": [jwk(by_itself(), whole=True), jwk(own, whole=whole)]}
    )
    answer = await ask(world, client, own.headers, path)
    assert answer.status_code == 200, answer.text
    refused(await ask(world, client, other.headers, path), 401, "invalid_client")
    # The same key in another certificate: where that one is registered it is another.
    again = by_itself(key=own.key)
    answer = await ask(world, client, again.headers, path)
    assert answer.status_code == (401 if whole else 200)


@SQLITE
@pytest.mark.parametrize("alg", ["RS256", "EdDSA"])
async def test_its_key_may_be_of_any_kind_that_we_know(world: World, alg: str) -> None:
    made: Any = (
        rsa.generate_private_key(65537, 2048)
        if alg == "RS256"
        else ed25519.Ed25519PrivateKey.generate()
    )
    own = by_itself(key=made)
    client = self_signed(world, jwks={"keys": [jwk(own, alg, whole=False)]})
    granted(await ask(world, client, own.headers))
    refused(await ask(world, client, by_itself().headers), 401, "invalid_client")


@SQLITE
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("begins", "ends"), [(-2 * DAY, -DAY), (DAY, 2 * DAY)])
async def test_its_certificate_has_a_time(
    world: World, whole: bool, begins: timedelta, ends: timedelta
) -> None:
    own = by_itself(begins=begins, ends=ends)
    client = self_signed(world, jwks={"keys": [jwk(own, whole=whole)]})
    refused(await ask(world, client, own.headers), 401, "invalid_client")
    assert await reasons(world) == ["the certificate is expired, or not yet good"]


@SQLITE
async def test_a_certificate_of_a_trusted_authority_is_none_of_its_own(
    world: World, authority: Authority
) -> None:
    client = self_signed(world, jwks={"keys": [jwk(by_itself(), whole=True)]})
    refused(await ask(world, client, authority.issue().headers), 401, "invalid_client")


@SQLITE
async def test_a_new_one_is_found_where_its_keys_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = by_itself(), by_itself()
    async with elsewhere(None) as server:
        address = f"http://127.0.0.1:{server.port}/jwks"
        client = self_signed(world, jwks_uri=address)
        for own in (old, new):
            keys = f'{{"keys": [{json.dumps(jwk(own, whole=True))}]}}'.encode()
            server.answers["/jwks"] = Answer(keys)
            granted(await ask(world, client, own.headers))
        refused(await ask(world, client, old.headers), 401, "invalid_client")
        asked = len(server.asked)
        for _ in range(5):  # whoever invents certificates does not make us ask all the time
            refused(await ask(world, client, by_itself().headers), 401, "invalid_client")
        assert len(server.asked) == asked
    assert key_sets.COOLDOWN > 0


# --- One method a client ----------------------------------------------------------------------


@SQLITE
async def test_who_has_a_certificate_has_nothing_else(world: World, authority: Authority) -> None:
    client, held = named(world), authority.issue().headers
    secret = world.secret(client)
    refused(await ask(world, client, {}), 401, "invalid_client")
    refused(await ask(world, client, {}, client_secret=secret), 401, "invalid_client")
    refused(await ask(world, client, held, client_secret=secret), 401, "invalid_client")
    both = held | basic(client, secret)
    refused(await ask(world, client, both), 401, "invalid_client")
    assertion = {"client_assertion": "a.b.c", "client_assertion_type": "x"}
    refused(await ask(world, client, held, **assertion), 400, "invalid_request")


@SQLITE
async def test_a_certificate_is_no_secret(world: World, authority: Authority) -> None:
    shop = world.client("shop")
    refused(await ask(world, shop.id, authority.issue().headers), 401, "invalid_client")
    granted(await world.token(shop, **OWN))


@SQLITE
async def test_a_client_that_is_gone_or_disabled_is_none(
    world: World, authority: Authority
) -> None:
    client, held = named(world), authority.issue().headers
    granted(await ask(world, client, held))
    world.change_client(client, status="disabled")
    refused(await ask(world, client, held), 401, "invalid_client")
    refused(await ask(world, "nobody", held), 401, "invalid_client")
    assert await reasons(world) == ["disabled", "unknown"]


# --- Whose word counts ------------------------------------------------------------------------


@pytest.mark.parametrize("peer", ["10.9.9.9", "::ffff:10.9.9.9", "2001:db8::1", "127.0.0.2"])
async def test_a_header_from_anybody_else_says_nothing(
    world: World, authority: Authority, peer: str
) -> None:
    client = named(world)
    forged = authority.issue().headers | {"x-forwarded-for": PROXY, "forwarded": f"for={PROXY}"}
    transport = served(world.app, client=(peer, 4711))
    issuer = world.services.settings.issuer
    async with httpx.AsyncClient(transport=transport, base_url=issuer) as stranger:
        for path in ("/token", "/introspect", "/revoke"):
            form = OWN | {"token": "x", "client_id": client}
            answer = await stranger.post(path, data=form, headers=forged)
            refused(answer, 401, "invalid_client")
        # Neither does nonsense do any harm.
        shop = world.client("other")
        answer = await stranger.post(
            "/token", data=OWN | shop.post, headers={"client-cert": "nonsense"}
        )
        granted(answer)


@pytest.mark.parametrize("chosen", [{}, {"trusted_proxies": PROXY}], ids=str)
@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_no_proxy_is_believed_that_is_not_named_for_it(
    make_settings: Callable[..., Settings], authority: Authority, chosen: dict[str, str]
) -> None:
    from identity.app import create_app
    from tests.serving import running

    app = create_app(make_settings(**chosen))
    async with (
        running(app),
        httpx.AsyncClient(transport=served(app), base_url="http://127.0.0.1:8000") as api,
    ):
        world = World(app, api)
        client = named(world)
        refused(await ask(world, client, authority.issue().headers), 401, "invalid_client")
        assert await reasons(world) == ["tls_client_auth is not set up here"]
        document = (await api.get("/.well-known/openid-configuration")).json()
        methods = document["token_endpoint_auth_methods_supported"]
        assert not [name for name in methods if "tls" in name]
        assert document["tls_client_certificate_bound_access_tokens"] is False
        assert "mtls_endpoint_aliases" not in document


def spellings(value: str) -> dict[str, str]:
    inside = value[1:-1]
    return {
        "no colons": inside,
        "one colon": value[:-1],
        "parameters": f"{value};a=1",
        "a list": f"{value}, {value}",
        "a string": f'"{inside}"',
        "url alphabet": value.replace("+", "-").replace("/", "_").replace("A", "-", 1),
        "padding gone": f":{inside.rstrip('=')}:" if inside.endswith("=") else ":AAA:",
        "padding more": f":{inside}=:",
        "unused bits": ":AB==:",
        "space within": f":{inside[:8]} {inside[8:]}:",
        "line within": f":{inside[:8]}\t{inside[8:]}:",
        "empty": "::",
        "nothing": "",
        "PEM": "-----BEGIN CERTIFICATE-----",
        "no certificate": ":AAAA:",
        "more behind it": ":" + base64.b64encode(base64.b64decode(inside) + b"\0").decode() + ":",
        "cut off": ":" + base64.b64encode(base64.b64decode(inside)[:-1]).decode() + ":",
        "too long": ":" + "A" * 9000 + ":",
    }


@SQLITE
async def test_a_header_has_one_spelling(world: World, authority: Authority) -> None:
    client, issued = named(world), authority.issue()
    value = issued.headers["client-cert"]
    granted(await ask(world, client, {"client-cert": f"  {value}  "}))
    for words, spelled in spellings(value).items():
        answer = await ask(world, client, {"client-cert": spelled})
        assert refused(answer, 400, "invalid_request").startswith("Client-Cert: "), words
        chained = {"client-cert": value, "client-cert-chain": spelled}
        if words not in ("a list", "no certificate", "more behind it", "cut off"):
            refused(await ask(world, client, chained), 400, "invalid_request")


@SQLITE
async def test_of_two_headers_none_counts(world: World, authority: Authority) -> None:
    """A proxy that adds its own and leaves the client's would else choose by their order."""
    client = named(world)
    good, other = authority.issue(), authority.issue("CN=till")
    for first, second in ((good, other), (other, good), (good, good)):
        headers = [("client-cert", each.headers["client-cert"]) for each in (first, second)]
        answer = await ask(world, client, headers)
        refused(answer, 400, "invalid_request")
    below = Authority("CN=Below", Authority("CN=Middle")).issue()
    twice = [
        *good.headers.items(),
        *[("client-cert-chain", below.headers["client-cert-chain"])] * 2,
    ]
    refused(await ask(world, client, twice), 400, "invalid_request")


@SQLITE
async def test_a_chain_is_bounded_and_helps_nobody_else(world: World, authority: Authority) -> None:
    client, stranger = named(world), Authority("CN=Stranger")
    issued = stranger.issue()
    root = {"client-cert-chain": f":{base64.b64encode(stranger.own.der).decode()}:"}
    refused(await ask(world, client, issued.headers | root), 401, "invalid_client")
    deep = authority
    for n in range(6):
        deep = Authority(f"CN=Level {n}", deep)
    refused(await ask(world, client, deep.issue().headers), 401, "invalid_client")
    good = authority.issue().headers
    many = {"client-cert-chain": ", ".join([":AAAA:"] * 9)}
    refused(await ask(world, client, good | many), 400, "invalid_request")


# --- What is told of it, and what is refused --------------------------------------------------


@SQLITE
async def test_the_metadata_name_the_methods_and_where_they_are_asked_for(world: World) -> None:
    document = (await world.api.get("/.well-known/openid-configuration")).json()
    methods = {"tls_client_auth", "self_signed_tls_client_auth"}
    for endpoint in ("token", "revocation", "introspection"):
        assert methods <= set(document[f"{endpoint}_endpoint_auth_methods_supported"])
    assert document["tls_client_certificate_bound_access_tokens"] is True
    for name, address in document["mtls_endpoint_aliases"].items():
        path = document[name].removeprefix(document["issuer"])
        assert address == f"https://mtls.id.example{path}"


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"certificate_proxies": PROXY}, "is not among IDENTITY_TRUSTED_PROXIES"),
        ({"certificate_proxies": "10.0.0.0/8", "trusted_proxies": "10.1.0.0/16"}, "is not among"),
        ({"certificate_proxies": "::1", "trusted_proxies": "0.0.0.0/0"}, "is not among"),
        ({"certificate_proxies": "proxy", "trusted_proxies": PROXY}, "names are not looked up"),
        ({"certificate_ca": "/nowhere"}, "without IDENTITY_CERTIFICATE_PROXIES"),
        ({"mtls_address": "https://a.example"}, "without IDENTITY_CERTIFICATE_PROXIES"),
        (
            {"certificate_proxies": PROXY, "trusted_proxies": PROXY, "certificate_ca": "/nowhere"},
            "IDENTITY_CERTIFICATE_CA: /nowhere is no PEM file",
        ),
        (
            {"certificate_proxies": PROXY, "trusted_proxies": PROXY, "mtls_address": "http://a"},
            "IDENTITY_MTLS_ADDRESS: must be an https address",
        ),
    ],
)
def test_settings_that_would_open_a_door_or_none_are_refused(
    chosen: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        Settings.of(**chosen)
