"""Clients that prove who they are by a signature of their own (RFC 7523), at every endpoint."""

import asyncio
import base64
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey

from identity.authentication import foreign, key_sets
from identity.authentication.assertions import ASSERTION_TYPE
from identity.clock import frozen, now, utcnow
from identity.records.audit.refusals import EACH
from tests.elsewhere import Answer, elsewhere
from tests.rounds import together
from tests.signing import ALGORITHMS, Signer, from_now, key_set, said
from tests.world import Caller, World, basic, claims_of, granted, refused

OWN = {"grant_type": "client_credentials"}
ISSUER = "http://127.0.0.1:8000"
BOTH = pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


@pytest.fixture(autouse=True)
def _still() -> Iterator[None]:
    """However long a busy machine takes, no assertion grows old on the way."""
    with frozen():
        yield


def registered(world: World, client_id: str = "shop", **settings: Any) -> str:
    world.client(client_id, public=False, scopes=["introspect"])
    method = {"token_endpoint_auth_method": "private_key_jwt"}
    world.change_client(client_id, settings=method | settings)
    return client_id


def proof(assertion: str, **more: str) -> dict[str, str]:
    return {"client_assertion": assertion, "client_assertion_type": ASSERTION_TYPE, **more}


def issuer_of(world: World) -> str:
    return world.services.settings.issuer


async def ask(world: World, assertion: str, path: str = "/token", **more: str) -> httpx.Response:
    form = OWN | {"token": "x"} | proof(assertion, **more)
    return await world.api.post(path, data=form)


async def reasons(world: World) -> list[str]:
    events = await world.events("client.authentication")
    return [": ".join(str(e.detail[n]) for n in ("why", "more") if n in e.detail) for e in events]


@SQLITE
@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
async def test_a_client_proves_itself_by_its_key(world: World, alg: str, path: str) -> None:
    signer = Signer(alg)
    client = registered(world, jwks=signer.jwks)
    answer = await ask(world, signer.sign(said(client, issuer_of(world))), path)
    assert answer.status_code == 200, answer.text
    if path == "/token":
        assert claims_of(answer.json()["access_token"])["sub"] == client


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@SQLITE
async def test_authlib_proves_itself(world: World) -> None:
    """Its assertions are an hour long, and for the address of the token endpoint, unless told."""
    key = ECKey.generate_key("P-256", {"kid": "authlib"})
    client = registered(world, jwks={"keys": [key.as_dict(private=False)]})
    claims = {"iat": int(now()), "exp": int(now()) + 240}
    method = PrivateKeyJWT(issuer_of(world), claims=claims, headers={"kid": "authlib"}, alg="ES256")
    auth = ClientAuth(client_id=client, client_secret=key, auth_method=method)
    form = urlencode({"grant_type": "client_credentials"})
    _, headers, body = auth.prepare("POST", f"{issuer_of(world)}/token", {**FORM}, form)
    answer = await world.api.post("/token", content=body, headers=headers)
    assert claims_of(answer.json()["access_token"])["client_id"] == client


BAD: dict[str, dict[str, Any]] = {
    "aud is not": {"aud": "https://other.example"},
    "aud is not ": {"aud": ["http://127.0.0.1:8000"]},
    "aud is not  ": {"aud": ["http://127.0.0.1:8000", "https://other.example"]},
    "aud is not   ": {"aud": None},
    "aud is not    ": {"aud": "http://127.0.0.1:8000/token"},
    "aud is not     ": {"aud": "http://127.0.0.1:8000/"},
    "exp is missing": {"exp": None},
    "exp is missing ": {"exp": "tomorrow"},
    "exp is missing  ": {"exp": True},
    "expired": {"exp": -300},
    "good for too long": {"exp": 3600},
    "nbf lies ahead": {"nbf": 61},
    "iat lies ahead": {"iat": 61},
    "nbf is not": {"nbf": "now"},
    "iss or sub": {"sub": None},
    "iss or sub ": {"iss": None},
    "iss or sub  ": {"iss": ["shop"]},
    "iss and sub": {"sub": "other"},
    "iss and sub ": {"iss": "other"},
    "jti is missing": {"jti": None},
    "jti is missing ": {"jti": ""},
    "jti is missing  ": {"jti": ["x"]},
    "jti is missing   ": {"jti": "x" * 256},
}


@SQLITE
@pytest.mark.parametrize("why", BAD)
async def test_what_is_not_for_us_and_now_is_refused(world: World, why: str) -> None:
    signer = Signer()
    registered(world, jwks=signer.jwks)
    wrong = from_now(BAD[why])
    assert issuer_of(world) == ISSUER
    answer = await ask(world, signer.sign(said("shop", ISSUER, **wrong)), client_id="shop")
    refused(answer, 401, "invalid_client")
    (reason,) = await reasons(world)
    assert reason.startswith(why.strip())
    # Whoever cannot sign for the client hears nothing.
    silent = await ask(world, Signer().sign(said("shop", ISSUER, **wrong)), client_id="shop")
    assert refused(silent, 401, "invalid_client") == "Client authentication failed"


@SQLITE
async def test_clocks_may_differ_a_little(world: World) -> None:
    signer = Signer()
    client = registered(world, jwks=signer.jwks)
    at = int(now())
    for changed in ({"nbf": at + 8}, {"iat": at + 8}, {"exp": at + 299}, {"nbf": at - 3600}):
        granted(await ask(world, signer.sign(said(client, ISSUER, **changed))))
    granted(await ask(world, signer.sign(said(client, ISSUER, iat=None, exp=at + 60.5))))


def none_alg(claims: dict[str, Any]) -> str:
    return unsigned({"alg": "none", "typ": "JWT"}, claims) + "."


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = (json.dumps(part).encode() for part in (header, claims))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@SQLITE
async def test_algorithms_are_the_keys_and_never_the_tokens(world: World) -> None:
    """`none`, and HMAC with the public key as a secret (CVE-2026-11800)."""
    signer = Signer("RS256")
    client = registered(world, jwks=signer.jwks)
    claims = said(client, ISSUER)
    refused(await ask(world, none_alg(claims)), 401, "invalid_client")
    secrets = (json.dumps(signer.jwk).encode(), signer._key.as_pem(private=False))
    for secret in secrets:
        text = unsigned({"alg": "HS256", "typ": "JWT", "kid": "one"}, claims)
        mac = hmac.digest(secret, text.encode(), "sha256")
        forged = f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        refused(await ask(world, forged), 401, "invalid_client")
    # The same key, by an algorithm that it is not for.
    other = Signer("PS256")
    other._key = signer._key
    refused(await ask(world, other.sign(claims, alg="PS256")), 401, "invalid_client")
    assert await reasons(world) == [
        *["an algorithm that we do not take: alg is 'none'"],
        *["an algorithm that we do not take: alg is 'HS256'"] * 2,
        "no key of theirs is the one that signed",
    ]


@SQLITE
async def test_a_client_may_be_held_to_one_algorithm(world: World) -> None:
    one, two = Signer("ES256", "one"), Signer("RS256", "two")
    jwks = key_set(one, two)
    client = registered(world, jwks=jwks, token_endpoint_auth_signing_alg="ES256")
    granted(await ask(world, one.sign(said(client, ISSUER))))
    refused(await ask(world, two.sign(said(client, ISSUER))), 401, "invalid_client")


@SQLITE
@pytest.mark.parametrize(
    "typ",
    ["at+jwt", "application/at+jwt", "logout+jwt", "dpop+jwt", "token-introspection+jwt",
     "statuslist+jwt", "oauth-authz-req+jwt", "secevent+jwt", ""],
)  # fmt: skip
async def test_another_kind_of_token_is_no_assertion(world: World, typ: str) -> None:
    signer = Signer()
    client = registered(world, jwks=signer.jwks)
    answer = await ask(world, signer.sign(said(client, ISSUER), typ=typ))
    refused(answer, 401, "invalid_client")
    assert "another kind of token" in (await reasons(world))[0]


@SQLITE
@pytest.mark.parametrize(
    "typ", [None, "JWT", "jwt", "application/jwt", "client-authentication+jwt"]
)
async def test_a_type_may_be_left_out_or_say_nothing(world: World, typ: str | None) -> None:
    signer = Signer()
    client = registered(world, jwks=signer.jwks)
    granted(await ask(world, signer.sign(said(client, ISSUER), typ=typ)))


@SQLITE
async def test_tokens_of_ours_are_no_assertions(world: World) -> None:
    """Nor do they become any where a client registers our own keys."""
    ours = (await world.api.get("/.well-known/jwks.json")).json()
    client = registered(world, jwks=ours)
    world.client("app", scopes=["*"])
    caller = Caller("app", world.secret("app"))
    world.user()
    tokens = await world.log_in(client=caller, scope="openid")
    for token in (tokens["access_token"], tokens["id_token"], tokens["refresh_token"]):
        refused(await ask(world, token, client_id=client), 401, "invalid_client")


@SQLITE
async def test_an_assertion_is_no_token_of_ours(world: World) -> None:
    signer = Signer()
    client = registered(world, jwks=signer.jwks)
    assertion = signer.sign(said(client, ISSUER))
    assert not await world.active(assertion)
    assert (await world.me(assertion)).status_code == 401


@SQLITE
async def test_keys_that_a_token_brings_along_are_not_looked_at(world: World) -> None:
    signer, thief = Signer(), Signer()
    client = registered(world, jwks=signer.jwks)
    async with elsewhere(None) as server:
        server.answers["/jwks"] = Answer(json.dumps(thief.jwks).encode())
        url = f"http://127.0.0.1:{server.port}/jwks"
        brought = {"jwk": thief.jwk, "jku": url, "x5u": url, "x5c": ["MIIB"]}
        answer = await ask(world, thief.sign(said(client, ISSUER), **brought))
        refused(answer, 401, "invalid_client")
        granted(await ask(world, signer.sign(said(client, ISSUER), **brought)))
        assert not server.asked


@SQLITE
@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"b64": True}, {"crit": []}])
async def test_what_has_to_be_understood_and_is_not_is_refused(
    world: World, header: dict[str, Any]
) -> None:
    signer = Signer()
    client = registered(world, jwks=signer.jwks)
    part = {"alg": "ES256", "kid": "one", **header}
    text = unsigned(part, said(client, ISSUER))
    refused(await ask(world, f"{text}.{'A' * 86}"), 401, "invalid_client")
    assert "which we do not take" in (await reasons(world))[0]


@SQLITE
@pytest.mark.parametrize(
    "text", ["x", "a.b", "a.b.c.d", "..", "e30.e30.", "é.e30.e30", "a" * 9000, "e30.e30.e30"]
)
async def test_nonsense_is_refused_in_the_same_words(world: World, text: str) -> None:
    registered(world, jwks=Signer().jwks)
    for more in ({}, {"client_id": "shop"}, {"client_id": "nobody"}):
        answer = await ask(world, text, **more)
        assert refused(answer, 401, "invalid_client") == "Client authentication failed"


@SQLITE
async def test_kid_may_be_missing_where_one_key_fits(world: World) -> None:
    one, two = Signer("ES256", "one"), Signer("RS256", "two")
    client = registered(world, jwks=key_set(one, two))
    granted(await ask(world, one.sign(said(client, ISSUER), kid=None)))
    granted(await ask(world, two.sign(said(client, ISSUER), kid=None)))
    refused(await ask(world, one.sign(said(client, ISSUER), kid="two")), 401, "invalid_client")
    refused(await ask(world, one.sign(said(client, ISSUER), kid="no")), 401, "invalid_client")
    registered(world, "two", jwks=key_set(Signer(kid="a"), Signer(kid="b")))
    several = Signer(kid=None).sign(said("two", ISSUER))
    refused(await ask(world, several), 401, "invalid_client")
    assert (await reasons(world))[-1].startswith("several keys fit")


@BOTH
async def test_an_assertion_proves_once_and_never_again(world: World) -> None:
    signer = Signer()
    client = registered(world, jwks=signer.jwks)
    assertion = signer.sign(said(client, ISSUER))
    answers = await asyncio.gather(*(ask(world, assertion) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 9
    for path in ("/token", "/introspect", "/revoke"):
        refused(await ask(world, assertion, path), 401, "invalid_client")
    assert set(await reasons(world)) == {"replayed: its jti has been used"}
    # The jti is the client's own: another may have used the same.
    registered(world, "other", jwks=signer.jwks)
    claims = claims_of(assertion)
    granted(await ask(world, signer.sign(said("other", ISSUER, jti=claims["jti"]))))


@BOTH
async def test_an_assertion_seen_by_one_replica_is_seen_by_all(world: World, settings: Any) -> None:
    from identity.app import create_app
    from tests.serving import running
    from tests.transport import served

    signer = Signer()
    client = registered(world, jwks=signer.jwks)
    assertion = signer.sign(said(client, ISSUER))
    granted(await ask(world, assertion))
    other = create_app(settings)
    async with (
        running(other),
        httpx.AsyncClient(transport=served(other), base_url=ISSUER) as api,
    ):
        refused(await api.post("/token", data=OWN | proof(assertion)), 401, "invalid_client")
        granted(await api.post("/token", data=OWN | proof(signer.sign(said(client, ISSUER)))))


@SQLITE
async def test_what_is_refused_for_another_reason_is_not_used_up(world: World) -> None:
    signer = Signer()
    client = registered(world, jwks=signer.jwks)
    claims = said(client, ISSUER)
    refused(await ask(world, Signer().sign(claims)), 401, "invalid_client")
    refused(await ask(world, signer.sign(claims | {"aud": "x"})), 401, "invalid_client")
    granted(await ask(world, signer.sign(claims)))


@SQLITE
async def test_a_client_uses_the_method_that_it_is_registered_for_and_no_other(
    world: World,
) -> None:
    signer = Signer()
    client = registered(world, jwks=signer.jwks)
    caller = Caller(client, world.secret(client))  # one that was left over
    for answer in (
        await world.api.post("/token", data=OWN | caller.post),
        await world.api.post("/token", data=OWN, headers=caller.basic),
        await world.api.post("/token", data=OWN | {"client_id": client}),
    ):
        refused(answer, 401, "invalid_client")
    for method in (None, "client_secret_basic", "client_secret_post"):
        settings = {"jwks": signer.jwks, "token_endpoint_auth_method": method}
        world.change_client(client, settings=settings)
        refused(await ask(world, signer.sign(said(client, ISSUER))), 401, "invalid_client")
    world.client("public", public=True)
    world.change_client("public", settings={"jwks": signer.jwks})
    refused(await ask(world, signer.sign(said("public", ISSUER))), 401, "invalid_client")


@SQLITE
async def test_two_methods_at_once_are_refused(world: World) -> None:
    signer = Signer()
    client = registered(world, jwks=signer.jwks)
    caller = Caller(client, world.secret(client))
    for path in ("/token", "/introspect", "/revoke"):
        form = OWN | {"token": "x"} | proof(signer.sign(said(client, ISSUER)))
        both = await world.api.post(path, data=form, headers=caller.basic)
        refused(both, 400, "invalid_request")
        posted = await world.api.post(path, data=form | caller.post)
        refused(posted, 400, "invalid_request")
    bearer = {"authorization": f"Bearer {signer.sign(said(client, ISSUER))}"}
    form = {"token": "x"} | proof(signer.sign(said(client, ISSUER)))
    refused(await world.api.post("/introspect", data=form, headers=bearer), 400, "invalid_request")


@SQLITE
async def test_basic_credentials_of_nobody_are_no_second_method(world: World) -> None:
    """Swagger UI's Authorize button sends them where its client fields were left empty."""
    signer = Signer()
    client = registered(world, jwks=signer.jwks)
    form = OWN | proof(signer.sign(said(client, ISSUER)))
    granted(await world.api.post("/token", data=form, headers=basic("", "")))


@SQLITE
async def test_halves_of_a_proof_are_refused(world: World) -> None:
    signer = Signer()
    client = registered(world, jwks=signer.jwks)
    whole = proof(signer.sign(said(client, ISSUER)), client_id=client)
    for missing in ("client_assertion", "client_assertion_type"):
        form = OWN | {name: value for name, value in whole.items() if name != missing}
        refused(await world.api.post("/token", data=form), 400, "invalid_request")
    saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"
    form = OWN | whole | {"client_assertion_type": saml}
    refused(await world.api.post("/token", data=form), 400, "invalid_request")


@SQLITE
async def test_a_client_id_that_contradicts_is_refused(world: World) -> None:
    signer = Signer()
    client = registered(world, jwks=signer.jwks)
    registered(world, "other", jwks=signer.jwks)
    granted(await ask(world, signer.sign(said(client, ISSUER)), client_id=client))
    assertion = signer.sign(said(client, ISSUER))
    refused(await ask(world, assertion, client_id="other"), 401, "invalid_client")


@SQLITE
async def test_only_clients_set_so_may_name_the_token_endpoint(world: World) -> None:
    signer = Signer()
    client = registered(world, jwks=signer.jwks, assertion_audience="token_endpoint")
    granted(await ask(world, signer.sign(said(client, f"{ISSUER}/token"))))
    granted(await ask(world, signer.sign(said(client, f"{ISSUER}/token")), "/revoke"))
    refused(await ask(world, signer.sign(said(client, ISSUER))), 401, "invalid_client")


@SQLITE
async def test_one_gone_or_disabled_and_one_whose_keys_changed_are_refused(world: World) -> None:
    signer, next_one = Signer(), Signer()
    client = registered(world, jwks=signer.jwks)
    granted(await ask(world, signer.sign(said(client, ISSUER))))
    settings = {"token_endpoint_auth_method": "private_key_jwt", "jwks": next_one.jwks}
    world.change_client(client, settings=settings)
    refused(await ask(world, signer.sign(said(client, ISSUER))), 401, "invalid_client")
    granted(await ask(world, next_one.sign(said(client, ISSUER))))
    world.change_client(client, status="disabled")
    refused(await ask(world, next_one.sign(said(client, ISSUER))), 401, "invalid_client")
    refused(await ask(world, next_one.sign(said("nobody", ISSUER))), 401, "invalid_client")
    assert (await reasons(world))[-2:] == ["disabled", "unknown"]


@SQLITE
async def test_a_client_enabled_a_moment_ago_need_not_prove_itself_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = list[float]()

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("identity.oauth.token.sleep", wait)
    signer = Signer()
    client = registered(world, jwks=signer.jwks)
    world.change_client(client, good_from=utcnow() + timedelta(seconds=1))
    granted(await ask(world, signer.sign(said(client, ISSUER))))
    assert len(waited) == 1


# --- Keys at an address ------------------------------------------------------------------------


@SQLITE
async def test_keys_are_fetched_and_fetched_again_for_one_that_is_new(world: World) -> None:
    old, new = Signer(kid="old"), Signer(kid="new")
    async with elsewhere(None) as server:
        client = registered(world, jwks_uri=f"http://127.0.0.1:{server.port}/jwks")
        server.answers["/jwks"] = Answer(json.dumps(old.jwks).encode())
        with frozen() as clock:

            def assertion(signer: Signer) -> str:
                at = int(clock.at)
                return signer.sign(said(client, ISSUER, iat=at, exp=at + 60))

            for _ in range(3):
                granted(await ask(world, assertion(old)))
            assert len(server.asked) == 1
            server.answers["/jwks"] = Answer(json.dumps(key_set(old, new)).encode())
            granted(await ask(world, assertion(new)))
            assert len(server.asked) == 2
            # Whoever invents names does not make us ask all the time.
            for n in range(5):
                refused(await ask(world, assertion(Signer(kid=f"x{n}"))), 401, "invalid_client")
            assert len(server.asked) == 2
            clock.tick(key_sets.COOLDOWN)
            refused(await ask(world, assertion(Signer(kid="y"))), 401, "invalid_client")
            assert len(server.asked) == 3
            # A key that was taken away is forgotten when its time is over.
            server.answers["/jwks"] = Answer(json.dumps(new.jwks).encode())
            clock.tick(301)
            refused(await ask(world, assertion(old)), 401, "invalid_client")


@SQLITE
async def test_keys_outlive_a_short_silence_of_their_address(world: World) -> None:
    signer = Signer()
    async with elsewhere(None) as server:
        client = registered(world, jwks_uri=f"http://127.0.0.1:{server.port}/jwks")
        with frozen() as clock:

            def assertion() -> str:
                at = int(clock.at)
                return signer.sign(said(client, ISSUER, iat=at, exp=at + 60))

            # From the beginning there is nothing to go by, and nobody is asked all the time.
            for _ in range(5):
                refused(await ask(world, assertion()), 401, "invalid_client")
            assert len(server.asked) == 1
            clock.tick(key_sets.PAUSE)
            server.answers["/jwks"] = Answer(b"<html>")
            refused(await ask(world, assertion()), 401, "invalid_client")
            clock.tick(key_sets.PAUSE)
            server.answers["/jwks"] = Answer(json.dumps(signer.jwks).encode())
            granted(await ask(world, assertion()))
            for broken in (Answer(b"", 500), Answer(b"{}"), Answer(b'{"keys": 1}')):
                server.answers["/jwks"] = broken
                clock.tick(301)
                granted(await ask(world, assertion()))
            clock.tick(key_sets.HONOURED + 1)
            refused(await ask(world, assertion()), 401, "invalid_client")


@SQLITE
async def test_a_stranger_s_key_in_the_set_harms_nobody(world: World) -> None:
    signer = Signer()
    strange = [
        {"kty": "oct", "k": "AAAA", "kid": "one"}, {"kty": "EC", "crv": "P-521", "kid": "z"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"}, 7, {}, {"kty": ["EC"]},
    ]  # fmt: skip
    async with elsewhere(None) as server:
        client = registered(world, jwks_uri=f"http://127.0.0.1:{server.port}/jwks")
        jwks = {"keys": [*strange, signer.jwk]}
        server.answers["/jwks"] = Answer(json.dumps(jwks).encode())
        granted(await ask(world, signer.sign(said(client, ISSUER))))


# --- What is told of it ------------------------------------------------------------------------


@SQLITE
async def test_the_metadata_say_what_there_is(world: World) -> None:
    document = (await world.api.get("/.well-known/openid-configuration")).json()
    for endpoint in ("token", "revocation", "introspection"):
        assert "private_key_jwt" in document[f"{endpoint}_endpoint_auth_methods_supported"]
        algorithms = document[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
        assert set(algorithms) == set(ALGORITHMS)


@SQLITE
async def test_the_audit_knows_who_acted(world: World) -> None:
    signer = Signer()
    client = registered(world, jwks=signer.jwks)
    refused(await ask(world, Signer().sign(said(client, ISSUER))), 401, "invalid_client")
    (event,) = await world.events("client.authentication")
    assert (event.client_id, event.outcome) == (client, "refused")
    assert event.detail["why"] == "the signature is not the key's"


@SQLITE
async def test_why_their_keys_cannot_be_had_is_on_record_by_its_beginning(world: World) -> None:
    nowhere = ".".join(["no-such-host"] * 30)
    client = registered(world, jwks_uri=f"https://{nowhere}/jwks")
    refused(await ask(world, Signer().sign(said(client, ISSUER))), 401, "invalid_client")
    (event,) = await world.events("client.authentication")
    assert event.detail == {"why": "their keys cannot be had", "more": nowhere[:300]}


@SQLITE
async def test_nobody_fills_the_audit_with_reasons_of_their_own(world: World) -> None:
    for n in range(40):
        for header in ({"alg": f"none{n}"}, {"alg": "ES256", "typ": f"t{n}"}):
            text = unsigned(header, said("shop", ISSUER))
            refused(await ask(world, f"{text}.AAAA"), 401, "invalid_client")
    assert len(await world.events("client.authentication")) == 2 * EACH


@SQLITE  # on the other they wait for the shared query
async def test_assertions_of_one_round_are_checked_in_a_row(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = Signer("ES256")
    client = registered(world, jwks=signer.jwks)
    assertions = [signer.sign(said(client, issuer_of(world))) for _ in range(4)]
    assert (await ask(world, assertions.pop())).status_code == 200
    db, order = world.services.db, list[str]()

    def noted(what: str, work: Any) -> Any:
        return lambda *given, **named: (order.append(what), work(*given, **named))[1]

    monkeypatch.setattr(foreign, "read", noted("read", foreign.read))
    monkeypatch.setattr(foreign.Unverified, "by", noted("checked", foreign.Unverified.by))
    monkeypatch.setattr(db, "apply", noted("spent", db.apply))
    address = f"{issuer_of(world)}/token"
    asked = [httpx.Request("POST", address, data=OWN | proof(each)) for each in assertions]
    assert await together(world.app, asked, wait=True) == [200] * 3
    assert order == ["read"] * 3 + ["checked"] * 3 + ["spent"] * 3
