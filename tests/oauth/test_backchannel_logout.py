"""Clients are told that sessions have ended, whichever way (OpenID Connect Back-Channel Logout)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import jwt as pyjwt
import pytest
from sqlmodel import Session, select

from identity import clock
from identity.errors import Conflict
from identity.store import leased
from identity.store.leased import pause_after
from identity.tokens import logouts
from identity.tokens.logout_tokens import EVENT, LIFE
from identity.tokens.logouts import LogoutNotice
from identity.tokens.sessions import lifecycle
from tests.acting import Actor, admin
from tests.browsing import Browser, Flow, code_client
from tests.oauth.test_userinfo import verified
from tests.receiving import Receiver, receiving
from tests.world import PASSWORD, World, bearer, claims_of, granted, refused


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def flow(world: World, receiver: Receiver) -> Flow:
    world.user("ada")
    return Flow(world, code_client(world, first_party=True, backchannel_logout_uri=receiver.uri))


@pytest.fixture
def browser(world: World) -> Browser:
    return Browser(world.api)


@pytest.fixture
async def administrator(world: World) -> Actor:
    return await admin(world)


async def told(receiver: Receiver, count: int = 1) -> list[str]:
    return await asyncio.to_thread(receiver.wait_for, count)


async def sign_out(browser: Browser) -> None:
    await browser.submit(await browser.get("/sign-out"))


def notices(world: World) -> list[LogoutNotice]:
    with world.change() as session:
        return list(session.exec(select(LogoutNotice).order_by(LogoutNotice.session_id)))


async def until(world: World, holds: Callable[[list[LogoutNotice]], bool]) -> list[LogoutNotice]:
    """The notices, once they are so."""
    for _ in range(1000):
        if holds(found := notices(world)):
            return found
        await asyncio.sleep(0.02)
    raise TimeoutError(found)


def let_pass(world: World, **lies_back: timedelta) -> None:
    """As though so much time had passed, by any clock, since what these columns say."""
    with world.change() as session:
        for notice in session.exec(select(LogoutNotice)):
            for column, span in lies_back.items():
                setattr(notice, column, getattr(notice, column) - span)
            session.add(notice)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_signing_out_tells_the_client_by_a_logout_token(
    world: World, receiver: Receiver, browser: Browser, algorithm: str
) -> None:
    ada = world.user("ada")
    chosen = {} if algorithm == "RS256" else {"id_token_signed_response_alg": algorithm}
    client = code_client(world, first_party=True, backchannel_logout_uri=receiver.uri, **chosen)
    tokens = await Flow(world, client).tokens(browser)
    before = int(clock.now())
    await sign_out(browser)
    (token,) = await told(receiver)
    assert receiver.headers[0]["content-type"] == "application/x-www-form-urlencoded"
    header = pyjwt.get_unverified_header(token)
    assert set(header) == {"alg", "kid", "typ"}
    assert (header["alg"], header["typ"]) == (algorithm, "logout+jwt")
    claims = await verified(world, token, "shop")
    assert set(claims) == {"iss", "sub", "aud", "iat", "exp", "jti", "sid", "events"}
    assert claims["events"] == {EVENT: {}}
    assert (claims["sub"], claims["sid"]) == (ada.id, claims_of(tokens["id_token"])["sid"])
    assert isinstance(claims["iat"], int) and before <= claims["iat"] <= clock.now() + 1
    assert claims["exp"] == claims["iat"] + LIFE
    await until(world, lambda waiting: not waiting)
    assert len(receiver.told) == 1


async def test_metadata_says_so(world: World) -> None:
    document = (await world.api.get("/.well-known/openid-configuration")).json()
    assert document["backchannel_logout_supported"] is True
    assert document["backchannel_logout_session_supported"] is True


async def test_a_logout_token_passes_for_nothing_else(
    flow: Flow, receiver: Receiver, browser: Browser
) -> None:
    world = flow.world
    await flow.tokens(browser)
    await sign_out(browser)
    (token,) = await told(receiver)
    for path in ("/userinfo", "/users/me"):
        assert (await world.api.get(path, headers=bearer(token))).status_code == 401
    assert not await world.active(token)
    page = await browser.get(f"/logout?id_token_hint={token}")
    assert page.status == 400
    page, _ = await flow.start(browser, id_token_hint=token, prompt="none")
    assert page.sent_to["error"] == "invalid_request"


Ending = Callable[[World, Flow, dict[str, Any], Actor], Awaitable[Any]]


async def by_disabling(world: World, flow: Flow, tokens: Any, boss: Actor) -> None:
    user_id = claims_of(tokens["id_token"])["sub"]
    await boss.done("PATCH", f"/users/{user_id}", {"status": "disabled"})


async def by_deleting(world: World, flow: Flow, tokens: Any, boss: Actor) -> None:
    await boss.done("DELETE", f"/users/{claims_of(tokens['id_token'])['sub']}")


async def by_another_password(world: World, flow: Flow, tokens: Any, boss: Actor) -> None:
    body = {"username": "ada", "current_password": PASSWORD, "new_password": "lantern quay 4711"}
    answer = await world.api.post("/password", json=body)
    assert answer.status_code == 204, answer.text


async def by_resetting(world: World, flow: Flow, tokens: Any, boss: Actor) -> None:
    await boss.done("POST", f"/users/{claims_of(tokens['id_token'])['sub']}/password")


async def by_ending_all(world: World, flow: Flow, tokens: Any, boss: Actor) -> None:
    await boss.done("DELETE", f"/users/{claims_of(tokens['id_token'])['sub']}/sessions")


async def by_ending_one(world: World, flow: Flow, tokens: Any, boss: Actor) -> None:
    claims = claims_of(tokens["id_token"])
    await boss.done("DELETE", f"/users/{claims['sub']}/sessions/{claims['sid']}")


async def by_revoking(world: World, flow: Flow, tokens: Any, boss: Actor) -> None:
    await world.revoke(tokens["refresh_token"], flow.client)


async def by_a_replay(world: World, flow: Flow, tokens: Any, boss: Actor) -> None:
    again = granted(await world.refresh(tokens["refresh_token"], flow.client))
    granted(await world.refresh(again["refresh_token"], flow.client))
    refused(await world.refresh(tokens["refresh_token"], flow.client), 400, "invalid_grant")


async def by_disabling_the_client(world: World, flow: Flow, tokens: Any, boss: Actor) -> None:
    await boss.done("PATCH", "/clients/shop", {"status": "disabled"})


@pytest.mark.parametrize(
    "end",
    [
        by_disabling, by_deleting, by_another_password, by_resetting, by_ending_all, by_ending_one,
        by_revoking, by_a_replay, by_disabling_the_client,
    ],
)  # fmt: skip
async def test_the_client_is_told_whichever_way_a_session_ends(
    flow: Flow, receiver: Receiver, browser: Browser, administrator: Actor, end: Ending
) -> None:
    tokens = await flow.tokens(browser)
    claims = claims_of(tokens["id_token"])
    await end(flow.world, flow, tokens, administrator)
    (token,) = await told(receiver)
    said = claims_of(token)
    assert (said["sub"], said["sid"]) == (claims["sub"], claims["sid"])
    await until(flow.world, lambda waiting: not waiting)
    assert len(receiver.told) == 1


async def test_a_password_login_is_a_session_too(world: World, receiver: Receiver) -> None:
    world.user("ada")
    client = world.client("shop")
    world.change_client("shop", settings={"backchannel_logout_uri": receiver.uri})
    login = await world.log_in(client=client, scope="openid")
    await world.revoke(login["refresh_token"], client)
    (token,) = await told(receiver)
    assert claims_of(token)["sid"] == claims_of(login["id_token"])["sid"]


async def test_a_pairwise_client_hears_its_own_name_of_the_user(
    world: World, receiver: Receiver, browser: Browser
) -> None:
    ada = world.user("ada")
    client = code_client(
        world, first_party=True, backchannel_logout_uri=receiver.uri, subject_type="pairwise"
    )
    tokens = await Flow(world, client).tokens(browser)
    await sign_out(browser)
    (token,) = await told(receiver)
    assert claims_of(token)["sub"] == claims_of(tokens["id_token"])["sub"] != ada.id


async def test_an_offline_session_lives_on_and_its_client_is_told_that_nobody_is_signed_in(
    flow: Flow, receiver: Receiver, browser: Browser
) -> None:
    world = flow.world
    tokens = await flow.tokens(browser, scope="openid offline_access")
    await sign_out(browser)
    (token,) = await told(receiver)
    assert claims_of(token)["sid"] == claims_of(tokens["id_token"])["sid"]
    await until(world, lambda waiting: not waiting)
    granted(await world.refresh(tokens["refresh_token"], flow.client))
    # Ending it is another thing, of which the client is told again.
    again = granted(await world.refresh(tokens["refresh_token"], flow.client))
    await world.revoke(again["refresh_token"], flow.client)
    assert len(await told(receiver, 2)) == 2


async def test_what_is_taken_back_tells_nobody(
    flow: Flow, receiver: Receiver, browser: Browser
) -> None:
    world = flow.world
    sid = claims_of((await flow.tokens(browser))["id_token"])["sid"]

    def unit(session: Session) -> None:
        assert lifecycle.end(session, sid, "for a moment")
        raise Conflict

    with pytest.raises(Conflict):
        await world.services.db.write(unit)
    assert notices(world) == [] and receiver.told == []


async def test_a_client_without_an_address_leaves_no_notice(world: World, browser: Browser) -> None:
    world.user("ada")
    await Flow(world, code_client(world, first_party=True)).tokens(browser)
    await sign_out(browser)
    assert notices(world) == []


@pytest.mark.parametrize("status", [500, 400, 302])
async def test_who_does_not_take_it_is_told_again(
    flow: Flow, receiver: Receiver, browser: Browser, administrator: Actor, status: int
) -> None:
    world = flow.world
    await flow.tokens(browser)
    receiver.status = status
    await sign_out(browser)
    (first,) = await told(receiver)
    (notice,) = await until(world, lambda waiting: waiting[0].last_error is not None)
    assert str(status) in (notice.last_error or "") or "redirect" in (notice.last_error or "")
    (shown,) = (await administrator.done("GET", "/clients/shop/logouts"))["items"]
    assert (shown["session_id"], shown["status"]) == (notice.session_id, "waiting")
    assert shown["attempts"] >= 1 and shown["last_error"] == notice.last_error
    receiver.status = 204
    let_pass(world, due_at=timedelta(minutes=1))
    await until(world, lambda waiting: not waiting)
    again = receiver.told[-1]
    assert claims_of(again)["sid"] == claims_of(first)["sid"]
    assert claims_of(again)["jti"] != claims_of(first)["jti"]
    assert (await administrator.done("GET", "/clients/shop/logouts"))["items"] == []


async def test_pauses_grow_and_end_somewhere() -> None:
    spans = [pause_after(n).total_seconds() for n in range(1, 40)]
    for n, span in enumerate(spans):
        usual = min(2.0**n, leased.LONGEST_PAUSE.total_seconds())
        assert 0.75 * usual <= span <= 1.25 * usual


async def test_after_a_day_it_is_given_up_and_an_administrator_may_try_again(
    flow: Flow, receiver: Receiver, browser: Browser, administrator: Actor
) -> None:
    world = flow.world
    await flow.tokens(browser)
    receiver.status = 503
    await sign_out(browser)
    await told(receiver)
    await until(world, lambda waiting: waiting[0].last_error is not None)
    let_pass(world, due_at=timedelta(hours=1), noted_at=leased.GIVEN_UP_AFTER)
    (notice,) = await until(world, lambda waiting: waiting[0].given_up_at is not None)
    count = len(receiver.told)
    (event,) = await world.events("logout_notice.given_up")
    assert (event.subject, event.client_id) == (notice.session_id, "shop")
    assert event.detail["why"] == "answers 503"
    (shown,) = (await administrator.done("GET", "/clients/shop/logouts"))["items"]
    assert shown["status"] == "given_up"
    let_pass(world, due_at=timedelta(days=1))
    assert await logouts.due(world.services.db, 10) == [] and len(receiver.told) == count
    receiver.status = 200
    await administrator.done("POST", "/clients/shop/logouts/retry")
    await until(world, lambda waiting: not waiting)
    assert len(receiver.told) == count + 1
    for outcome, times in (("told", 1), ("given_up", 1)):
        line = f'identity_logout_notices_total{{outcome="{outcome}"}} {times}'
        for _ in range(1000):  # it is counted once it has been settled
            if line in (await world.api.get("/metrics")).text:
                break
            await asyncio.sleep(0.02)
        else:
            raise AssertionError(line)


async def test_what_was_given_up_is_forgotten_after_a_week(
    flow: Flow, receiver: Receiver, browser: Browser
) -> None:
    world = flow.world
    await flow.tokens(browser)
    receiver.status = 500
    await sign_out(browser)
    await until(world, lambda waiting: bool(waiting) and waiting[0].last_error is not None)
    with world.change() as session:
        (notice,) = session.exec(select(LogoutNotice))
        notice.given_up_at = clock.utcnow() - leased.KEPT + timedelta(minutes=1)
        session.add(notice)
    assert await world.services.db.write(logouts.prune) == 0
    let_pass(world, given_up_at=timedelta(minutes=2))
    assert await world.services.db.write(logouts.prune) == 1


async def test_a_client_that_hangs_holds_up_nobody_else(
    flow: Flow, receiver: Receiver, world: World
) -> None:
    receiver.holding.clear()
    with receiving() as other:
        quick = Flow(
            world,
            code_client(world, "quick", first_party=True, backchannel_logout_uri=other.uri),
        )
        browsers = [Browser(world.api) for _ in range(6)]
        for browser in browsers:
            await flow.tokens(browser)
            await quick.tokens(browser)
        for browser in browsers:
            await sign_out(browser)
        await told(other, len(browsers))
        receiver.holding.set()
        await until(world, lambda waiting: not waiting)


async def test_a_client_that_is_deleted_is_told_no_more(
    flow: Flow, receiver: Receiver, browser: Browser, administrator: Actor
) -> None:
    await flow.tokens(browser)
    receiver.status = 500
    await sign_out(browser)
    await told(receiver)
    await administrator.done("DELETE", "/clients/shop")
    assert notices(flow.world) == []


async def test_nobody_takes_a_notice_twice(
    flow: Flow, receiver: Receiver, browser: Browser
) -> None:
    world = flow.world
    await flow.tokens(browser)
    receiver.holding.clear()
    await sign_out(browser)
    await told(receiver)
    (notice,) = notices(world)
    take = lambda session: logouts.take(session, "shop", 10)  # noqa: E731
    assert await world.services.db.write(take) == []
    # Whoever has it died, as it seems. It did not: what it says of it now counts no more.
    let_pass(world, due_at=leased.LEASE + timedelta(seconds=1))
    (taken,) = await world.services.db.write(take)
    assert taken.attempts == notice.attempts + 1
    receiver.holding.set()
    await asyncio.sleep(0)
    with world.change() as session:
        former = taken._replace(attempts=notice.attempts)
        logouts.settle_told(session, former)
    assert [each.attempts for each in notices(world)] == [taken.attempts]
