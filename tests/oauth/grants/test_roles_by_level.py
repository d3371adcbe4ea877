"""Roles that want a second factor: below it they count as not held."""

from typing import Any

from identity.directory.access import editing
from tests import acting
from tests.acting import Actor, problem
from tests.browsing import Browser, Flow, code_client
from tests.second_factors import App, log_in, with_app
from tests.world import World, claims_of, granted, refused

ROLE = "treasurer"


def treasury(world: World, *, acr: str | None = "aal2") -> None:
    world.scopes("pay", role=ROLE)
    world.scopes("read", role="clerk")
    demand(world, acr)


def demand(world: World, acr: str | None) -> None:
    with world.change() as session:
        editing.update_role(session, editing.get_role(session, ROLE), {"acr": acr}, None)


def rights(tokens: dict[str, Any]) -> tuple[list[str], bool]:
    claims = claims_of(tokens["access_token"])
    return claims["roles"], "pay" in claims["scope"].split()


async def test_a_password_alone_has_none_of_it_and_a_code_has_all(world: World) -> None:
    treasury(world)
    _, app = with_app(world, roles=[ROLE, "clerk"])
    world.user("eve", roles=[ROLE, "clerk"])
    eve = await world.log_in("eve")
    assert rights(eve) == (["clerk"], False)
    assert rights(granted(await world.refresh(eve["refresh_token"]))) == (["clerk"], False)
    answer = await world.introspect(eve["access_token"])
    assert answer["roles"] == ["clerk"] and "pay" not in answer["scope"].split()
    denied = await world.token(grant_type="password", username="eve",
                               password="tangerine harbour 71", scope="pay")  # fmt: skip
    assert denied.status_code == 400 or not granted(denied)["scope"]
    ada = granted(await log_in(world, app.code()))
    assert rights(ada) == (["clerk", ROLE], True)
    assert rights(granted(await world.refresh(ada["refresh_token"]))) == (["clerk", ROLE], True)
    assert "pay" in (await world.introspect(ada["access_token"]))["scope"].split()


async def test_a_role_that_begins_to_want_it_is_lost_at_once(world: World) -> None:
    treasury(world, acr=None)
    _, app = with_app(world, roles=[ROLE])
    world.user("eve", roles=[ROLE])
    eve = await world.log_in("eve")
    ada = granted(await log_in(world, app.code()))
    assert rights(eve)[1]
    demand(world, "aal2")
    assert "pay" not in (await world.introspect(eve["access_token"]))["scope"].split()
    assert "pay" in (await world.introspect(ada["access_token"]))["scope"].split()
    refreshed = granted(await world.refresh(eve["refresh_token"]))
    assert rights(refreshed) == ([], False)
    demand(world, None)
    assert "pay" in (await world.introspect(eve["access_token"]))["scope"].split()


async def test_administrators_say_which_roles_want_it(world: World) -> None:
    boss = await acting.admin(world)
    role = {"name": "sealed", "acr": "aal2", "scopes": ["users:read"]}
    assert (await boss.done("POST", "/roles", role))["acr"] == "aal2"
    assert (await boss.done("GET", "/roles/sealed"))["acr"] == "aal2"
    for acr in (None, "aal2", "phr"):
        assert (await boss.done("PATCH", "/roles/sealed", {"acr": acr}))["acr"] == acr
    problem(await boss("PATCH", "/roles/sealed", {"acr": "gold"}), 422)
    world.user(roles=["sealed"])
    problem(await Actor(world, await world.log_in(scope="*"))("GET", "/users"), 403)


async def test_a_browser_session_has_what_its_level_gives(world: World) -> None:
    treasury(world)
    _, app = with_app(world, roles=[ROLE, "clerk"])
    world.user("eve", roles=[ROLE, "clerk"])
    asked = {"scope": "openid groups pay read"}
    flow = Flow(world, code_client(world, first_party=True, claims_in_id_token=True))
    for username, roles in (("eve", ["clerk"]), ("ada", ["clerk", ROLE])):
        browser = Browser(world.api)
        page, verifier = await flow.start(browser, **asked)
        page = await browser.sign_in(page, username)
        if username == "ada":
            page = await browser.submit(page, "code", code=app.code())
        told = granted(await flow.redeem(page.sent_to["code"], verifier))
        assert rights(told) == (roles, ROLE in roles)
        assert claims_of(told["id_token"])["groups"] == roles
        again = granted(await world.refresh(told["refresh_token"], flow.client))
        assert rights(again) == (roles, ROLE in roles)


async def test_administration_can_want_it_and_enrolment_stays_open(world: World) -> None:
    boss = await acting.admin(world)
    await boss.done("PATCH", "/roles/admin", {"acr": "aal2"})
    problem(await boss("GET", "/users"), 403)
    app = App.scanned((await boss.done("POST", "/users/me/factors/totp"))["uri"])
    confirm = {"code": app.code(-1)}
    await boss.done("POST", "/users/me/factors/totp/confirm", confirm)
    problem(await boss("GET", "/users"), 403)
    form = {"grant_type": "password", "username": "admin", "scope": "*"}
    again = await world.token(**form, password=acting.ADMIN_PASSWORD, otp=app.code())
    boss = Actor(world, granted(again))
    await boss.done("GET", "/users")
    wrong = await world.token(**form, password=acting.ADMIN_PASSWORD, otp=app.code())
    refused(wrong, 400, "invalid_grant")
