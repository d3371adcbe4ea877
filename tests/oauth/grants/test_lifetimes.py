"""Clients whose things last less than others': `lifetimes`, at every grant, and never more than the
settings of the service allow."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from identity.clock import Frozen, frozen, utcnow
from identity.directory.issuers import editing
from identity.oauth.grants.device_code import DeviceCode
from identity.oauth.grants.jwt_bearer import JwtBearer
from identity.oauth.grants.token_exchange import ACCESS_TOKEN, TokenExchange
from identity.opaque import digest, mint
from identity.tokens.devices import user_codes
from identity.tokens.devices.table import LIFE, PREFIX, DeviceAuthorization
from identity.tokens.sessions.table import LoginSession
from tests.browsing import CALLBACK, Browser, Flow, code_client
from tests.signing import Signer, said
from tests.world import Caller, World, claims_of, granted, refused

SHORT = {"access_token": 60, "id_token": 70, "refresh_token": 80, "session": 200}
ENDLESS = dict.fromkeys(SHORT, 366 * 24 * 3600)
DEVICE = DeviceCode.grant_type


@pytest.fixture(autouse=True)
def clock() -> Iterator[Frozen]:
    with frozen() as still:
        yield still


def lives(token: str) -> int:
    claims = claims_of(token)
    return int(claims["exp"] - claims["iat"])


def check(tokens: dict[str, Any], access: int = 60, id_token: int = 70) -> dict[str, Any]:
    assert tokens["expires_in"] == access == lives(tokens["access_token"])
    if "id_token" in tokens:
        assert lives(tokens["id_token"]) == id_token
    return tokens


def limited(world: World, lifetimes: dict[str, int], **fields: Any) -> Caller:
    client = world.client(**fields)
    world.change_client(client.id, settings={"lifetimes": lifetimes})
    return client


def session_of(world: World, tokens: dict[str, Any]) -> LoginSession:
    sid = claims_of(tokens["access_token"])["sid"]
    with world.change() as session:
        return session.exec(select(LoginSession).where(LoginSession.id == sid)).one()


async def test_a_login_and_its_refreshes_last_as_long_as_the_client_may(
    world: World, clock: Frozen
) -> None:
    world.user()
    client = limited(world, SHORT)
    tokens = check(await world.log_in(client=client))
    began = session_of(world, tokens)
    assert began.expires_at - began.created_at == timedelta(seconds=200)
    assert began.access_expires_at - began.created_at == timedelta(seconds=60)
    clock.tick(79)
    tokens = check(granted(await world.refresh(tokens["refresh_token"], client)))
    clock.tick(80)  # unused too long
    refused(await world.refresh(tokens["refresh_token"], client), 400, "invalid_grant")


async def test_a_session_ends_however_busy_it_is(world: World, clock: Frozen) -> None:
    world.user()
    client = limited(world, SHORT)
    tokens = await world.log_in(client=client)
    for _ in range(3):
        clock.tick(60)
        tokens = granted(await world.refresh(tokens["refresh_token"], client))
    assert lives(tokens["access_token"]) == 20  # no token outlives its session
    clock.tick(20)
    refused(await world.refresh(tokens["refresh_token"], client), 400, "invalid_grant")


@pytest.mark.parametrize("scope", ["openid", "openid offline_access"])
async def test_codes_and_what_is_refreshed_from_them(
    world: World, clock: Frozen, scope: str
) -> None:
    world.user()
    client = code_client(world, first_party=True, lifetimes=SHORT)
    flow, browser = Flow(world, client), Browser(world.api)
    tokens = check(await flow.tokens(browser, scope=scope))
    clock.tick(60)
    check(granted(await world.refresh(tokens["refresh_token"], client)))
    clock.tick(100)
    # Whoever comes again has signed in again: the session is there for as long as a new one.
    again = check(await flow.tokens(browser, scope=scope))
    expires_at = session_of(world, again).expires_at
    assert expires_at.timestamp() == pytest.approx(clock.at + 200, abs=1)


async def test_a_codes_refresh_token_expires_with_the_session_at_the_latest(
    world: World, clock: Frozen
) -> None:
    world.user()
    client = code_client(world, first_party=True, lifetimes=SHORT | {"refresh_token": 300})
    tokens = await Flow(world, client).tokens(Browser(world.api))
    assert (await world.introspect(tokens["refresh_token"]))["exp"] == int(clock.at) + 200


async def test_a_code_after_the_sessions_end_begins_another_at_the_very_moment(
    world: World, clock: Frozen
) -> None:
    world.user()
    client = code_client(world, first_party=True, lifetimes=SHORT)
    flow, browser = Flow(world, client), Browser(world.api)
    first = session_of(world, await flow.tokens(browser))
    clock.tick(199)
    assert session_of(world, await flow.tokens(browser)).id == first.id
    clock.tick(200)
    second = session_of(world, await flow.tokens(browser))
    assert second.id != first.id and second.expires_at - second.created_at == timedelta(seconds=200)
    with world.change() as session:
        over = session.exec(select(LoginSession).where(LoginSession.id == first.id)).one()
        assert (over.end_reason, over.ended_at) == ("expired", over.expires_at)


async def test_a_code_that_is_good_for_less_takes_nothing_from_the_session(world: World) -> None:
    world.user()
    client = code_client(world, first_party=True, lifetimes=SHORT)
    flow, browser = Flow(world, client), Browser(world.api)
    before = session_of(world, await flow.tokens(browser))
    shorter = {"access_token": 30, "session": 100}
    world.change_client(client.id, settings={"first_party": True, "redirect_uris": [CALLBACK],
                                             "lifetimes": shorter})  # fmt: skip
    tokens = check(await flow.tokens(browser), access=30, id_token=3600)
    after = session_of(world, tokens)
    assert (after.id, after.expires_at) == (before.id, before.expires_at)
    assert after.access_expires_at == before.access_expires_at


async def test_a_device(world: World) -> None:
    ada = world.user()
    client = limited(world, SHORT, public=True, grants=[DEVICE, "refresh_token"])
    code, at = mint(PREFIX), utcnow()
    with world.change() as session:
        session.add(
            DeviceAuthorization(
                digest=digest(code), user_code=user_codes.make(), client_id=client.id,
                scope="openid", expires_at=at + LIFE, due_at=at - timedelta(seconds=60),
                user_id=ada.id, authenticated_at=at, amr=["pwd"], acr="aal1",
            )
        )  # fmt: skip
    form = {"grant_type": DEVICE, "device_code": code}
    tokens = check(granted(await world.token(client, **form)))
    began = session_of(world, tokens)
    assert began.expires_at - began.created_at == timedelta(seconds=200)
    check(granted(await world.refresh(tokens["refresh_token"], client)))


async def test_a_client_of_its_own_and_an_exchange(world: World) -> None:
    stock = "https://stock.example"
    world.scopes("stock:read", audience=stock, role="clerk")
    client = limited(
        world, {"access_token": 60}, grants=["client_credentials", TokenExchange.grant_type],
        scopes=["introspect", "stock:read"], audiences=[stock],
    )  # fmt: skip
    own = check(await world.act(client, scope="stock:read", resource=stock))
    world.change_client(
        client.id,
        settings={"lifetimes": {"access_token": 30}, "token_exchange": {stock: ["*"]}},
    )
    form = {
        "grant_type": TokenExchange.grant_type, "subject_token": own["access_token"],
        "subject_token_type": ACCESS_TOKEN, "resource": stock,
    }  # fmt: skip
    check(granted(await world.token(client, **form)), access=30)


async def test_an_assertion(world: World) -> None:
    world.user("ada")
    signer, elsewhere = Signer(), "https://elsewhere.example"
    ours = world.services.settings.issuer
    with world.change() as session:
        chosen = {"jwks": signer.jwks, "user_match": "username"}
        editing.create(session, issuer=elsewhere, chosen=chosen, own_issuer=ours, held=None)
    client = world.client(grants=[JwtBearer.grant_type], scopes=["*"])
    world.change_client(client.id, settings={"lifetimes": SHORT, "first_party": True})
    assertion = signer.sign(said("x", ours, iss=elsewhere, sub="ada"))
    form = {"grant_type": JwtBearer.grant_type, "assertion": assertion}
    tokens = check(granted(await world.token(client, **form)))
    began = session_of(world, tokens)
    assert began.expires_at - began.created_at == timedelta(seconds=200)


async def test_a_refresh_token_that_stays_what_it_is(world: World, clock: Frozen) -> None:
    """Of the profile fapi2, which does not rotate them."""
    from tests.holding import Holder

    world.user()
    client = world.client()
    settings = {"profile": "fapi2", "dpop_bound_access_tokens": True, "lifetimes": SHORT}
    holder = Holder(world, client)
    tokens = await holder.log_in()
    world.change_client(client.id, settings=settings)
    check(granted(await holder.refresh(tokens["refresh_token"])))
    clock.tick(80)
    refused(await holder.refresh(tokens["refresh_token"]), 400, "invalid_grant")


async def test_no_client_gets_more_than_all_have(world: World) -> None:
    world.user()
    client = code_client(world, first_party=True, lifetimes=ENDLESS)
    tokens = await Flow(world, client).tokens(Browser(world.api), scope="openid offline_access")
    check(tokens, access=900, id_token=3600)
    began = session_of(world, tokens)
    assert began.expires_at - began.created_at == timedelta(days=90)
    (first,) = world.refresh_tokens(began.id)
    assert first.expires_at - first.issued_at == timedelta(days=14)
