"""What administrators do with clients."""

from typing import Any

import pytest

from identity.clock import frozen
from identity.directory.access.granting import ADMINISTRATIVE
from identity.directory.access.table import RoleScope
from identity.store import changes
from tests import acting
from tests.acting import Actor, pointers, problem
from tests.browsing import Browser, Flow, code_client
from tests.world import Caller, World, bearer, refused

REPORT = {
    "id": "report", "name": "Nightly report", "grant_types": ["client_credentials"],
    "scopes": ["users:read", "introspect"], "audiences": ["https://orders.example.com"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def resource(world: World) -> None:
    """The one that REPORT may name."""
    world.scopes("orders:read", audience="https://orders.example.com")


async def register(boss: Actor, **changed: Any) -> tuple[dict[str, Any], Caller]:
    client = await boss.done("POST", "/clients", REPORT | changed)
    return client, Caller(client["id"], client["client_secret"])


async def test_a_new_client_shows_its_secret_once_and_works_with_it(world: World) -> None:
    boss = await acting.admin(world)
    answer = await boss("POST", "/clients", REPORT)
    client = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"].endswith("/clients/report")
    assert answer.headers["cache-control"] == "no-store"
    assert client["client_id"] == client["id"] == "report"
    secret = client.pop("client_secret")
    assert secret.startswith("cs_")
    assert client["secrets"][0]["hint"] == secret[-4:]
    del client["client_id"]
    assert await boss.done("GET", answer.headers["location"]) == client
    assert secret not in (await boss("GET", "/clients")).text
    tokens = await world.act(Caller("report", secret), scope="*")
    assert tokens["scope"] == "introspect users:read"
    tokens = await world.act(Caller("report", secret), resource="https://orders.example.com")
    assert (await world.introspect(tokens["access_token"]))["aud"] == "https://orders.example.com"


async def test_a_public_client_has_no_secret_and_cannot_get_one(world: World) -> None:
    boss = await acting.admin(world)
    app = await boss.done(
        "POST", "/clients",
        {"name": "App", "type": "public", "grant_types": ["password"], "scopes": ["*"]},
    )  # fmt: skip
    assert (app["client_secret"], app["secrets"]) == (None, [])
    problem(await boss("POST", f"/clients/{app['id']}/secrets"), 409)
    world.user(roles=["admin"])
    tokens = await world.log_in(client=Caller(app["id"], None), scope="*")
    assert "users:write" in tokens["scope"].split()


BAD_CLIENTS: list[tuple[dict[str, Any], set[str]]] = [
    ({"name": None}, {"/name"}),
    ({"name": " "}, {"/name"}),
    ({"name": "Nightly\nreport"}, {"/name"}),
    ({"id": ""}, {"/id"}),
    ({"id": "a:b"}, {"/id"}),
    ({"id": "-a"}, {"/id"}),
    ({"id": "a\n"}, {"/id"}),
    ({"id": "a" * 65}, {"/id"}),
    ({"type": "secret"}, {"/type"}),
    ({"grant_types": ["implicit"]}, {"/grant_types"}),
    ({"scopes": ["no:such"]}, {"/scopes"}),
    ({"scopes": ["*"]}, {"/scopes"}),
    ({"type": "public"}, {"/grant_types"}),
    ({"audiences": ["a b"]}, {"/audiences"}),
    ({"audiences": ["https://a.example#b"]}, {"/audiences"}),
    ({"audiences": ["", "\0"]}, {"/audiences/1"}),
    ({"secret": "mine"}, {"/secret"}),
    (
        {"grant_types": ["implicit"], "scopes": ["*"], "audiences": [""]},
        {"/grant_types", "/audiences"},
    ),
]


async def test_bad_input_is_refused_and_says_where(world: World) -> None:
    boss = await acting.admin(world)
    for changed, where in BAD_CLIENTS:
        assert pointers(await boss("POST", "/clients", REPORT | changed)) == where, changed
    await register(boss)
    problem(await boss("POST", "/clients", REPORT), 409)
    for changed, where in BAD_CLIENTS:
        if not changed.keys() & {"id", "type"}:
            answer = await boss("PATCH", "/clients/report", changed)
            assert pointers(answer) == where, changed
    for fixed in ("id", "type", "builtin", "secrets", "created_at"):
        assert pointers(await boss("PATCH", "/clients/report", {fixed: None})) == {f"/{fixed}"}


async def test_a_patch_takes_effect_on_tokens_already_issued(world: World) -> None:
    boss = await acting.admin(world)
    client, caller = await register(boss)
    token = (await world.act(caller, scope="*"))["access_token"]
    patched = await boss.done(
        "PATCH", "/clients/report", {"scopes": ["introspect"], "name": "Weekly"}
    )
    assert patched == client_out(client) | {
        "scopes": ["introspect"], "scope": "introspect",
        "name": "Weekly", "client_name": "Weekly", "updated_at": patched["updated_at"],
    }  # fmt: skip
    assert (await world.introspect(token))["scope"] == "introspect"
    await boss.done("PATCH", "/clients/report", {"grant_types": []})
    refused(await world.token(caller, grant_type="client_credentials"), 400, "unauthorized_client")


async def test_everything_of_a_disabled_client_is_dead_at_once(world: World) -> None:
    boss = await acting.admin(world)
    grants = ["password", "refresh_token", "client_credentials"]
    _, caller = await register(boss, grant_types=grants)
    world.user()
    own = (await world.act(caller))["access_token"]
    tokens = await world.log_in(client=caller)
    await boss.done("PATCH", "/clients/report", {"status": "disabled"})
    for token in (own, tokens["access_token"], tokens["refresh_token"]):
        assert not await world.active(token)
    refused(await world.token(caller, grant_type="client_credentials"), 401, "invalid_client")
    await boss.done("PATCH", "/clients/report", {"status": "active"})
    refused(await world.refresh(tokens["refresh_token"], caller), 400, "invalid_grant")
    assert not await world.active(tokens["access_token"])
    await world.act(caller)


async def test_a_client_enabled_in_the_second_of_its_end_gets_a_token_that_lives(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    boss = await acting.admin(world)
    _, caller = await register(boss)
    with frozen() as clock:

        async def wait(seconds: float) -> None:
            clock.tick(seconds)

        monkeypatch.setattr("identity.oauth.token.sleep", wait)
        clock.tick(1)
        old = (await world.act(caller))["access_token"]
        for status in ("disabled", "active"):
            await boss.done("PATCH", "/clients/report", {"status": status})
        assert await world.active((await world.act(caller))["access_token"])
        assert not await world.active(old)


async def test_an_audience_taken_from_a_client_ends_its_sessions_there(world: World) -> None:
    boss = await acting.admin(world)
    orders, stock = "https://orders.example.com", world.services.settings.issuer
    _, caller = await register(
        boss, grant_types=["password", "refresh_token"], audiences=[orders, stock]
    )
    world.user()
    lost = await world.log_in(client=caller, resource=orders)
    kept = [await world.log_in(client=caller, resource=stock), await world.log_in(client=caller)]
    await boss.done("PATCH", "/clients/report", {"audiences": []})
    refused(await world.refresh(lost["refresh_token"], caller), 400, "invalid_grant")
    assert not await world.active(lost["access_token"])
    for tokens in kept:
        assert await world.active(tokens["access_token"])
        assert (await world.refresh(tokens["refresh_token"], caller)).status_code == 200


async def test_an_audience_taken_from_a_client_ends_sessions_that_a_later_code_was_for_it(
    world: World,
) -> None:
    """Below a browser session a client has one session, whatever its codes were for."""
    boss = await acting.admin(world)
    orders, browser = "https://orders.example.com", Browser(world.api)
    flow = Flow(world, code_client(world, first_party=True, audiences=[orders]))
    world.user()
    first = await flow.tokens(browser)
    lost = await flow.tokens(browser, resource=orders)
    await boss.done("PATCH", "/clients/shop", {"audiences": []})
    refused(await world.refresh(lost["refresh_token"], flow.client), 400, "invalid_grant")
    for tokens in (first, lost):
        assert not await world.active(tokens["access_token"])


async def test_tokens_of_a_deleted_client_never_pass_for_those_of_its_namesake(
    world: World,
) -> None:
    boss = await acting.admin(world)
    _, caller = await register(
        boss, grant_types=["password", "refresh_token", "client_credentials"]
    )
    world.user()
    old = [(await world.act(caller))["access_token"]]
    tokens = await world.log_in(client=caller)
    old += [tokens["access_token"], tokens["refresh_token"]]
    assert (await boss("DELETE", "/clients/report")).status_code == 204
    assert not any([await world.active(token) for token in old])
    problem(await boss("GET", "/clients/report"), 404)
    _, namesake = await register(boss)  # answers once nothing can be mistaken any more
    assert await world.active((await world.act(namesake))["access_token"])
    assert not any([await world.active(token) for token in old])
    refused(await world.token(caller, grant_type="client_credentials"), 401, "invalid_client")


async def test_the_built_in_client_can_be_disabled_but_not_deleted(world: World) -> None:
    boss = await acting.admin(world)
    problem(await boss("DELETE", "/clients/first-party"), 409)
    await boss.done("PATCH", "/clients/first-party", {"status": "disabled"})
    assert not await world.active(boss.token)


async def test_the_built_in_client_is_not_any_clerks_to_change(world: World) -> None:
    """Disabled, it would end the sessions of all who log in without naming a client."""
    clerk = await acting.clerk(world, "clients:read", "clients:write")
    problem(await clerk("PATCH", "/clients/first-party", {"status": "disabled"}), 403)
    problem(await clerk("DELETE", "/clients/first-party"), 403)
    await clerk.done("GET", "/clients/first-party")


async def test_nobody_gives_a_client_what_they_do_not_hold(world: World) -> None:
    clerk = await acting.clerk(world, "clients:read", "clients:write")
    problem(await clerk("POST", "/clients", REPORT), 403)
    mine = await clerk.done("POST", "/clients", {"name": "Mine", "scopes": ["clients:read"]})
    problem(await clerk("PATCH", f"/clients/{mine['id']}", {"scopes": ["keys:write"]}), 403)
    await clerk.done("PATCH", f"/clients/{mine['id']}", {"scopes": []})


async def test_nobody_touches_a_client_that_holds_more(world: World) -> None:
    boss = await acting.admin(world)
    client, _ = await register(boss)
    clerk = await acting.clerk(world, "clients:read", "clients:write")
    secret = client["secrets"][0]["id"]
    for method, path, body in (
        ("POST", "/secrets", None),
        ("DELETE", f"/secrets/{secret}", None),
        ("PATCH", "", {"name": "Mine"}),
        ("PATCH", "", {"scopes": []}),
        ("PATCH", "", {"status": "disabled"}),
        ("DELETE", "", None),
    ):
        problem(await clerk(method, f"/clients/report{path}", body), 403)
    assert await clerk.done("GET", "/clients/report") == client_out(client)


async def test_nobody_touches_a_client_whose_users_may_do_more(world: World) -> None:
    """`*` stands for whatever its users hold, administrators among them."""
    boss = await acting.admin(world)
    clerk = await acting.clerk(world, "clients:read", "clients:write")
    await register(boss, scopes=["*"], audiences=[], grant_types=["password", "refresh_token"])
    await refuse_every_change(clerk)
    problem(await clerk("POST", "/clients", {"name": "Trap", "scopes": ["*"]}), 403)


async def test_whoever_holds_every_administrative_scope_gives_whatever_users_hold(
    world: World,
) -> None:
    trusted = {"name": "Desk", "scopes": ["*"], "grant_types": ["password"], "first_party": True}
    for lacking, status in (({"keys:write"}, 403), (set[str](), 201)):
        scope = " ".join(sorted(ADMINISTRATIVE - lacking))
        tokens = await world.log_in("admin", acting.ADMIN_PASSWORD, scope=scope)
        answer = await Actor(world, tokens)("POST", "/clients", trusted)
        assert answer.status_code == status, answer.text


async def test_nobody_touches_a_client_of_a_resource_that_they_have_no_scope_of(
    world: World,
) -> None:
    boss = await acting.admin(world)
    clerk = await acting.clerk(world, "clients:read", "clients:write")
    await register(boss, scopes=[])
    await refuse_every_change(clerk)


async def refuse_every_change(clerk: Actor) -> None:
    before = await clerk.done("GET", "/clients/report")
    for method, path, body in (
        ("POST", "/secrets", None),
        ("DELETE", f"/secrets/{before['secrets'][0]['id']}", None),
        ("PATCH", "", {"name": "Mine"}),
        ("PATCH", "", {"scopes": [], "audiences": []}),
        ("PATCH", "", {"status": "disabled"}),
        ("DELETE", "", None),
    ):
        problem(await clerk(method, f"/clients/report{path}", body), 403)
    assert await clerk.done("GET", "/clients/report") == before


async def test_an_audience_is_given_by_whoever_holds_a_scope_of_it(world: World) -> None:
    orders, stock = "https://orders.example.com", "https://stock.example.com"
    world.scopes("stock:read", audience=stock)
    clerk = await acting.clerk(world, "clients:read", "clients:write")
    boss = await acting.admin(world)
    await boss.done("POST", "/roles", {"name": "picker", "scopes": []})
    for audience in (orders, stock, "https://nowhere.example.com"):
        problem(await clerk("POST", "/clients", {"name": "X", "audiences": [audience]}), 403)
    mine = await clerk.done("POST", "/clients", {"name": "Mine"})
    problem(await clerk("PATCH", f"/clients/{mine['id']}", {"audiences": [orders]}), 403)
    with world.change() as session:
        session.add(RoleScope(role="clerk", scope="orders:read"))
        changes.record(session, "role.changed", "clerk")
    await clerk.done("PATCH", f"/clients/{mine['id']}", {"audiences": [orders]})
    problem(await clerk("PATCH", f"/clients/{mine['id']}", {"audiences": [orders, stock]}), 403)
    warden = await acting.clerk(world, "clients:write", "roles:write", username="warden")
    await warden.done("PATCH", f"/clients/{mine['id']}", {"audiences": [orders, stock]})


async def test_this_services_own_audience_is_given_by_whoever_may_introspect(
    world: World,
) -> None:
    """It shows a client the tokens of all who log in without naming a resource."""
    own = {"name": "X", "audiences": [world.services.settings.issuer]}
    clerk = await acting.clerk(world, "clients:read", "clients:write")
    problem(await clerk("POST", "/clients", own), 403)
    checker = await acting.clerk(world, "clients:write", "introspect", username="checker")
    await checker.done("POST", "/clients", own)


async def test_an_audience_is_a_resource_that_is_known_here(world: World) -> None:
    boss = await acting.admin(world)
    nowhere = "https://nowhere.example.com"
    assert pointers(await boss("POST", "/clients", {"name": "X", "audiences": [nowhere]})) == {
        "/audiences"
    }
    stock = "https://stock.example.com"
    await boss.done("POST", "/scopes", {"name": "stock:read", "audience": stock})
    await register(boss, audiences=[stock])
    await boss.done("DELETE", "/scopes/stock:read")
    # What it has it keeps; what it gets is looked at.
    await boss.done("PATCH", "/clients/report", {"audiences": [stock], "name": "Weekly"})
    answer = await boss("PATCH", "/clients/report", {"audiences": [stock, nowhere]})
    assert pointers(answer) == {"/audiences"}


async def test_every_act_needs_its_scope(world: World) -> None:
    reader = await acting.clerk(world, "clients:read", username="reader")
    writer = await acting.clerk(world, "clients:write", username="writer")
    for method, path in (
        ("GET", ""), ("POST", ""), ("GET", "/x"), ("PATCH", "/x"), ("DELETE", "/x"),
        ("POST", "/x/secrets"), ("DELETE", "/x/secrets/y"),
    ):  # fmt: skip
        problem(await world.api.request(method, f"/clients{path}", json={}), 401)
        weak = writer if method == "GET" else reader
        problem(await weak(method, f"/clients{path}", {}), 403)


async def test_an_id_of_any_shape_is_not_found(world: World) -> None:
    boss = await acting.admin(world)
    await register(boss)
    for name in ("none", "%00", "x" * 5000, "%ff"):
        for method, path, body in (
            ("GET", name, None), ("PATCH", name, {}), ("DELETE", name, None),
            ("POST", f"{name}/secrets", None), ("DELETE", f"report/secrets/{name}", None),
        ):  # fmt: skip
            problem(await boss(method, f"/clients/{path}", body), 404)


async def test_clients_are_found_by_part_of_their_name(world: World) -> None:
    boss = await acting.admin(world)
    await register(boss)
    found = await boss.done("GET", "/clients", params={"q": "NIGHT"})
    assert [client["id"] for client in found["items"]] == ["report"]


async def test_a_client_may_administer(world: World) -> None:
    boss = await acting.admin(world)
    _, caller = await register(boss)
    token = (await world.act(caller, scope="users:read"))["access_token"]
    assert (await world.api.get("/users", headers=bearer(token))).status_code == 200


def client_out(created: dict[str, Any]) -> dict[str, Any]:
    """A client as it is shown later."""
    return {key: created[key] for key in created if key not in ("client_id", "client_secret")}
