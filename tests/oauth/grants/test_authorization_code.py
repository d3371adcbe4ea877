"""Codes for tokens: once, by whom they were made for, and never for more than is still allowed."""

import asyncio
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import delete, update
from sqlmodel import col, select

from identity.clock import frozen, utcnow
from identity.directory.clients.table import Client
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.opaque import digest
from identity.tokens.codes import AuthorizationCode
from identity.tokens.sessions import lifecycle
from identity.tokens.sessions.table import BrowserSession, Family, LoginSession, RefreshToken
from identity.verifier.gate.encoding import b64url_encode
from tests.browsing import CALLBACK, Browser, Flow, code_client, verifier_and_challenge
from tests.conformance.lines import line
from tests.world import World, bearer, claims_of, granted, refused

REFUSED = (400, "invalid_grant")


@pytest.fixture
def ada(world: World) -> User:
    return world.user("ada", email="ada@example.com", name="Ada")


@pytest.fixture
def browser(world: World) -> Browser:
    return Browser(world.api)


@pytest.fixture
def flow(world: World, ada: User) -> Flow:
    return Flow(world, code_client(world, first_party=True))


@line("Code flow", "A code used twice is `invalid_grant`, and the earlier access token dies")
async def test_a_replay_ends_what_the_first_use_began(flow: Flow, browser: Browser) -> None:
    world = flow.world
    code, verifier = await flow.signed_in(browser)
    tokens = granted(await flow.redeem(code, verifier))
    assert await world.active(tokens["access_token"])
    refused(await flow.redeem(code, verifier), *REFUSED)
    assert not await world.active(tokens["access_token"])
    refused(await world.refresh(tokens["refresh_token"], flow.client), *REFUSED)
    (event,) = await world.events("code.replayed")
    assert event.outcome == "refused"
    # The person stays signed in, and the client may ask again.
    code, verifier = await flow.signed_in(browser, prompt="none")
    assert (await flow.redeem(code, verifier)).status_code == 200


async def test_a_replay_by_whoever_has_the_code_alone_ends_nothing(
    flow: Flow, browser: Browser
) -> None:
    world = flow.world
    other = Flow(world, code_client(world, "other"))
    code, verifier = await flow.signed_in(browser)
    tokens = granted(await flow.redeem(code, verifier))
    wrong, _ = verifier_and_challenge()
    refused(await flow.redeem(code, wrong), *REFUSED)
    refused(await flow.redeem(code, None), *REFUSED)
    refused(await flow.redeem(code, verifier, redirect_uri=f"{CALLBACK}/"), *REFUSED)
    refused(await other.redeem(code, verifier), *REFUSED)
    assert await world.active(tokens["access_token"])


async def test_a_replay_that_asks_for_what_nobody_granted_is_one_all_the_same(
    flow: Flow, browser: Browser
) -> None:
    elsewhere = "https://elsewhere.example/"
    flow.world.change_client("shop", audiences=[elsewhere])
    code, verifier = await flow.signed_in(browser)
    tokens = granted(await flow.redeem(code, verifier))
    refused(await flow.redeem(code, verifier, resource=elsewhere), *REFUSED)
    assert not await flow.world.active(tokens["access_token"])


async def test_what_a_code_was_worth_is_on_record(flow: Flow, ada: User, browser: Browser) -> None:
    tokens = await flow.tokens(browser)
    (event,) = await flow.world.events("token.issued")
    assert (event.subject, event.client_id, event.outcome) == (ada.id, "shop", "success")
    assert event.detail == {
        "grant": "authorization_code", "scope": tokens["scope"],
        "sid": claims_of(tokens["access_token"])["sid"],
    }  # fmt: skip


async def test_a_failed_try_does_not_consume_the_code(flow: Flow, browser: Browser) -> None:
    world = flow.world
    both = {"redirect_uris": [CALLBACK, "https://shop.example/other"], "first_party": True}
    world.change_client("shop", settings=both)
    other = Flow(world, code_client(world, "other"))
    code, verifier = await flow.signed_in(browser)
    wrong, challenge = verifier_and_challenge()
    for form in (
        {"code_verifier": wrong},
        {"code_verifier": challenge},
        {"code_verifier": verifier[:42]},
        {"code_verifier": verifier, "redirect_uri": "https://shop.example/other"},
        {"code_verifier": verifier, "redirect_uri": ""},
        {"code_verifier": ""},
    ):
        refused(await flow.redeem(code, None, **form), *REFUSED)
    refused(await other.redeem(code, verifier), *REFUSED)
    for broken in (code[:-1], code + "A", code.upper(), f"rt{code[2:]}", "ac_", "x" * 500, "ü"):
        refused(await flow.redeem(broken, verifier), *REFUSED)
    elsewhere = await flow.redeem(code, verifier, resource="https://elsewhere.example/")
    refused(elsewhere, 400, "invalid_target")
    assert (await flow.redeem(code, verifier)).status_code == 200


async def test_a_verifier_has_from_43_to_128_characters(flow: Flow, browser: Browser) -> None:
    """RFC 7636 §4.1."""
    for length, good in ((42, False), (43, True), (128, True), (129, False)):
        verifier = "v" * length
        challenge = b64url_encode(sha256(verifier.encode()).digest()).decode()
        code, _ = await flow.signed_in(browser, code_challenge=challenge)
        assert (await flow.redeem(code, verifier)).status_code == (200 if good else 400), length


async def test_a_code_lives_a_minute_by_the_databases_clock(flow: Flow, browser: Browser) -> None:
    for older, good in ((55, True), (61, False)):
        code, verifier = await flow.signed_in(browser)
        with flow.world.change() as session:
            row = session.get_one(AuthorizationCode, digest(code))
            row.expires_at -= timedelta(seconds=older)
            session.add(row)
        answer = await flow.redeem(code, verifier)
        if good:
            granted(answer)
        else:
            refused(answer, *REFUSED)
    (event,) = await flow.world.events("token.refused")
    assert event.detail["why"] == "expired"


@line("Code flow", "A code used many times at once is good once")
async def test_of_sixteen_at_once_one_wins(flow: Flow, browser: Browser) -> None:
    for _ in range(3):
        code, verifier = await flow.signed_in(browser)
        answers = await asyncio.gather(*(flow.redeem(code, verifier) for _ in range(16)))
        won = [answer for answer in answers if answer.status_code == 200]
        assert len(won) <= 1
        for answer in answers:
            if answer not in won:
                refused(answer, *REFUSED)
        for answer in won:  # the fifteen others were replays
            assert not await flow.world.active(answer.json()["access_token"])


@pytest.mark.parametrize("gone", ["user", "client", "sessions", "signed out"])
async def test_a_code_is_worth_nothing_once_it_would_not_be_made(
    flow: Flow, ada: User, browser: Browser, gone: str
) -> None:
    world = flow.world
    code, verifier = await flow.signed_in(browser)
    if gone == "user":
        world.set_status(ada, "disabled")
    elif gone == "client":
        world.change_client("shop", grants=["refresh_token"])
    elif gone == "sessions":
        with world.change() as session:
            lifecycle.end_all(session, "by an administrator", user_id=ada.id)
    else:
        await browser.submit(await browser.get("/sign-out"))
    answer = await flow.redeem(code, verifier)
    expected = "unauthorized_client" if gone == "client" else "invalid_grant"
    refused(answer, 400, expected)


async def test_a_disabled_user_gets_nothing_for_a_code_even_where_it_is_not_taken_back(
    flow: Flow, ada: User, browser: Browser
) -> None:
    code, verifier = await flow.signed_in(browser)
    with flow.world.change() as session:
        accounts.set_status(session, accounts.get(session, ada.id, lock=True), "disabled", None)
    refused(await flow.redeem(code, verifier), *REFUSED)
    (event,) = await flow.world.events("token.refused")
    assert event.detail["why"] == "user disabled"


async def test_a_user_deleted_just_before_gets_nothing_for_a_code(
    flow: Flow, ada: User, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = flow.world
    code, verifier = await flow.signed_in(browser)
    users = world.services.users
    get = users.get

    async def deleted_before(user_id: str) -> Any:
        with world.change() as session:
            accounts.remove(session, accounts.get(session, ada.id, lock=True), None)
        await world.services.feed.catch_up()
        return await get(user_id)

    monkeypatch.setattr(users, "get", deleted_before)
    refused(await flow.redeem(code, verifier), *REFUSED)


@pytest.mark.parametrize("gone", ["user", "client", "browser"])
async def test_of_one_gone_in_the_middle_of_it_a_code_gets_no_tokens(
    flow: Flow, ada: User, browser: Browser, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    world = flow.world
    code, verifier = await flow.signed_in(browser)
    users = world.services.users
    get = users.get

    async def gone_after(user_id: str) -> Any:
        user = await get(user_id)
        change: dict[str, Any] = {
            "user": update(User).values(status="disabled"),
            "client": update(Client).values(status="disabled"),
            "browser": update(BrowserSession).values(ended_at=utcnow()),
        }
        with world.change() as session:
            session.execute(change[gone])
        return user

    monkeypatch.setattr(users, "get", gone_after)
    refused(await flow.redeem(code, verifier), *REFUSED)
    with world.change() as session:
        assert session.exec(select(LoginSession)).all() == []


async def test_scopes_are_those_that_the_user_still_holds(world: World, browser: Browser) -> None:
    ada = world.user("ada")
    world.scopes("read", "write", role="writers")
    with world.change() as session:
        accounts.set_roles(session, accounts.get(session, ada.id), ["writers"], None)
    flow = Flow(world, code_client(world, first_party=True))
    code, verifier = await flow.signed_in(browser, scope="openid read write")
    with world.change() as session:
        accounts.set_roles(session, accounts.get(session, ada.id), [], None)
    tokens = granted(await flow.redeem(code, verifier))
    assert tokens["scope"] == "openid"


async def test_a_token_is_for_one_of_the_resources_that_were_named(
    world: World, browser: Browser
) -> None:
    world.user("ada")
    orders, bills, stock = (f"https://{name}.example/" for name in ("orders", "bills", "stock"))
    client = code_client(world, first_party=True, audiences=[orders, bills, stock])
    flow = Flow(world, client)
    parameters, verifier = flow.parameters()
    await browser.sign_in(await browser.get("/sign-in"))

    async def code() -> str:
        pairs = [*parameters.items(), ("resource", orders), ("resource", bills)]
        return (await browser.get("/authorize", params=pairs)).sent_to["code"]

    refused(await flow.redeem(await code(), verifier), 400, "invalid_target")
    for other in (stock, "https://no.example/"):
        answer = await flow.redeem(await code(), verifier, resource=other)
        refused(answer, 400, "invalid_target")
    tokens = granted(await flow.redeem(await code(), verifier, resource=bills))
    issuer = world.services.settings.issuer
    assert claims_of(tokens["access_token"])["aud"] == [bills, f"{issuer}/userinfo"]
    # It opens /userinfo, and nothing else here.
    headers = bearer(tokens["access_token"])
    assert (await world.api.get("/userinfo", headers=headers)).status_code == 200
    assert (await world.api.get("/users/me", headers=headers)).status_code == 401
    answer = await world.refresh(tokens["refresh_token"], flow.client, resource=orders)
    refused(answer, 400, "invalid_target")


async def test_a_client_that_has_a_resource_by_its_scopes_may_name_it_at_the_token_endpoint(
    world: World, browser: Browser
) -> None:
    """As RFC 8707 has clients do, and MCP demands of them."""
    orders = "https://orders.example/"
    world.scopes("orders:read", audience=orders, role="clerk")
    world.user("ada", roles=["clerk"])
    client = code_client(world, first_party=True, scopes=["openid", "orders:read"])
    flow = Flow(world, client)
    code, verifier = await flow.signed_in(browser, scope="orders:read", resource=orders)
    tokens = granted(await flow.redeem(code, verifier, resource=orders))
    assert claims_of(tokens["access_token"])["aud"] == orders
    assert tokens["scope"] == "orders:read"
    again = granted(await world.refresh(tokens["refresh_token"], client, resource=orders))
    assert claims_of(again["access_token"])["aud"] == orders
    elsewhere = await world.refresh(
        again["refresh_token"], client, resource="https://bills.example/"
    )
    refused(elsewhere, 400, "invalid_target")
    # Without them it has lost the resource, and not only what it might do there.
    world.change_client("shop", scopes=["openid"])
    refused(await world.refresh(again["refresh_token"], client), *REFUSED)
    world.change_client("shop", scopes=["openid", "orders:read"])
    assert (await world.refresh(again["refresh_token"], client)).status_code == 200


@pytest.mark.parametrize("has_scopes", [True, False])
async def test_a_code_is_for_no_resource_that_its_client_has_lost(
    world: World, browser: Browser, has_scopes: bool
) -> None:
    world.user("ada")
    orders = "https://orders.example/"
    if has_scopes:
        world.scopes("orders:read", audience=orders)
    client = code_client(world, first_party=True, scopes=["openid"], audiences=[orders])
    flow = Flow(world, client)
    code, verifier = await flow.signed_in(browser, scope="openid", resource=orders)
    world.change_client("shop", audiences=[])
    refused(await flow.redeem(code, verifier), 400, "invalid_target")
    refused(await flow.redeem(code, verifier, resource=orders), 400, "invalid_target")
    # Nothing is spent, and what the client has still it may ask for.
    issuer = world.services.settings.issuer
    tokens = granted(await flow.redeem(code, verifier, resource=issuer))
    assert claims_of(tokens["access_token"])["aud"] == issuer


async def test_the_one_resource_that_was_named_is_the_tokens_and_this_service_may_be(
    world: World, browser: Browser
) -> None:
    world.user("ada")
    orders, issuer = "https://orders.example/", world.services.settings.issuer
    flow = Flow(world, code_client(world, first_party=True, audiences=[orders]))
    code, verifier = await flow.signed_in(browser, resource=orders)
    tokens = granted(await flow.redeem(code, verifier))
    assert claims_of(tokens["access_token"])["aud"] == [orders, f"{issuer}/userinfo"]
    for named in (orders, None):
        code, verifier = await flow.signed_in(browser, resource=named)
        tokens = granted(await flow.redeem(code, verifier, resource=issuer))
        assert claims_of(tokens["access_token"])["aud"] == issuer


async def test_of_a_client_with_pairwise_subjects_it_is_this_service(
    world: World, browser: Browser
) -> None:
    world.user("ada")
    flow = Flow(world, code_client(world, first_party=True, subject_type="pairwise"))
    tokens = await flow.tokens(browser)
    assert claims_of(tokens["access_token"])["aud"] == world.services.settings.issuer


@line("Logout", "`sid` is in ID tokens, and one for the codes of a browser")
async def test_the_clients_codes_share_one_session_and_keep_their_own_scope(
    flow: Flow, browser: Browser
) -> None:
    world = flow.world
    first = await flow.tokens(browser, scope="openid email")
    second = await flow.tokens(browser, scope="openid profile")
    sid = claims_of(first["id_token"])["sid"]
    assert claims_of(second["id_token"])["sid"] == sid
    for tokens, scope in ((first, "openid email"), (second, "openid profile")):
        again = granted(await world.refresh(tokens["refresh_token"], flow.client))
        assert again["scope"] == scope and claims_of(again["access_token"])["sid"] == sid
    other = Flow(world, code_client(world, "other", first_party=True))
    assert claims_of((await other.tokens(browser))["id_token"])["sid"] != sid


async def test_a_session_below_a_browser_session_ends_with_it_but_not_an_offline_one(
    flow: Flow, browser: Browser
) -> None:
    world = flow.world
    online = await flow.tokens(browser)
    offline = await flow.tokens(browser, scope="openid offline_access")
    assert claims_of(online["id_token"])["sid"] != claims_of(offline["id_token"])["sid"]
    await browser.submit(await browser.get("/sign-out"))
    refused(await world.refresh(online["refresh_token"], flow.client), *REFUSED)
    assert not await world.active(online["access_token"])
    offline = granted(await world.refresh(offline["refresh_token"], flow.client))
    assert await world.active(offline["access_token"])


async def test_without_the_refresh_grant_there_is_no_refresh_token_nor_offline_access(
    world: World, browser: Browser
) -> None:
    world.user("ada")
    flow = Flow(world, code_client(world, first_party=True))
    world.change_client("shop", grants=["authorization_code"])
    tokens = await flow.tokens(browser, scope="openid offline_access")
    assert "refresh_token" not in tokens and tokens["scope"] == "openid"


OF_EACH = {
    "id", "digest", "session_id", "family_id", "browser_session_id", "signed_in_at", "client_id",
    "status_index", "used_at", "nonce", "code_challenge", "expires_at of authorization_code",
}  # fmt: skip
"""Columns that differ from code to code, or go by the database's clock."""


@pytest.mark.parametrize("dialect", ["postgresql"])
async def test_one_statement_redeems_as_its_steps_do(
    world: World, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    db, began, redeemed = world.services.db, utcnow(), list[str]()
    at_once, one_by_one = db.write_at_once, db.write_plain

    async def noted(*given: Any) -> Any:
        rows = await at_once(*given)
        redeemed.extend("at once" for _ in rows)
        return rows

    async def found_nothing(*_: Any) -> Any:
        return []

    async def steps(unit: Any) -> Any:
        if "redeem" in unit.__qualname__:
            redeemed.append("one by one")
        return await one_by_one(unit)

    monkeypatch.setattr(db, "write_plain", steps)
    written = []
    for client_id, statement in (("shop", noted), ("other", found_nothing)):
        monkeypatch.setattr(db, "write_at_once", statement)
        flow, browser = (
            Flow(world, code_client(world, client_id, first_party=True)),
            Browser(world.api),
        )
        with frozen(began) as clock:
            for scope in ("openid email", "openid profile", "openid offline_access"):
                await flow.tokens(browser, scope=scope)
                clock.tick(5)
            world.change_client(client_id, grants=["authorization_code"])
            await flow.tokens(browser)
        written.append(_left_by(world, client_id))
    assert redeemed == ["at once"] * 4 + ["one by one"] * 4
    assert written[0] == written[1]
    assert [len(rows) for rows in written[0]] == [4, 2, 4, 3]


def _left_by(world: World, client_id: str) -> list[list[dict[str, Any]]]:
    """Codes of the client, their sessions, families and refresh tokens, but for `OF_EACH`."""
    with world.change() as session:
        codes = session.exec(
            select(AuthorizationCode)
            .where(AuthorizationCode.client_id == client_id)
            .order_by(col(AuthorizationCode.used_at))
        ).all()
        ids = [code.session_id for code in codes]
        assert None not in ids and all(code.used_at for code in codes)
        sessions = session.exec(
            select(LoginSession).where(col(LoginSession.id).in_(ids)).order_by(LoginSession.id)
        ).all()
        families = session.exec(
            select(Family).where(col(Family.session_id).in_(ids)).order_by(Family.id)
        ).all()
        tokens = session.exec(
            select(RefreshToken)
            .where(col(RefreshToken.family_id).in_([family.id for family in families]))
            .order_by(col(RefreshToken.issued_at))
        ).all()
        assert {token.session_id for token in tokens} <= set(ids)
        return [
            [
                {
                    name: value
                    for name, value in row.model_dump().items()
                    if name not in OF_EACH and f"{name} of {row.__tablename__}" not in OF_EACH
                }
                for row in rows
            ]
            for rows in (codes, sessions, families, tokens)
        ]


async def test_a_deleted_user_takes_everything_along(
    flow: Flow, ada: User, browser: Browser
) -> None:
    code, verifier = await flow.signed_in(browser)
    with flow.world.change() as session:
        session.execute(update(User).where(User.id == ada.id).values(status="disabled"))  # type: ignore[arg-type]
        session.execute(delete(User).where(User.id == ada.id))  # type: ignore[arg-type]
    refused(await flow.redeem(code, verifier), *REFUSED)
