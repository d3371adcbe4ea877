"""What users do with their own account."""

import asyncio
from typing import Any

from identity import clock
from tests import acting
from tests.acting import Actor, pointers, problem
from tests.world import PASSWORD, World, granted, refused

BETTER = "walnut orchard 55"
CHANGE = {"current_password": PASSWORD, "new_password": BETTER}


async def ada(world: World, **fields: Any) -> Actor:
    world.user(**fields)
    return Actor(world, await world.log_in())


async def test_users_change_their_name_and_address_and_no_more(world: World) -> None:
    me = await ada(world, email="ada@example.com", email_verified=True)
    changed = await me.done("PATCH", "/users/me", {"name": "Ada"})
    assert (changed["name"], changed["email_verified"]) == ("Ada", True)
    changed = await me.done("PATCH", "/users/me", {"email": "countess@example.com"})
    assert (changed["email"], changed["email_verified"]) == ("countess@example.com", False)
    assert (await world.me(me.token)).json() == changed
    for beyond in ("username", "status", "roles", "email_verified"):
        assert pointers(await me("PATCH", "/users/me", {beyond: "admin"})) == {f"/{beyond}"}
    await world.log_in("countess@example.com")


async def test_own_affairs_are_changed_by_tokens_of_scope_account(world: World) -> None:
    """Every user holds it, in no role; a client must be allowed it like any other."""
    world.scopes("read", role="reader")
    world.user(roles=["reader"])
    for client, form in ((None, {"scope": "read"}), (world.client(scopes=["read"]), {})):
        reader = Actor(world, await world.log_in(client=client, **form))
        assert (await reader("GET", "/users/me")).status_code == 200
        assert (await reader("GET", "/users/me/sessions")).status_code == 200
        for method, path, body in MINE:
            if method != "GET":
                answer = await reader(method, path, body)
                problem(answer, 403)
                challenge = answer.headers["www-authenticate"]
                assert 'error="insufficient_scope"' in challenge
                assert 'scope="account"' in challenge
    listed = world.client("listed", scopes=["account"])
    for client, form in ((None, {}), (None, {"scope": "account"}), (listed, {})):
        me = Actor(world, await world.log_in(client=client, **form))
        await me.done("PATCH", "/users/me", {"name": "Ada"})


async def test_a_new_address_takes_the_password_once_the_login_is_older(world: World) -> None:
    with clock.frozen() as time:
        me = await ada(world, email="ada@example.com")
        time.tick(300)
        await me.done("PATCH", "/users/me", {"email": "one@example.com"})
        time.tick(1)
        for change in ({"email": "two@example.com"}, {"email": None}):
            answer = await me("PATCH", "/users/me", change)
            problem(answer, 403)
            challenge = answer.headers["www-authenticate"]
            assert 'error="insufficient_user_authentication"' in challenge
            assert 'max_age="300"' in challenge
        await me.done("PATCH", "/users/me", {"name": "Ada", "email": "one@EXAMPLE.com"})
        assert me.refresh_token
        granted(await world.refresh(me.refresh_token))  # is no login
        problem(await me("PATCH", "/users/me", {"email": "two@example.com"}), 403)
        proof = {"email": "two@example.com", "current_password": PASSWORD}
        problem(await me("PATCH", "/users/me", proof | {"current_password": "wrong one"}), 403)
        assert (await me.done("PATCH", "/users/me", proof))["email"] == "two@example.com"
        await world.log_in("two@example.com")
        answer = await me("PATCH", "/users/me", proof | {"current_password": "a\0" * 9})
        assert pointers(answer) == {"/current_password"}


async def test_a_password_that_is_given_has_to_be_right_however_new_the_login(
    world: World,
) -> None:
    me = await ada(world)
    body = {"email": "one@example.com", "current_password": "no such password"}
    for _ in range(world.services.settings.throttle.login_max_failures):
        problem(await me("PATCH", "/users/me", body), 403)
    answer = await me("PATCH", "/users/me", body | {"current_password": PASSWORD})
    problem(answer, 429)
    assert (await me.done("GET", "/users/me"))["email"] is None


async def test_that_an_address_is_taken_is_said_to_who_has_proven_who_asks(world: World) -> None:
    world.user("bob", email="bob@example.com")
    with clock.frozen() as time:
        me = await ada(world)
        time.tick(301)
        answers = [
            await me("PATCH", "/users/me", {"email": address})
            for address in ("bob@example.com", "BOB@example.com", "free@example.com")
        ]
        assert len({answer.text for answer in answers}) == 1
        problem(answers[0], 403)
        taken = {"email": "bob@example.com", "current_password": PASSWORD}
        assert "taken" in problem(await me("PATCH", "/users/me", taken), 409)["detail"]


async def test_asking_which_addresses_are_taken_is_slowed_whatever_else_succeeds(
    world: World,
) -> None:
    world.user("bob", email="bob@example.com")
    me = await ada(world)
    limit = world.services.settings.throttle.login_max_failures
    body = {"email": "bob@example.com"}
    for number in range(limit):
        problem(await me("PATCH", "/users/me", body), 409)
        if number % 3 == 1:
            await world.log_in()  # forgives failed logins, and nothing else
            await me.done("PATCH", "/users/me", {"email": f"{number}@example.com"})
    for address in ("bob@example.com", "free@example.com"):
        answer = await me("PATCH", "/users/me", {"email": address, "current_password": PASSWORD})
        problem(answer, 429)
        assert int(answer.headers["retry-after"]) > 0
    await me.done("PATCH", "/users/me", {"name": "Ada"})
    await world.log_in()


async def test_asking_at_once_hears_of_no_more_addresses_than_one_by_one(world: World) -> None:
    world.user("bob", email="bob@example.com")
    me = await ada(world)
    limit = world.services.settings.throttle.login_max_failures
    body = {"email": "bob@example.com"}
    answers = await asyncio.gather(*(me("PATCH", "/users/me", body) for _ in range(3 * limit)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {409, 429}
    assert statuses.count(409) <= limit


async def test_a_changed_password_ends_all_other_sessions(world: World) -> None:
    me = await ada(world)
    other = await world.log_in()
    assert (await me("POST", "/users/me/password", CHANGE)).status_code == 204
    assert await world.active(me.token)
    assert not await world.active(other["access_token"])
    refused(await world.refresh(other["refresh_token"]), 400, "invalid_grant")
    assert me.refresh_token
    assert (await world.refresh(me.refresh_token)).status_code == 200
    login = {"grant_type": "password", "username": "ada"}
    refused(await world.token(**login, password=PASSWORD), 400, "invalid_grant")
    await world.log_in("ada", BETTER)


NO_PASSWORDS: list[tuple[dict[str, Any], str]] = [
    ({"new_password": "short"}, "/new_password"),
    ({"new_password": "password1"}, "/new_password"),
    ({"new_password": PASSWORD}, "/new_password"),
    ({"new_password": "a\0" * 9}, "/new_password"),
    ({"new_password": 12345678}, "/new_password"),
    ({"current_password": "a\0" * 9}, "/current_password"),
    ({"current_password": "x" * 5000}, "/current_password"),
    ({"current_password": None}, "/current_password"),
]


async def test_what_cannot_be_a_password_is_refused(world: World) -> None:
    me = await ada(world)
    for change, where in NO_PASSWORDS:
        body = CHANGE | change
        assert pointers(await me("POST", "/users/me/password", body)) == {where}
        body |= {"username": "ada"}
        assert pointers(await me("POST", "/password", body)) == {where}
    await world.log_in()


async def test_guessing_the_current_password_is_slowed_like_a_login(world: World) -> None:
    me = await ada(world)
    wrong = CHANGE | {"current_password": "no such password"}
    limit = world.services.settings.throttle.login_max_failures
    for number in range(limit):
        path = "/users/me/password" if number % 2 else "/password"
        body = wrong if number % 2 else wrong | {"username": "ADA"}
        problem(await me("POST", path, body), 403)
    answer = await me("POST", "/users/me/password", CHANGE)
    problem(answer, 429)
    assert int(answer.headers["retry-after"]) > 0
    answer = await world.token(grant_type="password", username="ada", password=PASSWORD)
    assert answer.status_code == 429


async def test_a_password_is_changed_without_a_token_and_every_session_ends(world: World) -> None:
    me = await ada(world, email="ada@example.com")
    body = CHANGE | {"username": "ada@example.com"}
    assert (await world.api.post("/password", json=body)).status_code == 204
    assert not await world.active(me.token)
    await world.log_in("ada", BETTER)
    (event,) = await world.events("user.password_changed")
    assert event.actor == event.subject


async def test_of_two_changes_of_a_password_at_once_one_holds(world: World) -> None:
    world.user()
    news = [f"{BETTER} {number}" for number in range(3)]
    answers = await asyncio.gather(
        *(
            world.api.post("/password", json=CHANGE | {"username": "ada", "new_password": new})
            for new in news
        )
    )
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [204, 403, 403]
    await world.log_in("ada", news[statuses.index(204)])


async def test_unknown_disabled_and_wrong_are_refused_alike(world: World) -> None:
    world.user("ada")
    world.user("bob", status="disabled")
    answers = [
        await world.api.post("/password", json=CHANGE | {"username": "nobody"}),
        await world.api.post("/password", json=CHANGE | {"username": "bob"}),
        await world.api.post(
            "/password", json=CHANGE | {"username": "ada", "current_password": "wrong password"}
        ),
    ]
    assert {problem(answer, 403)["detail"] for answer in answers} == {
        "the username or password is wrong"
    }


async def test_the_new_password_must_not_be_the_name_whichever_name_was_typed(
    world: World,
) -> None:
    world.user("adalovelace", email="countess@example.com")
    body = {"current_password": PASSWORD, "username": "countess@example.com"}
    for new in ("AdaLovelace", "countess@example.com"):
        answer = await world.api.post("/password", json=body | {"new_password": new})
        assert pointers(answer) == {"/new_password"}


async def test_my_sessions_show_which_one_asks_and_end(world: World) -> None:
    me = await ada(world)
    other = Actor(world, await world.log_in())
    mine = (await me.done("GET", "/users/me/sessions"))["items"]
    assert [session["current"] for session in mine] == [False, True]
    await me.done("DELETE", f"/users/me/sessions/{mine[0]['id']}")
    assert not await world.active(other.token)
    assert len((await me.done("GET", "/users/me/sessions"))["items"]) == 1
    problem(await me("DELETE", f"/users/me/sessions/{mine[0]['id']}"), 404)
    await me.done("DELETE", f"/users/me/sessions/{mine[1]['id']}")
    problem(await me("GET", "/users/me/sessions"), 401)


async def test_sessions_of_others_are_not_found(world: World) -> None:
    me = await ada(world)
    boss = await acting.admin(world)
    theirs = (await boss.done("GET", "/users/me/sessions"))["items"][0]
    problem(await me("DELETE", f"/users/me/sessions/{theirs['id']}"), 404)
    assert await world.active(boss.token)


MINE: list[tuple[str, str, Any]] = [
    ("GET", "/users/me", None),
    ("PATCH", "/users/me", {"name": "x"}),
    ("POST", "/users/me/password", CHANGE),
    ("GET", "/users/me/sessions", None),
    ("DELETE", "/users/me/sessions/x", None),
    ("GET", "/users/me/factors", None),
    ("POST", "/users/me/factors/totp", None),
    ("POST", "/users/me/factors/totp/confirm", {"code": "287082"}),
    ("DELETE", "/users/me/factors/totp", None),
    ("POST", "/users/me/factors/recovery-codes", None),
    ("POST", "/users/me/factors/passkeys", None),
    ("POST", "/users/me/factors/passkeys/confirm", {"name": "x", "credential": {}}),
    ("PATCH", "/users/me/factors/passkeys/x", {"name": "x"}),
    ("DELETE", "/users/me/factors/passkeys/x", None),
]


async def test_a_client_has_no_account(world: World) -> None:
    client = world.client("robot", scopes=["users:write", "account"])
    robot = Actor(world, await world.act(client, scope="*"))
    for method, path, body in MINE:
        problem(await robot(method, path, body), 403)
        problem(await world.api.request(method, path, json=body), 401)


async def test_a_token_for_another_service_does_nothing_here(world: World) -> None:
    world.user()
    orders = "https://orders.example.com"
    shop = world.client("shop", audiences=[orders])
    them = Actor(world, await world.log_in(client=shop, resource=orders))
    assert await world.active(them.token)
    for method, path, body in MINE:
        answer = await them(method, path, body)
        problem(answer, 401)
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
