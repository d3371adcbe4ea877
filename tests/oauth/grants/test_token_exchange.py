"""A token for another (RFC 8693): who may, for what, for how long, and who is said to act."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from identity.clock import frozen
from identity.directory.access.table import Scope
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.oauth.grants.token_exchange import ACCESS_TOKEN, MOST_ACTORS, TokenExchange
from identity.store import changes
from identity.tokens.exchanged import ExchangedToken
from identity.tokens.sessions import lifecycle
from identity.verifier import Verifier
from identity.verifier.gate.claims import VerifiedClaims
from tests.browsing import Browser
from tests.transport import served
from tests.world import Caller, World, bearer, claims_of, granted, refused

EXCHANGE = TokenExchange.grant_type
ORDERS, STOCK, BILLS = (f"https://{name}.example" for name in ("orders", "stock", "bills"))
SHOP_GRANTS = ("password", "refresh_token", "client_credentials")
INVALID = (400, "invalid_request")
Document = dict[str, Any]


@pytest.fixture
def ada(world: World) -> User:
    """A clerk: she may all that there is at the three services."""
    ada = world.user("ada")
    world.scopes("orders:read", audience=ORDERS, role="clerk")
    world.scopes("stock:read", "stock:write", audience=STOCK, role="keeper")
    world.scopes("bills:read", audience=BILLS, role="teller")
    with world.change() as session:
        accounts.set_roles(
            session, accounts.get(session, ada.id), ["clerk", "keeper", "teller"], None
        )
    return ada


@pytest.fixture
def shop(world: World, ada: User) -> Caller:
    return world.client("shop", grants=SHOP_GRANTS, audiences=[ORDERS])


@pytest.fixture
def orders(world: World, ada: User) -> Caller:
    """A service that is sent tokens for ORDERS and calls STOCK."""
    return service(world, "orders", ORDERS, {STOCK: ["*"]})


def service(
    world: World,
    client_id: str,
    audience: str,
    policy: Mapping[str, list[str]],
    *,
    impersonates: tuple[str, ...] = (),
    **options: Any,
) -> Caller:
    options = {"grants": (EXCHANGE, "client_credentials"), "scopes": ["*"], **options}
    caller = world.client(client_id, audiences=[audience], **options)
    settings = {"token_exchange": policy, "token_exchange_impersonation": list(impersonates)}
    world.change_client(client_id, settings=settings)
    return caller


async def login(world: World, shop: Caller, **form: str) -> str:
    form = {"scope": "orders:read", "resource": ORDERS, **form}
    return str((await world.log_in(client=shop, **form))["access_token"])


def asks(token: str, target: str = STOCK, **more: str) -> dict[str, str]:
    return {
        "grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ACCESS_TOKEN,
        "audience": target, **more,
    }  # fmt: skip


async def exchanged(world: World, caller: Caller, token: str, **form: str) -> Document:
    return granted(await world.token(caller, **asks(token, **form)))


async def refuses(
    world: World, caller: Caller, form: Mapping[str, Any], status: int, code: str
) -> str:
    return refused(await world.token(caller, **form), status, code)


async def test_a_service_calls_the_next_one_in_its_callers_name(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    token = await login(world, shop)
    document = await exchanged(world, orders, token, scope="stock:read")
    assert document["issued_token_type"] == ACCESS_TOKEN
    assert document["token_type"] == "Bearer" and document["scope"] == "stock:read"
    assert "refresh_token" not in document and "id_token" not in document
    said, before = claims_of(document["access_token"]), claims_of(token)
    assert said["sub"] == ada.id and said["username"] == "ada" and said["aud"] == STOCK
    assert said["client_id"] == "orders" and said["act"] == {"sub": "orders"}
    assert said["jti"] != before["jti"]
    for name in ("sid", "auth_time", "amr", "acr"):
        assert said[name] == before[name]
    assert 0 < document["expires_in"] <= before["exp"] - before["iat"]
    told = await world.introspect(document["access_token"])
    assert told["act"] == {"sub": "orders"} and told["subject_type"] == "user"
    # The stock itself may pass it on, and who acted before is not lost.
    stock = service(world, "stock", STOCK, {BILLS: ["bills:read"]})
    third = await exchanged(world, stock, document["access_token"], target=BILLS)
    said = claims_of(third["access_token"])
    assert said["act"] == {"sub": "stock", "act": {"sub": "orders"}}
    assert (said["sub"], said["sid"], third["scope"]) == (ada.id, before["sid"], "bills:read")
    (first, _) = [each for each in await world.events("token.issued") if each.detail.get("actor")]
    assert (first.subject, first.client_id) == (ada.id, "orders")
    assert first.detail["actor"] == "orders" and first.detail["audience"] == STOCK
    assert (await world.me(document["access_token"])).status_code == 401
    headers = bearer(document["access_token"])
    assert (await world.api.get("/userinfo", headers=headers)).status_code == 401


async def test_the_verifier_says_who_acts(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    token = (await exchanged(world, orders, await login(world, shop)))["access_token"]
    issuer = world.services.settings.issuer
    async with Verifier(issuer, STOCK, revocations=None, transport=served(world.app)) as verifier:
        claims: VerifiedClaims = await verifier.verify(token)
        assert (claims.subject, claims.actor, claims.is_client) == (ada.id, "orders", False)


async def test_only_whom_the_token_is_for_or_was_issued_to_may_exchange_it(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    bills = service(world, "bills", BILLS, {STOCK: ["*"]})
    token = await login(world, shop)
    await refuses(world, bills, asks(token), *INVALID)
    await refuses(world, shop, asks(token), 400, "unauthorized_client")
    world.change_client(
        "shop", grants=[*SHOP_GRANTS, EXCHANGE], settings={"token_exchange": {STOCK: ["*"]}}
    )
    own = await exchanged(world, shop, token)
    assert claims_of(own["access_token"])["act"] == {"sub": "shop"}
    public = service(world, "public", ORDERS, {STOCK: ["*"]}, public=True)
    await refuses(world, public, asks(token), 400, "unauthorized_client")
    wrong = Caller("orders", "wrong")
    await refuses(world, wrong, asks(token), 401, "invalid_client")


async def test_the_policy_names_the_resources_and_nothing_else_opens_one(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    token, issuer = await login(world, shop), world.services.settings.issuer
    for target in (BILLS, ORDERS, issuer, f"{issuer}/userinfo", "https://no.example", "x y"):
        await refuses(world, orders, asks(token, target), 400, "invalid_target")
    form = asks(token)
    del form["audience"]
    await refuses(world, orders, form, 400, "invalid_target")
    granted(await world.token(orders, **form, resource=STOCK))
    await refuses(world, orders, asks(token, resource=BILLS), 400, "invalid_target")
    # Its own, even if somebody has named it in the database.
    world.scopes("ours:read", audience=issuer)
    world.change_client("orders", settings={"token_exchange": {issuer: ["*"], STOCK: ["*"]}})
    await refuses(world, orders, asks(token, issuer), 400, "invalid_target")


async def test_resource_and_audience_may_repeat_but_a_token_is_for_one(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    world.change_client("orders", settings={"token_exchange": {STOCK: ["*"], BILLS: ["*"]}})
    form = [*asks(await login(world, shop)).items(), *orders.post.items()]

    async def answer(*more: tuple[str, str]) -> Any:
        data = "&".join(f"{name}={value}" for name, value in [*form, *more])
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return await world.api.post("/token", content=data, headers=headers)

    same = await answer(("audience", STOCK), ("resource", STOCK), ("resource", STOCK))
    assert claims_of(granted(same)["access_token"])["aud"] == STOCK
    refused(await answer(("audience", BILLS)), 400, "invalid_target")
    refused(await answer(("resource", BILLS)), 400, "invalid_target")
    refused(await answer(("scope", "stock:read"), ("scope", "stock:read")), *INVALID)
    refused(await answer(("subject_token", "x")), *INVALID)


async def test_scopes_are_asked_and_the_resources_and_the_policys_and_the_users(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    token = await login(world, shop)
    every = "stock:read stock:write"
    assert (await exchanged(world, orders, token))["scope"] == every
    assert (await exchanged(world, orders, token, scope="*"))["scope"] == every
    wide = "openid orders:read users:read account stock:write"
    assert (await exchanged(world, orders, token, scope=wide))["scope"] == "stock:write"
    await refuses(world, orders, asks(token, scope="orders:read"), 400, "invalid_scope")
    await refuses(world, orders, asks(token, scope="no:such"), 400, "invalid_scope")
    world.change_client(
        "orders", settings={"token_exchange": {STOCK: ["stock:read", "bills:read"]}}
    )
    assert (await exchanged(world, orders, token))["scope"] == "stock:read"
    world.change_client("orders", scopes=["stock:write"])
    await refuses(world, orders, asks(token), 400, "invalid_scope")
    world.change_client("orders", scopes=["*"])
    token = await login(world, shop)
    document = await exchanged(world, orders, token)
    with world.change() as session:
        accounts.set_roles(session, accounts.get(session, ada.id), ["clerk"], None)
    await refuses(world, orders, asks(token), 400, "invalid_scope")
    assert (await world.introspect(document["access_token"]))["scope"] == ""


async def test_for_the_resource_that_it_has_already_a_token_never_gains(
    world: World, ada: User, shop: Caller
) -> None:
    stock = service(world, "stock", STOCK, {STOCK: ["*"]})
    world.change_client("shop", audiences=[ORDERS, STOCK])
    token = await login(world, shop, scope="stock:read", resource=STOCK)
    assert (await exchanged(world, stock, token))["scope"] == "stock:read"
    await refuses(world, stock, asks(token, scope="stock:write"), 400, "invalid_scope")


async def test_it_lives_no_longer_than_the_token_that_it_was_got_for(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    with frozen() as clock:
        token = await login(world, shop)
        expires = claims_of(token)["exp"]
        clock.tick(800)
        document = await exchanged(world, orders, token)
        assert claims_of(document["access_token"])["exp"] == expires
        assert document["expires_in"] == expires - int(clock.at)
        clock.tick(expires - clock.at)
        await refuses(world, orders, asks(token), *INVALID)
        assert not await world.active(document["access_token"])


@pytest.mark.parametrize("end", ["session", "user", "shop", "orders", "itself"])
async def test_it_ends_with_the_session_its_user_its_clients_and_by_itself(
    world: World, ada: User, shop: Caller, orders: Caller, end: str
) -> None:
    login_ = await world.log_in(client=shop, scope="orders:read", resource=ORDERS)
    token = login_["access_token"]
    got = (await exchanged(world, orders, token))["access_token"]
    place = claims_of(got)["status"]["status_list"]
    assert not await bit(world, place)
    if end == "session":
        await world.revoke(login_["refresh_token"], shop)
    elif end == "user":
        world.set_status(ada, "disabled")
    elif end == "shop":
        with world.change() as session:
            lifecycle.end_all(session, "client disabled", client_id="shop")
    elif end == "orders":
        with world.change() as session:
            changes.record(session, "client.revoked", "orders")
        world.change_client("orders", status="disabled")
    else:
        assert (await world.revoke(got, orders)).status_code == 200
    assert not await world.active(got)
    assert await bit(world, place)
    assert await world.active(token) is (end in ("orders", "itself"))


async def test_it_does_not_end_with_what_is_no_concern_of_its(
    world: World, ada: User, shop: Caller, orders: Caller, report: Caller
) -> None:
    """Others sign out or are disabled; a client loses one person's consent, an audience, or a scope
    of the sessions that others got it for."""
    got = [
        (await exchanged(world, orders, token))["access_token"]
        for token in (await login(world, shop), await own_token(world, report))
    ]
    bob, browser = world.user("bob"), Browser(world.api)
    tokens = await world.log_in("bob")
    await world.revoke(tokens["refresh_token"])
    await browser.sign_in(await browser.get("/sign-in"), "bob")
    await browser.submit(await browser.get("/sign-out"))
    with world.change() as session:
        lifecycle.end_all(session, "consent withdrawn", user_id=ada.id, client_id="report")
        lifecycle.end_all(session, "audience taken", client_id="report", audiences=[BILLS])
        lifecycle.end_all(session, "by an administrator", ids=["no such"])
        changes.record(session, "client.narrowed", "shop")
    world.set_status(bob, "disabled")
    for each in got:
        assert await world.active(each)
        assert not await bit(world, claims_of(each)["status"]["status_list"])


async def test_in_its_last_seconds_it_is_shown_as_ended_too(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    """And a little later: there are verifiers whose clocks are behind."""
    for left in (20, -20):
        login_ = await world.log_in(client=shop, scope="orders:read", resource=ORDERS)
        got = claims_of((await exchanged(world, orders, login_["access_token"]))["access_token"])
        with frozen(datetime.fromtimestamp(got["exp"] - left, UTC)):
            await world.revoke(login_["refresh_token"], shop)
            assert await bit(world, got["status"]["status_list"])


async def test_what_was_got_for_a_session_outlives_the_token_that_it_was_got_for(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    token = await login(world, shop)
    got = (await exchanged(world, orders, token))["access_token"]
    await world.revoke(token, shop)
    assert await world.active(got)
    await refuses(world, orders, asks(token), *INVALID)


async def bit(world: World, place: Mapping[str, Any]) -> bool:
    """Whether the status list says that the token has ended."""
    import zlib

    from identity.verifier.gate.encoding import b64url_decode

    path = "/status-lists/" + str(place["uri"]).rpartition("/")[2]
    world.services.lists._held.clear()
    answer = await world.api.get(path)
    assert answer.status_code == 200, answer.text
    packed = claims_of(answer.text)["status_list"]["lst"]
    bits = zlib.decompress(b64url_decode(str(packed).encode()))
    index = int(place["idx"])
    return bool(bits[index >> 3] >> (index & 7) & 1)


# --- A client's own tokens -----------------------------------------------------------------


@pytest.fixture
def report(world: World, ada: User) -> Caller:
    """A client that acts for itself."""
    return world.client(
        "report", grants=["client_credentials"], scopes=["orders:read", "stock:read"],
        audiences=[ORDERS],
    )  # fmt: skip


async def own_token(world: World, report: Caller) -> str:
    answer = await world.act(report, scope="orders:read", resource=ORDERS)
    return str(answer["access_token"])


async def test_a_clients_own_token_is_exchanged_too_and_dies_with_it_by_its_jti(
    world: World, report: Caller, orders: Caller
) -> None:
    token = await own_token(world, report)
    document = await exchanged(world, orders, token)
    got = document["access_token"]
    said = claims_of(got)
    assert (said["sub"], said["client_id"], said["act"]) == ("report", "orders", {"sub": "orders"})
    assert "sid" not in said and "username" not in said and document["scope"] == "stock:read"
    told = await world.introspect(got)
    assert told["subject_type"] == "client" and told["sub"] == "report"
    stock = service(world, "stock", STOCK, {BILLS: ["*"]})
    await refuses(world, stock, asks(got, BILLS), 400, "invalid_scope")
    world.change_client("report", scopes=["orders:read", "stock:read", "bills:read"])
    third = (await exchanged(world, stock, got, target=BILLS))["access_token"]
    places = [claims_of(each)["status"]["status_list"] for each in (got, third)]
    other = (await exchanged(world, orders, await own_token(world, report)))["access_token"]
    await world.revoke(token, report)
    for each, place in zip((got, third), places, strict=True):
        assert not await world.active(each)
        assert await bit(world, place)
    assert await world.active(other)
    await refuses(world, orders, asks(token), *INVALID)


@pytest.mark.parametrize("end", ["disabled", "narrowed", "deleted"])
async def test_it_dies_with_the_client_that_it_speaks_of(
    world: World, report: Caller, orders: Caller, end: str
) -> None:
    got = (await exchanged(world, orders, await own_token(world, report)))["access_token"]
    place = claims_of(got)["status"]["status_list"]
    if end == "narrowed":
        with world.change() as session:
            changes.record(session, "client.narrowed", "report")
        world.change_client("report", scopes=["orders:read"])
    else:
        with world.change() as session:
            lifecycle.end_all(session, f"client {end}", client_id="report")
        if end == "deleted":
            world.delete_client("report")
        else:
            world.change_client("report", status="disabled")
    assert not await world.active(got)
    assert await bit(world, place)


async def test_of_a_revocation_and_an_exchange_at_once_none_survives(
    world: World, report: Caller, orders: Caller
) -> None:
    for _ in range(8):
        token = await own_token(world, report)
        answers = await asyncio.gather(
            world.revoke(token, report), *(world.token(orders, **asks(token)) for _ in range(6))
        )
        for answer in answers[1:]:
            if answer.status_code == 200:
                assert not await world.active(answer.json()["access_token"])
            else:
                refused(answer, *INVALID)


async def test_of_the_sessions_end_and_an_exchange_at_once_none_survives(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    for _ in range(5):
        login_ = await world.log_in(client=shop, scope="orders:read", resource=ORDERS)
        form = asks(login_["access_token"])
        answers = await asyncio.gather(
            *(world.token(orders, **form) for _ in range(3)),
            world.revoke(login_["refresh_token"], shop),
            *(world.token(orders, **form) for _ in range(3)),
        )
        for answer in (*answers[:3], *answers[4:]):
            if answer.status_code == 200:
                token = answer.json()["access_token"]
                assert not await world.active(token)
                assert await bit(world, claims_of(token)["status"]["status_list"])


# --- Subject and actor tokens --------------------------------------------------------------


async def test_a_missing_or_unusable_subject_token_is_an_error(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    """CVE-2026-9704: what had lost its subject token on the way became something stronger."""
    login_ = await world.log_in(client=shop, scope="openid orders:read", resource=ORDERS)
    good = asks(login_["access_token"])
    granted(await world.token(orders, **good))
    both = ("subject_token", "subject_token_type")
    for missing in (both, *zip(both)):
        form = {name: value for name, value in good.items() if name not in missing}
        await refuses(world, orders, form, *INVALID)
        await refuses(world, orders, form | dict.fromkeys(missing, ""), *INVALID)
    head, body, signature = login_["access_token"].split(".")
    for broken in (
        "x", f"{head}.{body}.", f"{head}.{body}.{signature[:-4]}AAAA", login_["id_token"],
        login_["refresh_token"], f"{head}.{body}", orders.secret, "ü", "a" * 9000,
    ):  # fmt: skip
        await refuses(world, orders, good | {"subject_token": broken}, *INVALID)
    for kind in ("id_token", "refresh_token", "jwt", "saml2"):
        urn = f"urn:ietf:params:oauth:token-type:{kind}"
        for name in ("subject_token_type", "requested_token_type"):
            await refuses(world, orders, good | {name: urn}, *INVALID)
    granted(await world.token(orders, **good, requested_token_type=ACCESS_TOKEN))


async def test_an_actor_token_is_the_clients_own_or_an_error(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    world.change_client("orders", scopes=["orders:read", "stock:read"])
    token = await login(world, shop)
    own = (await world.act(orders, scope="orders:read"))["access_token"]
    document = await exchanged(world, orders, token, actor_token=own, actor_token_type=ACCESS_TOKEN)
    assert claims_of(document["access_token"])["act"] == {"sub": "orders"}
    other = (await world.act(world.client("other", scopes=["orders:read"])))["access_token"]
    derived = document["access_token"]
    for actor in (token, other, derived, "x", ""):
        form = asks(token, actor_token=actor, actor_token_type=ACCESS_TOKEN)
        await refuses(world, orders, form, *INVALID)
    await refuses(world, orders, asks(token, actor_token=own), *INVALID)
    await refuses(world, orders, asks(token, actor_token_type=ACCESS_TOKEN), *INVALID)
    urn = "urn:ietf:params:oauth:token-type:jwt"
    await refuses(world, orders, asks(token, actor_token=own, actor_token_type=urn), *INVALID)
    await world.revoke(own, orders)
    form = asks(token, actor_token=own, actor_token_type=ACCESS_TOKEN)
    await refuses(world, orders, form, *INVALID)


async def test_impersonation_takes_a_policy_and_loses_no_actor(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    stock = service(world, "stock", STOCK, {BILLS: ["*"]}, impersonates=(BILLS,))
    world.change_client("shop", audiences=[ORDERS, STOCK])
    direct = await login(world, shop, scope="stock:read", resource=STOCK)
    said = claims_of((await exchanged(world, stock, direct, target=BILLS))["access_token"])
    assert "act" not in said and said["client_id"] == "stock" and said["sub"] == ada.id
    world.change_client("stock", scopes=["stock:read", "bills:read"])
    own = (await world.act(stock, scope="stock:read"))["access_token"]
    named = await exchanged(
        world, stock, direct, target=BILLS, actor_token=own, actor_token_type=ACCESS_TOKEN
    )
    assert claims_of(named["access_token"])["act"] == {"sub": "stock"}
    through = (await exchanged(world, orders, await login(world, shop)))["access_token"]
    said = claims_of((await exchanged(world, stock, through, target=BILLS))["access_token"])
    assert said["act"] == {"sub": "orders"}


async def test_nobody_impersonates_a_client(world: World, report: Caller) -> None:
    """The policy is about users: a token of a client's own says who acts in its name."""
    gateway = service(world, "gateway", ORDERS, {STOCK: ["*"]}, impersonates=(STOCK,))
    document = await exchanged(world, gateway, await own_token(world, report))
    assert claims_of(document["access_token"])["act"] == {"sub": "gateway"}


async def test_only_so_many_act_for_one_another(world: World, ada: User, shop: Caller) -> None:
    world.change_client("shop", audiences=[ORDERS, STOCK])
    stock = service(world, "stock", STOCK, {STOCK: ["*"]})
    token = await login(world, shop, scope="stock:read", resource=STOCK)
    for number in range(MOST_ACTORS):
        token = (await exchanged(world, stock, token))["access_token"]
        assert (await world.introspect(token))["act"]["sub"] == "stock", number
    await refuses(world, stock, asks(token), *INVALID)


async def test_a_resource_or_client_that_is_gone_never_gets_a_token(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    """CVE-2026-93999: a disabled audience was still minted for."""
    token = await login(world, shop)
    with world.change() as session:
        for name in ("stock:read", "stock:write"):
            session.delete(session.get_one(Scope, name))
        changes.record(session, "scope.deleted", "*")
    await refuses(world, orders, asks(token), 400, "invalid_target")
    world.change_client("orders", status="disabled")
    await refuses(world, orders, asks(token), 401, "invalid_client")


async def test_clients_with_pairwise_subjects_exchange_nothing(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    settings = {"subject_type": "pairwise", "token_exchange": {STOCK: ["*"]}}
    world.change_client("orders", settings=settings)
    await refuses(world, orders, asks(await login(world, shop)), 400, "invalid_target")


async def test_what_is_kept_of_them_is_forgotten_once_they_have_expired(
    world: World, ada: User, shop: Caller, orders: Caller
) -> None:
    from identity.tokens import exchanged as kept

    with frozen() as clock:
        await exchanged(world, orders, await login(world, shop))
        with world.change() as session:
            assert kept.prune(session) == 0
        clock.tick(1000)
        with world.change() as session:
            assert kept.prune(session) == 1
            assert session.get(ExchangedToken, "x") is None


# --- Who may set the policy ----------------------------------------------------------------


async def test_a_policy_is_set_by_whoever_may_give_what_it_opens(world: World, ada: User) -> None:
    scopes = "clients:read clients:write"
    world.user("root", roles=["admin", "keeper", "teller"])
    with world.change() as session:
        accounts.create(session, username="clerk", password_hash=ada.password_hash, roles=["clerk"])
    token = (await world.log_in(username="root", scope="*"))["access_token"]
    answer = await world.api.post("/clients", json={"name": "Orders"}, headers=bearer(token))
    at = f"/clients/{answer.json()['client_id']}"

    async def patch(bearer_token: str, **fields: Any) -> Any:
        headers = bearer(bearer_token) | {"content-type": "application/merge-patch+json"}
        return await world.api.patch(at, json=fields, headers=headers)

    done = await patch(token, token_exchange={STOCK: ["stock:read"]})
    assert done.status_code == 200 and done.json()["token_exchange"] == {STOCK: ["stock:read"]}
    done = await patch(token, token_exchange={BILLS: ["*"]})
    assert done.json()["token_exchange"] == {STOCK: ["stock:read"], BILLS: ["*"]}
    for wrong, where in (
        ({"token_exchange": {"https://no.example": ["*"]}}, "/token_exchange"),
        ({"token_exchange": {world.services.settings.issuer: ["*"]}}, "/token_exchange"),
        ({"token_exchange": {STOCK: []}}, f"/token_exchange/{STOCK.replace('/', '~1')}"),
        ({"token_exchange_impersonation": [ORDERS]}, "/token_exchange_impersonation/0"),
    ):
        answer = await patch(token, **wrong)
        assert answer.status_code == 422, answer.text
        assert where in [each["pointer"] for each in answer.json()["errors"]], answer.text
    assert (await patch(token, token_exchange_impersonation=[BILLS])).status_code == 200
    less = (await world.log_in(username="root", scope=scopes))["access_token"]
    assert (await patch(less, name="Mine")).status_code == 403  # it impersonates
    await patch(token, token_exchange_impersonation=None)
    assert (await patch(less, token_exchange_impersonation=[BILLS])).status_code == 403
    answer = await patch(token, token_exchange=None)
    assert answer.status_code == 200 and answer.json()["token_exchange"] == {}
