"""`/users/{id}/why` over HTTP: who may ask, and what they are told."""

from tests import acting
from tests.acting import pointers, problem
from tests.world import World


async def test_what_keeps_a_user_out_and_what_they_may_come_in_one_answer(world: World) -> None:
    world.scopes("orders:read", role="clerk")
    ada = world.user("ada", roles=["clerk"], must_change_password=True)
    world.client("shop", scopes=["orders:read"])
    await world.token(grant_type="password", username="ada", password="wrong")
    boss = await acting.admin(world)
    said = await boss.done("GET", f"/users/{ada.id}/why")
    assert [each["reason"] for each in said["sign_in"]["obstacles"]] == ["password_must_change"]
    assert [each["why"] for each in said["sign_in"]["failures"]] == ["wrong password"]
    assert said["rights"] is None

    params = {"client_id": "shop", "scope": "orders:read users:read account nothing"}
    rights = (await boss.done("GET", f"/users/{ada.id}/why", params=params))["rights"]
    traced = {each["scope"]: each for each in rights["scopes"]}
    assert traced["orders:read"]["granted"]
    assert [role["role"] for role in traced["orders:read"]["roles"]] == ["clerk"]
    assert traced["orders:read"]["client"] == "by name"
    assert traced["users:read"]["withheld"] == "client"
    assert traced["account"]["everybodys"] and traced["account"]["withheld"] == "client"
    assert not traced["nothing"]["exists"] and not traced["nothing"]["granted"]


async def test_each_scope_that_is_not_granted_says_who_has_not_got_it(world: World) -> None:
    orders = "https://orders.example.com"
    world.scopes("orders:read", audience=orders, role="clerk")
    world.scopes("orders:write", audience=orders, role="chief")
    ada = world.user("ada", roles=["clerk"])
    world.client("shop", scopes=["orders:read", "orders:write", "account"], audiences=[orders])
    boss = await acting.admin(world)
    asked = "orders:read orders:write account profile"
    params = {"client_id": "shop", "scope": asked, "resource": orders}
    rights = (await boss.done("GET", f"/users/{ada.id}/why", params=params))["rights"]
    assert {each["scope"]: each["withheld"] for each in rights["scopes"]} == {
        "orders:read": None,
        "orders:write": "user",
        "account": "resource",
        "profile": "client",
    }


async def test_failures_are_for_who_reads_the_audit(world: World) -> None:
    ada = world.user("ada")
    await world.token(grant_type="password", username="ada", password="wrong")
    reader = await acting.clerk(world, "users:read")
    assert (await reader.done("GET", f"/users/{ada.id}/why"))["sign_in"]["failures"] is None
    stranger = await acting.clerk(world, "clients:read", username="stranger")
    problem(await stranger("GET", f"/users/{ada.id}/why"), 403)


async def test_what_is_not_there_is_not_found(world: World) -> None:
    ada = world.user("ada")
    world.client("shop")
    boss = await acting.admin(world)
    problem(await boss("GET", "/users/nobody/why"), 404)
    problem(await boss("GET", f"/users/{ada.id}/why", params={"client_id": "none"}), 404)
    params = {"client_id": "shop", "resource": "https://elsewhere.example"}
    assert pointers(await boss("GET", f"/users/{ada.id}/why", params=params)) == {"?resource"}


async def test_as_many_scopes_are_asked_about_as_a_token_may_be_asked_for_with(
    world: World,
) -> None:
    ada = world.user("ada")
    world.client("shop")
    boss = await acting.admin(world)
    params = {"client_id": "shop"}
    params["scope"] = " ".join(f"a.scope.with.a.long.name:{n}" for n in range(60))
    found = await boss.done("GET", f"/users/{ada.id}/why", params=params)
    assert len(found["rights"]["scopes"]) == 60


async def test_what_is_no_scope_is_refused_whether_a_client_is_named_or_not(world: World) -> None:
    ada = world.user("ada")
    world.client("shop")
    boss = await acting.admin(world)
    for params in ({"scope": "ü"}, {"client_id": "shop", "scope": 'a"b'}):
        wrong = await boss("GET", f"/users/{ada.id}/why", params=params)
        assert pointers(wrong) == {"?scope"}
