"""`/users/me/factors`: setting up a second factor, and doing without it again."""

from datetime import timedelta

from identity import clock
from identity.authentication import recovery
from identity.directory.users import accounts
from identity.directory.users.table import User
from tests import acting
from tests.acting import Actor, pointers, problem
from tests.second_factors import App, at_once, log_in, with_app
from tests.world import PASSWORD, World, granted, refused

TOTP = "/users/me/factors/totp"
CONFIRM = f"{TOTP}/confirm"
RECOVERY = "/users/me/factors/recovery-codes"
CHANGES = (("POST", TOTP, None), ("POST", CONFIRM, {"code": "000000"}), ("DELETE", TOTP, None))


async def begun(me: Actor) -> App:
    document = await me.done("POST", TOTP)
    app = App.scanned(document["uri"])
    assert app.secret == document["secret"] and len(app.secret) == 32
    return app


async def listed(me: Actor) -> dict[str, dict[str, object]]:
    items = (await me.done("GET", "/users/me/factors"))["items"]
    return {item["kind"]: item for item in items}


async def test_an_app_is_set_up_in_two_steps_and_counts_after_the_second(world: World) -> None:
    world.user()
    me = Actor(world, await world.log_in())
    assert await listed(me) == {}
    app = await begun(me)
    assert await listed(me) == {}
    await world.log_in()  # asked for nothing yet
    assert pointers(await me("POST", CONFIRM, {"code": app.wrong()})) == {"/code"}
    code = app.code()
    codes = (await me.done("POST", CONFIRM, {"code": code}))["recovery_codes"]
    assert len({*codes}) == 10
    factors = await listed(me)
    assert set(factors) == {"totp", "recovery_codes"}
    assert factors["recovery_codes"]["left"] == 10
    assert factors["totp"]["last_used_at"] is None
    refused(await log_in(world, code), 400, "invalid_grant")  # the confirming code is used
    assert "factors" in (await world.token(grant_type="password", username="ada",
                                           password=PASSWORD)).json()  # fmt: skip
    granted(await log_in(world, codes[0]))
    assert (await listed(me))["recovery_codes"]["left"] == 9
    [event] = await world.events("factor.added")
    assert (event.detail["kind"], event.detail["replaces"]) == ("totp", False)


async def test_a_secret_waits_a_quarter_of_an_hour_and_the_last_one_shown_counts(
    world: World,
) -> None:
    world.user()
    with clock.frozen() as hand:
        me = Actor(world, await world.log_in())
        problem(await me("POST", CONFIRM, {"code": "000000"}), 409)
        first, second = await begun(me), await begun(me)
        assert pointers(await me("POST", CONFIRM, {"code": first.code()})) == {"/code"}
        hand.tick(timedelta(minutes=15))
        me = Actor(world, await world.log_in())
        problem(await me("POST", CONFIRM, {"code": second.code()}), 409)


async def test_two_who_confirm_at_once_get_one_set_of_recovery_codes(world: World) -> None:
    world.user()
    me = Actor(world, await world.log_in())
    app = await begun(me)
    answers = await at_once(*(me("POST", CONFIRM, {"code": app.code()}) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) in ([200, 403], [200, 409])


async def test_a_session_by_password_alone_changes_no_factor_where_there_is_one(
    world: World,
) -> None:
    world.user()
    before = Actor(world, await world.log_in())
    app = await begun(before)
    await before.done("POST", CONFIRM, {"code": app.code()})
    for method, path, body in (*CHANGES, ("POST", RECOVERY, None)):
        answer = await before(method, path, body)
        problem(answer, 403)
        challenge = answer.headers["www-authenticate"]
        assert 'error="insufficient_user_authentication"' in challenge
        assert 'acr_values="aal2"' in challenge and 'max_age="300"' in challenge
    assert set(await listed(before)) == {"totp", "recovery_codes"}


async def test_a_login_of_five_minutes_ago_changes_no_factor(world: World) -> None:
    world.user()
    with clock.frozen() as hand:
        me = Actor(world, await world.log_in())
        hand.tick(301)
        assert me.refresh_token
        me = Actor(world, granted(await world.refresh(me.refresh_token)))  # is no login
        for method, path, body in CHANGES:
            answer = await me(method, path, body)
            problem(answer, 403)
            assert 'max_age="300"' in answer.headers["www-authenticate"]
            assert "acr_values" not in answer.headers["www-authenticate"]


async def test_whoever_shows_the_app_replaces_it_and_does_without_it(world: World) -> None:
    _, app = with_app(world)
    with clock.frozen() as hand:
        me = Actor(world, granted(await log_in(world, app.code())))
        new = await begun(me)
        hand.tick(30)
        granted(await log_in(world, app.code()))  # the old one goes on
        hand.tick(30)
        done = await me.done("POST", CONFIRM, {"code": new.code()})
        assert done["recovery_codes"] is None
        hand.tick(30)
        refused(await log_in(world, app.code()), 400, "invalid_grant")
        granted(await log_in(world, new.code()))
        granted(await log_in(world, app.recovery_codes[0]))
        await me.done("DELETE", TOTP)
        assert await listed(me) == {}
        problem(await me("DELETE", TOTP), 404)
        problem(await me("POST", RECOVERY), 409)
    await world.log_in()


async def test_new_recovery_codes_end_the_old_ones(world: World) -> None:
    _, app = with_app(world)
    me = Actor(world, granted(await log_in(world, app.code())))
    new = (await me.done("POST", RECOVERY))["recovery_codes"]
    assert len(new) == 10 and not {*new} & {*app.recovery_codes}
    refused(await log_in(world, app.recovery_codes[0]), 400, "invalid_grant")
    granted(await log_in(world, new[0]))


async def test_an_administrator_sees_and_resets_the_factors_of_others(world: World) -> None:
    user, app = with_app(world)
    tokens = granted(await log_in(world, app.code()))
    boss = await acting.admin(world)
    items = (await boss.done("GET", f"/users/{user.id}/factors"))["items"]
    assert [item["kind"] for item in items] == ["totp", "recovery_codes"]
    assert app.secret not in str(items)
    await boss.done("DELETE", f"/users/{user.id}/factors?reason=telephone+lost")
    assert not await world.active(tokens["access_token"])
    await world.log_in()
    [event] = await world.events("factors.reset")
    assert (event.subject, event.detail["reason"]) == (user.id, "telephone lost")
    problem(await boss("DELETE", f"/users/{user.id}/factors"), 404)
    problem(await boss("GET", "/users/nobody/factors"), 404)


async def test_nobody_resets_the_factors_of_who_holds_more(world: World) -> None:
    clerk = await acting.clerk(world, "users:read", "users:write")
    with world.change() as session:
        boss = accounts.find_by_login(session, "admin")
        assert boss is not None
    problem(await clerk("DELETE", f"/users/{boss.id}/factors"), 403)
    reader = await acting.clerk(world, "users:read", username="reader")
    user, _ = with_app(world)
    await reader.done("GET", f"/users/{user.id}/factors")
    problem(await reader("DELETE", f"/users/{user.id}/factors"), 403)
    me = Actor(world, granted(await log_in(world, given(world, user))))
    problem(await me("DELETE", f"/users/{user.id}/factors"), 403)
    problem(await me("GET", f"/users/{boss.id}/factors"), 403)


async def test_an_administrators_stolen_token_resets_nothing(world: World) -> None:
    """Whoever resets factors has lately shown their own."""
    user, _ = with_app(world)
    with clock.frozen() as hand:
        boss = await acting.admin(world)
        hand.tick(301)
        problem(await boss("DELETE", f"/users/{user.id}/factors"), 403)
        boss = await acting.admin(world)
        app = await begun(boss)
        await boss.done("POST", CONFIRM, {"code": app.code()})
        problem(await boss("DELETE", f"/users/{user.id}/factors"), 403)  # by password alone


def given(world: World, user: User) -> str:
    """A recovery code of a user, made anew."""
    with world.change() as session:
        return recovery.renew(session, user.id)[0]
