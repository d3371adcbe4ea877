"""Certificates: believed from whoever says so, of another subject or authority, for something else,
out of date; and tokens and refresh tokens that are used without the one that they are bound to."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from identity.settings import Settings
from tests.attacks.rules import without
from tests.certificates import DAY, SERVER, Authority, Issued, by_itself, jwk
from tests.holding import NO_PROOF, Holder, challenge, new_key
from tests.transport import served
from tests.world import PASSWORD, Caller, World, bearer, granted, refused

OURS = "identity.authentication.certificates"
BEARER = "identity.authentication.bearer"
PROXY = "127.0.0.1"
NOBODY = (401, "invalid_client")
LOGIN = {"grant_type": "password", "username": "ada", "password": PASSWORD}

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def settings(
    make_settings: Callable[..., Settings], authority: Authority, tmp_path: Path
) -> Settings:
    ca = tmp_path / "clients.pem"
    ca.write_bytes(authority.own.pem)
    named = {"trusted_proxies": PROXY, "certificate_proxies": PROXY}
    return make_settings(**named, certificate_ca=ca)


@pytest.fixture
async def stranger(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who reaches the service beside its proxy."""
    transport = served(world.app, client=("10.9.9.9", 4711))
    issuer = world.services.settings.issuer
    async with httpx.AsyncClient(transport=transport, base_url=issuer) as client:
        yield client


def client_of(world: World, **settings: object) -> Caller:
    caller = world.client("shop")
    world.change_client("shop", settings=settings)
    return Caller(caller.id, None)


async def ask(world: World, held: Issued | None, **form: str) -> httpx.Response:
    said = {"client_id": "shop", "grant_type": "client_credentials"} | form
    return await world.api.post("/token", data=said, headers=held.headers if held else {})


def by_name(world: World) -> None:
    client_of(
        world,
        token_endpoint_auth_method="tls_client_auth",
        tls_client_auth_subject_dn="CN=shop,O=Example",
    )


@without(f"{OURS}:Certificates.of", "if not request.scope.get(MAY_NAME_CERTIFICATES):", "if False:")
@without(
    "identity.http.proxies:Proxies.handed_on", "peer is not None and self.trusts(peer)", "True"
)
async def test_a_stranger_says_whose_certificate_it_has(
    world: World, authority: Authority, stranger: httpx.AsyncClient
) -> None:
    by_name(world)
    held = authority.issue()
    granted(await ask(world, held))
    form = {"client_id": "shop", "grant_type": "client_credentials"}
    refused(await stranger.post("/token", data=form, headers=held.headers), *NOBODY)


@without(f"{OURS}:Certificates._by_name", "self._check_issuers(certificate)", "pass")
async def test_another_authority_gives_the_same_name(world: World, authority: Authority) -> None:
    by_name(world)
    granted(await ask(world, authority.issue()))
    for held in (
        Authority("CN=Other").issue(),
        Authority().issue(),
        by_itself("CN=shop,O=Example"),
    ):
        refused(await ask(world, held), *NOBODY)


@without(
    f"{OURS}:Certificates._by_name",
    "if not subject_names.fits(client.settings, certificate.parsed):",
    "if False:",
)
async def test_another_clients_certificate(world: World, authority: Authority) -> None:
    by_name(world)
    refused(await ask(world, authority.issue("CN=till,O=Example")), *NOBODY)


@without(f"{OURS}:_for_clients", "if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:", "if False:")
async def test_a_certificate_for_servers(world: World, authority: Authority) -> None:
    by_name(world)
    refused(await ask(world, authority.issue(usage=[SERVER])), *NOBODY)


@without(
    f"{OURS}:Certificates._check_issuers",
    "fromtimestamp(now(), UTC)",
    "fromtimestamp(now() - 7200, UTC)",
)
async def test_a_certificate_that_has_expired(world: World, authority: Authority) -> None:
    by_name(world)
    refused(await ask(world, authority.issue(ends=-timedelta(hours=1))), *NOBODY)


@without(
    f"{OURS}:Certificates._by_registration",
    "if not parsed.not_valid_before_utc <= moment <= parsed.not_valid_after_utc:",
    "if False:",
)
async def test_a_certificate_of_ones_own_that_has_expired(world: World) -> None:
    held = by_itself(begins=-2 * DAY, ends=-DAY)
    method = {"token_endpoint_auth_method": "self_signed_tls_client_auth"}
    client_of(world, **method, jwks={"keys": [jwk(held, whole=True)]})
    refused(await ask(world, held), *NOBODY)


@without(
    f"{BEARER}:BearerAuthentication.__call__",
    "_check_certificate(request, live.known.bound)",
    "pass",
)
@without(
    f"{BEARER}:_check_certificate",
    "if certificate is None or certificate.x5t != wanted:",
    "if certificate is None:",
)
async def test_a_stolen_token_without_its_certificate(world: World) -> None:
    world.user("ada")
    client_of(world, tls_client_certificate_bound_access_tokens=True)
    world.change_client("shop", type="public")
    held, thief = by_itself(), by_itself()
    token = granted(await ask(world, held, **LOGIN))["access_token"]
    for stolen in (thief.headers, {}):
        answer = await world.api.get("/users/me", headers=bearer(token) | stolen)
        assert answer.status_code == 401
    answer = await world.api.get("/users/me", headers=bearer(token) | held.headers)
    assert answer.status_code == 200


@without(f"{BEARER}:BearerAuthentication.__call__", "_check_certificate(request, bound)", "pass")
async def test_a_token_that_is_bound_to_both_with_its_key_alone(world: World) -> None:
    world.user("ada")
    client_of(world, tls_client_certificate_bound_access_tokens=True)
    world.change_client("shop", type="public")
    held, here = by_itself(), Holder(world)
    headers = {"dpop": here.key.proof("POST", here.token_endpoint)} | held.headers
    answer = await world.api.post("/token", data=LOGIN | {"client_id": "shop"}, headers=headers)
    challenge(await here.ask("/users/me", granted(answer)["access_token"]), "invalid_token")


@without(
    "identity.oauth.grants.refresh_token:RefreshToken._check_binding",
    "if held is None or not request.client.confidential:",
    "if held is None:",
)
async def test_a_public_clients_refresh_token_with_another_certificate(world: World) -> None:
    world.user("ada")
    client_of(world, tls_client_certificate_bound_access_tokens=True)
    world.change_client("shop", type="public")
    first = granted(await ask(world, by_itself(), **LOGIN))["refresh_token"]
    again = {"grant_type": "refresh_token", "refresh_token": first}
    refused(await ask(world, by_itself(), **again), 400, "invalid_grant")


@without(
    "identity.authentication.dpop:DPoP._read",
    'if client.settings.profile == "fapi2" and proof.alg not in FAPI2_ALGORITHMS:',
    "if False:",
)
async def test_a_proof_by_rs256_where_the_profile_forbids_that(world: World) -> None:
    world.user("ada")
    shop = world.client("shop")
    world.change_client("shop", settings={"profile": "fapi2"})
    refused(await Holder(world, shop, new_key("RS256")).token(**LOGIN), *NO_PROOF)
