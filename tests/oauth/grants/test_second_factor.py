"""`otp` of the password grant: who is asked for it, what it buys, and what guessing it buys."""

from datetime import timedelta
from typing import Any

import pytest

from identity import clock
from identity.authentication.totp import Totp
from identity.store import Database
from tests.second_factors import at_once, log_in, with_app
from tests.world import PASSWORD, World, claims_of, granted, refused

WRONG = "the username or password is wrong"
BY_PASSWORD = {"grant_type": "password", "username": "ada", "password": PASSWORD}


def proof_of(tokens: dict[str, Any]) -> tuple[list[str], str]:
    claims = claims_of(tokens["access_token"])
    return claims["amr"], claims["acr"]


async def test_whoever_has_an_app_is_asked_for_its_code_and_gets_a_better_token(
    world: World,
) -> None:
    user, app = with_app(world)
    answer = await world.token(**BY_PASSWORD)
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "invalid_grant",
        "error_description": "a second factor is needed: send its code as otp",
        "factors": ["totp", "recovery_code"],
    }
    tokens = granted(await log_in(world, app.code()))
    assert proof_of(tokens) == (["pwd", "otp", "mfa"], "aal2")
    refreshed = granted(await world.refresh(tokens["refresh_token"]))
    assert proof_of(refreshed) == (["pwd", "otp", "mfa"], "aal2")
    needed, given = sorted(await world.events("login"), key=lambda event: event.outcome)
    assert (needed.outcome, needed.subject) == ("refused", user.id)
    assert needed.detail["why"] == "second factor needed"
    assert (given.outcome, given.subject) == ("success", user.id)


async def test_whoever_has_none_is_asked_for_nothing(world: World) -> None:
    world.user()
    assert proof_of(await world.log_in()) == (["pwd"], "aal1")
    assert proof_of(await world.log_in(otp="123456")) == (["pwd"], "aal1")
    assert proof_of(await world.log_in(otp="")) == (["pwd"], "aal1")


async def test_the_factor_is_asked_for_after_a_right_password_alone(world: World) -> None:
    """Else it would say who exists, and who has one."""
    _, app = with_app(world)
    world.user("eve")
    world.user("off", status="disabled")
    tries = [("ada", "wrong"), ("eve", "wrong"), ("nobody", PASSWORD), ("off", PASSWORD)]
    for username, password in tries:
        for otp in ("", app.code(), "000000", app.recovery_codes[0]):
            form = {"username": username, "password": password, "otp": otp}
            answer = await world.token(grant_type="password", **form)
            assert refused(answer, 400, "invalid_grant") == WRONG
    assert refused(await log_in(world, app.wrong()), 400, "invalid_grant") == WRONG
    granted(await log_in(world, app.code()))  # none of it has used the code


async def test_a_code_is_good_once(world: World) -> None:
    _, app = with_app(world)
    with clock.frozen() as hand:
        code = app.code()
        granted(await log_in(world, code))
        for again in (code, f" {code[:3]} {code[3:]}", app.code(-1)):
            assert refused(await log_in(world, again), 400, "invalid_grant") == WRONG
        hand.tick(30)
        refused(await log_in(world, code), 400, "invalid_grant")
        granted(await log_in(world, app.code()))


async def test_of_many_who_give_one_code_at_once_one_is_let_in(world: World) -> None:
    _, app = with_app(world)
    for code in (app.code(), app.recovery_codes[0]):
        answers = await at_once(*(log_in(world, code) for _ in range(5)))
        outcomes = [answer.status_code for answer in answers]
        assert outcomes.count(200) == 1
        assert set(outcomes) <= {200, 400, 503}  # some may find the hashing threads busy


async def test_a_recovery_code_is_good_once_and_for_its_owner(world: World) -> None:
    _, app = with_app(world)
    _, other = with_app(world, "eve")
    first, second = app.recovery_codes[:2]
    refused(await log_in(world, other.recovery_codes[0]), 400, "invalid_grant")
    tokens = granted(await log_in(world, first.upper().replace("-", " ")))
    assert proof_of(tokens) == (["pwd", "otp", "mfa"], "aal2")
    refused(await log_in(world, first), 400, "invalid_grant")
    granted(await log_in(world, second))
    granted(await log_in(world, other.recovery_codes[0], "eve"))
    assert len(await world.events("recovery_code.used")) == 3


async def test_guesses_are_counted_per_account_wherever_they_come_from(
    world: World,
) -> None:
    """The limit of wrong passwords holds for wrong codes in a row; then each locks for longer."""
    _, app = with_app(world)
    with clock.frozen() as hand:
        for _ in range(10):
            refused(await log_in(world, app.wrong()), 400, "invalid_grant")
        for minutes in (5, 10, 20):
            locked = await log_in(world, app.code())  # even the right one
            assert refused(locked, 429, "temporarily_unavailable")
            assert int(locked.headers["retry-after"]) == minutes * 60
            hand.tick(minutes * 60)
            refused(await log_in(world, app.wrong()), 400, "invalid_grant")
        hand.tick(timedelta(minutes=40))
        granted(await log_in(world, app.code()))
        hand.tick(30)
        refused(await log_in(world, app.wrong()), 400, "invalid_grant")  # counts from one
        granted(await log_in(world, app.code()))


async def test_a_locked_user_gets_in_with_a_recovery_code(world: World) -> None:
    _, app = with_app(world)
    for _ in range(10):
        await log_in(world, app.wrong())
    refused(await log_in(world, app.code()), 429, "temporarily_unavailable")
    granted(await log_in(world, app.recovery_codes[0]))
    granted(await log_in(world, app.code()))


async def test_guesses_at_once_pass_no_limit(world: World, db: Database) -> None:
    """Each is counted before it is compared, also on another replica."""
    user, app = with_app(world)
    answers = await at_once(*(log_in(world, app.wrong()) for _ in range(24)))
    outcomes = [answer.status_code for answer in answers if answer.status_code != 503]
    assert outcomes.count(400) <= 10
    with db.transaction() as session:
        assert session.get_one(Totp, user.id).wrong <= 10


async def test_no_lock_is_longer_than_a_day(world: World) -> None:
    user, app = with_app(world)
    with world.change() as session:
        session.get_one(Totp, user.id).wrong = 4_000
    with clock.frozen():
        refused(await log_in(world, app.wrong()), 400, "invalid_grant")
        locked = await log_in(world, app.code())
        assert int(locked.headers["retry-after"]) == 24 * 3600


async def test_a_one_time_password_is_changed_before_anybody_asks_for_a_code(
    world: World,
) -> None:
    _, app = with_app(world, must_change_password=True)
    for otp in ("", app.code()):
        said = refused(await log_in(world, otp), 400, "invalid_grant")
        assert "POST /password" in said
    change = {"username": "ada", "current_password": PASSWORD, "new_password": "walnut orchard 55"}
    assert (await world.api.post("/password", json=change)).status_code == 204
    form = BY_PASSWORD | {"password": "walnut orchard 55"}
    assert "factors" in (await world.token(**form)).json()
    granted(await world.token(**form, otp=app.code()))


async def test_the_secret_is_nowhere_in_the_database_as_it_is(world: World) -> None:
    user, app = with_app(world)
    other, _ = with_app(world, "eve")
    with world.change() as session:
        assert app.secret not in str(session.get_one(Totp, user.id).model_dump())
    # One that was put into another's row opens nothing.
    with world.change() as session:
        session.get_one(Totp, other.id).secret = session.get_one(Totp, user.id).secret
    answer = await log_in(world, app.code(), "eve")
    assert answer.status_code == 500


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_wrong_codes_by_the_hundred_do_not_fill_the_audit(world: World) -> None:
    user, _ = with_app(world)
    with clock.frozen():
        for number in range(30):
            code = f"aaaa-bbbb-cccc-dddd-ee{number:02d}-ff"
            refused(await log_in(world, code), 400, "invalid_grant")
        events = await world.events("login")
        assert len(events) <= 11 and all(event.subject == user.id for event in events)
