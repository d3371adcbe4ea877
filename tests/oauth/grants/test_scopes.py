"""Scope asked ∩ client's ∩ user's (RFC 6749 §3.3), and the resource it is for (RFC 8707)."""

from typing import Any

import httpx
import pytest
from sqlmodel import Session, delete, func, select

from identity.app import create_app
from identity.directory.access.granting import BUILT_IN, OPENID
from identity.directory.access.table import Scope
from identity.store import changes
from identity.tokens.sessions.table import LoginSession
from tests import acting
from tests.acting import Actor, pointers, problem
from tests.serving import running
from tests.transport import served
from tests.world import PASSWORD, Caller, World, claims_of, granted, refused

A, B = "https://a.example", "https://b.example/api"


@pytest.fixture
def world(world: World) -> World:
    """Ada may read and write; the shop may ask for read and ship."""
    world.scopes("read", "write", role="editor")
    world.scopes("ship", role="shipper")
    world.user(roles=["editor"])
    return world


def scope_of(tokens: dict[str, Any]) -> list[str]:
    claim: str | None = claims_of(tokens["access_token"]).get("scope")
    assert tokens["scope"] == (claim or "")
    return sorted(tokens["scope"].split())


async def test_the_built_in_client_grants_what_the_user_holds(world: World) -> None:
    assert scope_of(await world.log_in()) == ["account", "read", "write"]
    assert scope_of(await world.log_in(scope="*")) == ["account", "read", "write"]
    assert scope_of(await world.log_in(scope="write")) == ["write"]
    assert scope_of(await world.log_in(scope="write read write")) == ["read", "write"]
    assert scope_of(await world.log_in(scope="ship users:write")) == []


async def test_a_client_grants_what_both_hold(world: World) -> None:
    shop = world.client(scopes=["read", "ship"])
    assert scope_of(await world.log_in(client=shop)) == ["read"]
    assert scope_of(await world.log_in(client=shop, scope="read write")) == ["read"]
    assert scope_of(await world.log_in(client=shop, scope="write")) == []
    assert scope_of(await world.act(shop)) == ["read", "ship"]
    assert scope_of(await world.act(shop, scope="ship write")) == ["ship"]


async def test_everything_of_a_user_is_nothing_of_a_clients_own(world: World) -> None:
    """`*` stands for what the user holds; a client that acts for itself has no user."""
    assert scope_of(await world.act(world.client(scopes=["*"]))) == []
    two = world.client("two", scopes=["*", "read"])
    assert scope_of(await world.act(two)) == ["read"]
    assert scope_of(await world.act(two, scope="*")) == ["read"]


async def test_administration_is_granted_only_to_who_asks_for_it(world: World) -> None:
    world.user("root", roles=["admin", "editor"])
    assert scope_of(await world.log_in("root")) == ["account", "read", "write"]
    assert scope_of(await world.log_in("root", scope="*")) == sorted(
        [*(BUILT_IN.keys() - OPENID.keys()), "read", "write"]
    )
    assert scope_of(await world.log_in("root", scope="* read")) == scope_of(
        await world.log_in("root", scope="*")
    )
    named = "keys:write introspect"
    assert scope_of(await world.log_in("root", scope=named)) == ["introspect", "keys:write"]
    shop = world.client(scopes=["read", "users:read"])
    assert scope_of(await world.log_in("root", client=shop)) == ["read"]
    assert scope_of(await world.log_in("root", client=shop, scope="*")) == ["read", "users:read"]


async def test_a_client_that_acts_for_itself_asks_by_name_too(world: World) -> None:
    robot = world.client("robot", scopes=["read", "users:read", "introspect"])
    assert scope_of(await world.act(robot)) == ["read"]
    assert scope_of(await world.act(robot, scope="*")) == ["introspect", "read", "users:read"]
    assert scope_of(await world.act(robot, scope="users:read")) == ["users:read"]


async def test_a_client_says_what_a_request_without_scope_asks_for(world: World) -> None:
    world.user("root", roles=["admin", "editor"])
    boss = Actor(world, await world.log_in("root", scope="*"))
    made = {"id": "desk", "name": "Desk", "type": "public", "scopes": ["*"]}
    made |= {"grant_types": ["password"], "default_scopes": ["users:read", "write"]}
    answer = await boss.done("POST", "/clients", made)
    assert answer["default_scopes"] == ["users:read", "write"]
    desk = Caller("desk", None)
    assert scope_of(await world.log_in("root", client=desk)) == ["users:read", "write"]
    assert scope_of(await world.log_in(client=desk)) == ["write"]  # ada holds no more of them
    assert scope_of(await world.log_in(client=desk, scope="read")) == ["read"]
    await boss.done("PATCH", "/clients/desk", {"default_scopes": []})
    assert scope_of(await world.log_in("root", client=desk)) == []
    patched = await boss.done("PATCH", "/clients/desk", {"default_scopes": None})
    assert patched["default_scopes"] is None
    assert scope_of(await world.log_in("root", client=desk)) == ["account", "read", "write"]


async def test_default_scopes_are_the_clients_and_go_with_their_scope(world: World) -> None:
    world.user("root", roles=["admin", "editor"])
    boss = Actor(world, await world.log_in("root", scope="*"))
    await boss.done("POST", "/scopes", {"name": "stock"})
    robot = {"id": "robot", "name": "Robot", "scopes": ["read", "stock"]}
    for wrong in (["write"], ["*"], ["nosuch"]):
        answer = await boss("POST", "/clients", robot | {"default_scopes": wrong})
        assert pointers(answer) == {"/default_scopes"}
    await boss.done("POST", "/clients", robot | {"default_scopes": ["stock", "read"]})
    answer = await boss("PATCH", "/clients/robot", {"scopes": ["stock"]})
    assert pointers(answer) == {"/default_scopes"}
    await boss.done("DELETE", "/scopes/stock")
    shown = await boss.done("GET", "/clients/robot")
    assert (shown["scopes"], shown["default_scopes"]) == (["read"], ["read"])


async def test_nobody_makes_logins_ask_for_what_they_do_not_hold(world: World) -> None:
    """Who holds every built-in scope may register a client of `*`, and still not have it ask
    unsaid for what siblings made."""
    clerk = await acting.clerk(world, *BUILT_IN)
    desk = {"name": "Desk", "type": "public", "scopes": ["*"], "grant_types": ["password"]}
    problem(await clerk("POST", "/clients", desk | {"default_scopes": ["write"]}), 403)
    made = await clerk.done("POST", "/clients", desk | {"default_scopes": ["account"]})
    path = f"/clients/{made['id']}"
    problem(await clerk("PATCH", path, {"default_scopes": ["write"]}), 403)


async def test_a_refresh_keeps_to_what_the_login_was_granted(world: World) -> None:
    world.user("root", roles=["admin", "editor"])
    tokens = await world.log_in("root", scope="users:read keys:read read")
    for scope, granted_ in (
        (None, ["keys:read", "read", "users:read"]),
        ("*", ["keys:read", "read", "users:read"]),
        ("users:read", ["users:read"]),
        (None, ["keys:read", "read", "users:read"]),
    ):
        form = {} if scope is None else {"scope": scope}
        tokens = granted(await world.refresh(tokens["refresh_token"], **form))
        assert scope_of(tokens) == granted_
    for beyond in ("users:write", "users:read users:write", "* write"):
        answer = await world.refresh(tokens["refresh_token"], scope=beyond)
        refused(answer, 400, "invalid_scope")
    plain = await world.log_in("root")
    refused(await world.refresh(plain["refresh_token"], scope="users:read"), 400, "invalid_scope")
    again = granted(await world.refresh(plain["refresh_token"], scope="*"))
    assert scope_of(again) == ["account", "read", "write"]


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_scope_that_does_not_exist_is_refused(world: World) -> None:
    login = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    own = {"grant_type": "client_credentials"}
    shop = world.client(scopes=["read"])
    for scope in (
        "no", "read no", "* no", "read  write", " read", "read ", 'a"b', "a\\b", "ü",
        'openid a"b', "openid  read",
    ):  # fmt: skip
        refused(await world.token(**login, scope=scope), 400, "invalid_scope")
        refused(await world.token(shop, **own, scope=scope), 400, "invalid_scope")


async def test_beside_openid_a_scope_that_does_not_exist_is_passed_over(world: World) -> None:
    """OpenID Connect Core §3.1.2.1."""
    assert scope_of(await world.log_in(scope="openid read no")) == ["openid", "read"]


async def test_a_login_refused_for_its_scope_leaves_no_session(world: World) -> None:
    await world.token(grant_type="password", username="ada", password=PASSWORD, scope="nosuch")
    with world.change() as session:
        assert session.exec(select(func.count()).select_from(LoginSession)).one() == 0


async def test_a_deleted_scope_is_gone_from_refreshed_tokens(world: World) -> None:
    tokens = await world.log_in()

    def forget(session: Session) -> None:
        session.exec(delete(Scope).where(Scope.name == "write"))  # type: ignore[arg-type]
        changes.record(session, "scope.changed", "write")

    await world.services.db.write(forget)
    refused(await world.refresh(tokens["refresh_token"], scope="write"), 400, "invalid_scope")
    assert scope_of(granted(await world.refresh(tokens["refresh_token"]))) == ["account", "read"]


async def test_a_resource_picks_the_audience_and_its_scopes(world: World) -> None:
    world.scopes("a:read", audience=A, role="reader-a")
    world.scopes("b:read", audience=B, role="reader-b")
    world.user("eve", roles=["editor", "reader-a", "reader-b", "admin"])
    shop = world.client(audiences=[A, B])
    tokens = await world.log_in("eve", client=shop, resource=A)
    assert claims_of(tokens["access_token"])["aud"] == A
    assert scope_of(tokens) == ["a:read", "read", "write"]
    assert scope_of(await world.log_in("eve", client=shop, resource=B, scope="a:read read")) == [
        "read"
    ]
    described = await world.introspect(tokens["access_token"])
    assert (described["aud"], described["active"]) == (A, True)
    assert (await world.introspect(tokens["refresh_token"]))["aud"] == A
    again = granted(await world.refresh(tokens["refresh_token"], shop))
    assert claims_of(again["access_token"])["aud"] == A
    assert scope_of(again) == ["a:read", "read", "write"]


async def test_scopes_of_one_resource_pick_its_audience(world: World, settings: Any) -> None:
    world.scopes("a:read", "a:write", audience=A, role="clerk-a")
    world.scopes("b:read", audience=B, role="clerk-b")
    world.user("eve", roles=["editor", "clerk-a", "clerk-b", "admin"])
    shop = world.client(scopes=["a:read", "a:write", "b:read", "*"], audiences=[A])
    for client in (None, shop):
        for scope in ("a:read", "a:write a:read", "a:read read", "read a:read"):
            tokens = await world.log_in("eve", client=client, scope=scope)
            assert claims_of(tokens["access_token"])["aud"] == A
            assert scope_of(tokens) == sorted(scope.split())
            form = {"scope": "read"} if "read" in scope.split() else {}
            again = granted(await world.refresh(tokens["refresh_token"], client, **form))
            assert claims_of(again["access_token"])["aud"] == A
        for scope in (
            "a:read b:read", "a:read users:read", "a:read account", "a:read *", "read", "*", None,
        ):  # fmt: skip
            form = {} if scope is None else {"scope": scope}
            tokens = await world.log_in("eve", client=client, **form)
            assert claims_of(tokens["access_token"])["aud"] == settings.issuer
    own = await world.act(shop, scope="a:read")
    assert claims_of(own["access_token"])["aud"] == A
    named = await world.log_in("eve", client=shop, scope="a:read", resource=settings.issuer)
    assert claims_of(named["access_token"])["aud"] == settings.issuer


async def test_a_client_gets_no_audience_by_scope_that_it_may_not_name(
    world: World, settings: Any
) -> None:
    world.scopes("b:read", audience=B, role="clerk-b")
    world.user("eve", roles=["clerk-b"])
    shop = world.client(audiences=[A])
    tokens = await world.log_in("eve", client=shop, scope="b:read")
    assert claims_of(tokens["access_token"])["aud"] == settings.issuer


async def test_a_scope_that_a_client_has_by_name_opens_its_resource(
    world: World, settings: Any
) -> None:
    world.scopes("a:read", "a:write", audience=A, role="clerk-a")
    world.scopes("b:read", audience=B, role="clerk-b")
    world.user("eve", roles=["editor", "clerk-a", "clerk-b"])
    shop = world.client(scopes=["a:read", "b:read", "read"])
    for scope, audience in (
        ("a:read", A),
        ("read a:read", A),
        ("b:read", B),
        ("a:write", settings.issuer),  # not the client's
        ("a:read a:write", settings.issuer),
        ("a:read b:read", settings.issuer),
        ("read", settings.issuer),
        ("*", settings.issuer),
    ):
        for tokens in (
            await world.log_in("eve", client=shop, scope=scope),
            await world.act(shop, scope=scope),
        ):
            assert claims_of(tokens["access_token"])["aud"] == audience, scope
    named = await world.log_in("eve", client=shop, scope="a:read", resource=A)
    assert claims_of(named["access_token"])["aud"] == A
    everything = world.client("everything", grants=["password"], scopes=["*"])
    tokens = await world.log_in("eve", client=everything, scope="a:read")
    assert claims_of(tokens["access_token"])["aud"] == settings.issuer
    own = {"grant_type": "client_credentials"}
    for beyond in ({}, {"scope": "b:read"}, {"scope": "a:write"}, {"scope": "read"}):
        refused(await world.token(shop, **own, resource=A, **beyond), 400, "invalid_target")


async def test_default_scopes_of_one_resource_pick_its_audience(world: World) -> None:
    """They are what a request without `scope` asks for."""
    world.scopes("a:read", audience=A, role="clerk-a")
    world.user("eve", roles=["clerk-a"])
    shop = world.client(scopes=["a:read", "read"])
    world.change_client("shop", default_scopes=["a:read"])
    for tokens in (await world.log_in("eve", client=shop), await world.act(shop)):
        assert claims_of(tokens["access_token"])["aud"] == A
        assert scope_of(tokens) == ["a:read"]


async def test_a_narrowing_refresh_stays_at_the_audience_of_the_login(
    world: World, settings: Any
) -> None:
    world.scopes("a:read", audience=A, role="clerk-a")
    world.user("eve", roles=["editor", "clerk-a"])
    shop = world.client(audiences=[A])
    tokens = await world.log_in("eve", client=shop)
    again = granted(await world.refresh(tokens["refresh_token"], shop, scope="a:read"))
    assert claims_of(again["access_token"])["aud"] == settings.issuer
    assert scope_of(again) == ["a:read"]


async def test_without_a_resource_the_default_audience_is_named(
    world: World, settings: Any
) -> None:
    tokens = await world.log_in()
    assert claims_of(tokens["access_token"])["aud"] == settings.issuer
    named = await world.log_in(resource=settings.issuer)
    assert claims_of(named["access_token"])["aud"] == settings.issuer
    assert scope_of(named) == scope_of(tokens)


async def test_sessions_outlive_a_change_of_the_default_audience(
    world: World, settings: Any, make_settings: Any
) -> None:
    """They were for this service by the name that it had."""
    shop = world.client()
    before = create_app(make_settings(default_audience=A))
    async with (
        running(before),
        httpx.AsyncClient(transport=served(before), base_url=settings.issuer) as api,
    ):
        tokens = await World(before, api).log_in(client=shop)
    assert claims_of(tokens["access_token"])["aud"] == A
    assert (await world.refresh(tokens["refresh_token"], shop)).status_code == 200


NOT_ALLOWED = (B, A + "/", A + "#part", "a.example", "/rel", "http://[bad", "ü", " " + A, "*")


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_resource_that_the_client_may_not_name_is_refused(world: World) -> None:
    shop = world.client(audiences=[A])
    login = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    own = {"grant_type": "client_credentials"}
    for resource in NOT_ALLOWED:
        refused(await world.token(**login, resource=resource), 400, "invalid_target")
        refused(await world.token(shop, **own, resource=resource), 400, "invalid_target")
