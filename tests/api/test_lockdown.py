"""A lockdown: nobody signs in and nothing is issued, but for whoever may lift it."""

from typing import Any

import httpx
import pytest
from sqlmodel import select

from identity.app import create_app
from identity.authentication import recovery
from identity.clock import frozen
from identity.directory.users import accounts
from identity.oauth import token as endpoint
from identity.settings import Settings
from identity.tokens.sessions.table import LoginSession
from tests import acting
from tests.acting import Actor, problem
from tests.browsing import Browser, Flow, code_client
from tests.second_factors import App, log_in, with_app
from tests.serving import ADMIN_PASSWORD, running
from tests.transport import served
from tests.world import PASSWORD, Caller, World, bearer, refused

REFUSED = (503, "temporarily_unavailable")


async def begin(boss: Actor, **body: Any) -> dict[str, Any]:
    shown: dict[str, Any] = await boss.done("PUT", "/lockdown", body)
    return shown


def stopped(answer: httpx.Response) -> None:
    refused(answer, *REFUSED)
    assert int(answer.headers["retry-after"]) > 0


async def test_every_way_to_a_token_is_shut_and_opens_again(world: World) -> None:
    world.user("ada")
    shop = world.client("shop")
    web = Flow(world, code_client(world, "web"))
    boss = await acting.admin(world)
    tokens = await world.log_in(client=shop)
    code, verifier = await web.signed_in(Browser(world.api))

    shown = await begin(boss, reason="Passwords leaked")
    assert shown["active"] and shown["reason"] == "Passwords leaked"
    assert not shown["tokens_ended"]
    by_password = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    stopped(await world.token(shop, **by_password))
    stopped(await world.token(**by_password))
    stopped(await world.refresh(tokens["refresh_token"], shop))
    stopped(await world.token(shop, grant_type="client_credentials"))
    stopped(await web.redeem(code, verifier))
    assert await world.events("token.issued") == []

    # What there is goes on, and a refresh token or a code that was refused is not spent.
    assert await world.active(tokens["access_token"])
    await boss.done("DELETE", "/lockdown")
    assert (await world.refresh(tokens["refresh_token"], shop)).status_code == 200
    assert (await web.redeem(code, verifier)).status_code == 200
    await world.log_in(client=shop)
    await world.act(shop)


async def test_a_browser_is_told_and_the_client_by_its_own_error(world: World) -> None:
    world.user("ada")
    web = Flow(world, code_client(world, "web"))
    signed_in, new = Browser(world.api), Browser(world.api)
    await web.signed_in(signed_in)
    page, _ = await web.start(new)
    boss = await acting.admin(world)
    await begin(boss)

    told, _ = await web.start(signed_in)
    assert told.sent_to["error"] == "temporarily_unavailable"
    shown = await new.sign_in(page)
    assert shown.status == 503
    assert "Nobody can sign in at the moment" in shown.text
    await boss.done("DELETE", "/lockdown")
    page = await new.sign_in(shown)
    page = await new.submit(page, "agree") if page.forms else page
    assert "code" in page.sent_to


@pytest.mark.parametrize("username", ["ada", "admin", "nobody", "dora", "new"])
async def test_nobody_learns_by_it_whether_a_password_is_right_or_who_may_lift_it(
    world: World, username: str
) -> None:
    world.user("ada")
    world.user("dora", status="disabled")
    world.user("new", must_change_password=True)
    boss = await acting.admin(world)
    await begin(boss)
    form = {"grant_type": "password", "username": username}
    answers = [await world.token(**form, password="wrong")]
    if username != "admin":
        answers.append(await world.token(**form, password=PASSWORD))
    said = {(a.status_code, a.text, a.headers["retry-after"]) for a in answers}
    assert len(said) == 1
    stopped(answers[0])


async def test_whoever_may_lift_it_signs_in_and_lifts_it(world: World) -> None:
    keeper = await acting.clerk(world, "lockdown:write", "audit:read", username="keeper")
    await begin(keeper, end_tokens=True)
    problem(await keeper("GET", "/lockdown"), 401)  # its own token has died as well
    again = Actor(world, await world.log_in("keeper", scope="*"))
    assert (await again.done("GET", "/lockdown"))["active"]
    browser = Browser(world.api)
    page = await browser.sign_in(await browser.get("/sign-in"), "keeper")
    assert page.status == 200
    assert not (await again.done("DELETE", "/lockdown"))["active"]


async def test_wrong_passwords_count_during_it_as_ever(world: World) -> None:
    world.user("ada")
    boss = await acting.admin(world)
    await begin(boss)
    form = {"grant_type": "password", "username": "ada", "password": "wrong"}
    for _ in range(world.services.settings.throttle.login_max_failures):
        stopped(await world.token(**form))
    assert (await world.token(**form)).status_code == 429


async def test_with_end_tokens_everything_issued_dies_at_once_wherever_it_is_asked(
    world: World, settings: Settings
) -> None:
    ada = world.user("ada")
    shop = world.client("shop")
    web = Flow(world, code_client(world, "web"))
    boss = await acting.admin(world)
    other = create_app(settings)
    async with (
        running(other),
        httpx.AsyncClient(transport=served(other), base_url=settings.issuer) as api,
    ):
        login = await world.log_in(client=shop)
        by_code = await web.tokens(Browser(world.api))
        own = await world.act(shop)
        tokens = [t["access_token"] for t in (login, by_code, own)]
        for token in tokens:
            assert await world.active(token)
        elsewhere = World(other, api)
        assert (await elsewhere.me(tokens[0])).status_code == 200
        await begin(boss, end_tokens=True)
        for token in tokens:
            assert not await world.active(token)
            assert (await elsewhere.me(token)).status_code == 401
        form = {"grant_type": "password", "username": "ada", "password": PASSWORD}
        stopped(await elsewhere.token(shop, **form))
        await Actor(world, await world.log_in("admin", ADMIN_PASSWORD, scope="*")).done(
            "DELETE", "/lockdown"
        )
        # Sessions have ended, not only what was issued for them.
        refused(await elsewhere.refresh(login["refresh_token"], shop), 400, "invalid_grant")
        fresh = await elsewhere.log_in(client=shop)
        assert (await elsewhere.me(fresh["access_token"])).status_code == 200
    ended = await world.events("sessions.ended")
    assert {event.detail["reason"] for event in ended} == {"lockdown"}
    assert ada.id not in {event.actor for event in ended}


async def test_a_code_of_the_second_factor_does_not_get_past_it(world: World) -> None:
    _, app = with_app(world)
    browser = Browser(world.api)
    half = await browser.sign_in(await browser.get("/sign-in"))
    boss = await acting.admin(world)
    await begin(boss)
    shown = await browser.submit(half, code=app.code())
    assert shown.status == 503


async def test_no_code_is_spent_on_a_login_that_is_stopped(world: World) -> None:
    user, app = with_app(world)
    browser = Browser(world.api)
    half = await browser.sign_in(await browser.get("/sign-in"))
    boss = await acting.admin(world)
    await begin(boss)
    assert (await browser.submit(half, code=app.recovery_codes[0])).status == 503
    stopped(await log_in(world, app.recovery_codes[0]))
    with world.change() as session:
        assert recovery.left(session, user.id)[0] == len(app.recovery_codes)
    assert [each.detail["why"] for each in await world.events("login") if
            each.subject == user.id and each.outcome == "refused"] == ["lockdown"] * 2  # fmt: skip
    assert not await world.events("recovery_code.used")
    await boss.done("DELETE", "/lockdown")
    assert (await browser.submit(half, code=app.recovery_codes[0])).status == 200


async def test_no_second_factor_is_set_up_that_its_user_does_not_hear_of(world: World) -> None:
    """Its recovery codes are shown once, with a session that nobody is given now."""
    user = world.user("ada")
    browser = Browser(world.api)
    await browser.sign_in(await browser.get("/sign-in"))
    page = await browser.get("/account/factors")
    page = await browser.submit(page, "begin")
    app = App(page.answer.text.partition('<code id="key">')[2].partition("<")[0].replace(" ", ""))
    boss = await acting.admin(world)
    await begin(boss)
    assert (await browser.submit(page, "confirm", code=app.code())).status == 503
    with world.change() as session:
        assert not accounts.get(session, user.id).second_factor
    await boss.done("DELETE", "/lockdown")
    page = await browser.submit(page, "confirm", code=app.code())
    assert page.title.startswith("Recovery codes")


@pytest.mark.parametrize("second_factor", [False, True])
async def test_it_counts_though_it_begins_while_a_password_is_compared(
    world: World, monkeypatch: pytest.MonkeyPatch, second_factor: bool
) -> None:
    user, app = with_app(world) if second_factor else (world.user("ada"), None)
    otp = {"otp": app.recovery_codes[0]} if app else {}
    boss = await acting.admin(world)
    before = sessions(world)
    logins = type(world.services.login)
    prove = logins.prove

    async def and_begin(self: Any, login: str, password: str) -> Any:
        proven = await prove(self, login, password)
        await begin(boss)
        return proven

    monkeypatch.setattr(logins, "prove", and_begin)
    form = {"grant_type": "password", "username": "ada", "password": PASSWORD, **otp}
    stopped(await world.token(**form))
    assert sessions(world) == before
    if app:
        with world.change() as session:
            assert recovery.left(session, user.id)[0] == len(app.recovery_codes)
    refusals = [event.detail.get("why") for event in await world.events("login")]
    assert refusals[-1] == "lockdown"


async def test_what_a_grant_began_before_it_is_given_to_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it did: what the endpoint looks at last does not depend on the grant."""
    world.user("ada")
    tokens = await world.log_in()
    boss = await acting.admin(world)
    places = type(world.services.places)
    take = places.take

    async def and_begin(self: Any, owner: str | None, audience: str) -> Any:
        monkeypatch.undo()
        monkeypatch.setattr(endpoint, "A_MOMENT", -1.0)
        await begin(boss)
        return await take(self, owner, audience)

    monkeypatch.setattr(places, "take", and_begin)
    monkeypatch.setattr(endpoint, "A_MOMENT", -1.0)
    stopped(await world.refresh(tokens["refresh_token"]))


def sessions(world: World) -> int:
    with world.change() as session:
        return len(session.exec(select(LoginSession)).all())


@pytest.mark.parametrize("scopes", [("users:write", "users:read", "audit:read"), ("keys:write",)])
async def test_it_takes_the_scope(world: World, scopes: tuple[str, ...]) -> None:
    clerk = await acting.clerk(world, *scopes)
    problem(await clerk("PUT", "/lockdown", {}), 403)
    problem(await clerk("DELETE", "/lockdown"), 403)


async def test_it_takes_a_fresh_login(world: World) -> None:
    boss = await acting.admin(world)
    with frozen() as clock:
        clock.tick(301)
        answer = await boss("PUT", "/lockdown", {})
        assert "insufficient_user_authentication" in answer.headers["www-authenticate"]
        problem(answer, 403)
        problem(await boss("DELETE", "/lockdown"), 403)


async def test_two_who_change_it_at_once_see_each_other(world: World) -> None:
    boss = await acting.admin(world)
    before = (await boss("GET", "/lockdown")).headers["etag"]
    answer = await boss("PUT", "/lockdown", {"reason": "one"}, headers={"if-match": before})
    assert answer.status_code == 200
    problem(await boss("DELETE", "/lockdown", headers={"if-match": before}), 412)
    problem(await boss("PUT", "/lockdown", {}, headers={"if-match": before}), 412)
    now = answer.headers["etag"]
    assert (await boss("DELETE", "/lockdown", headers={"if-match": now})).status_code == 200


async def test_it_is_on_record(world: World) -> None:
    boss = await acting.admin(world)
    await begin(boss, reason="Drill")
    await boss.done("DELETE", "/lockdown")
    (begun,), (lifted,) = (
        await world.events("lockdown.begun"),
        await world.events("lockdown.lifted"),
    )
    assert begun.detail == {"reason": "Drill", "tokens_ended": False}
    assert begun.actor == lifted.actor is not None


async def test_a_client_of_no_user_is_let_in_by_no_scope(world: World) -> None:
    robot = world.client("robot", scopes=["lockdown:write"])
    before = await world.act(robot, scope="lockdown:write")
    headers = bearer(before["access_token"])
    assert (await world.api.put("/lockdown", json={}, headers=headers)).status_code == 200
    stopped(await world.token(robot, grant_type="client_credentials"))
    assert (await world.api.delete("/lockdown", headers=headers)).status_code == 200


async def test_an_exchange_is_stopped_too(world: World) -> None:
    stock = "https://stock.example"
    world.scopes("stock:read", audience=stock, role="clerk")
    world.user("ada", roles=["clerk"])
    caller = Caller("gateway", world.client("gateway", grants=EXCHANGE).secret)
    world.change_client("gateway", settings={"token_exchange": {stock: ["*"]}})
    login = await world.log_in(client=caller)
    boss = await acting.admin(world)
    await begin(boss)
    stopped(
        await world.token(
            caller,
            grant_type=EXCHANGE[0],
            subject_token=login["access_token"],
            subject_token_type="urn:ietf:params:oauth:token-type:access_token",
            audience=stock,
        )
    )
    assert await world.events("token.issued") == []


EXCHANGE = ("urn:ietf:params:oauth:grant-type:token-exchange", "password")
