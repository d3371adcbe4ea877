"""Scope asked ∩ client's ∩ user's (RFC 6749 §3.3), and the resource it is for (RFC 8707)."""

from typing import Any

import pytest
from sqlmodel import Session, delete, func, select

from identity.directory.access.granting import BUILT_IN
from identity.directory.access.table import Scope
from identity.store import changes
from identity.tokens.sessions.table import LoginSession
from tests.world import PASSWORD, World, claims_of, granted, refused

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
    assert scope_of(await world.log_in()) == ["read", "write"]
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
    assert scope_of(await world.act(world.client("two", scopes=["*", "read"]))) == ["read"]


async def test_an_administrator_holds_every_built_in_scope(world: World) -> None:
    world.user("root", roles=["admin"])
    assert scope_of(await world.log_in("root")) == sorted(BUILT_IN)


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_scope_that_does_not_exist_is_refused(world: World) -> None:
    login = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    own = {"grant_type": "client_credentials"}
    shop = world.client(scopes=["read"])
    for scope in ("no", "read no", "read  write", " read", "read ", 'a"b', "a\\b", "ü", "*"):
        refused(await world.token(**login, scope=scope), 400, "invalid_scope")
        refused(await world.token(shop, **own, scope=scope), 400, "invalid_scope")


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
    assert scope_of(granted(await world.refresh(tokens["refresh_token"]))) == ["read"]


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


async def test_without_a_resource_the_default_audience_is_named(
    world: World, settings: Any
) -> None:
    tokens = await world.log_in()
    assert claims_of(tokens["access_token"])["aud"] == settings.issuer
    named = await world.log_in(resource=settings.issuer)
    assert claims_of(named["access_token"])["aud"] == settings.issuer
    assert scope_of(named) == scope_of(tokens)


NOT_ALLOWED = (B, A + "/", A + "#part", "a.example", "/rel", "http://[bad", "ü", " " + A, "*")


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_resource_that_the_client_may_not_name_is_refused(world: World) -> None:
    shop = world.client(audiences=[A])
    login = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    own = {"grant_type": "client_credentials"}
    for resource in NOT_ALLOWED:
        refused(await world.token(**login, resource=resource), 400, "invalid_target")
        refused(await world.token(shop, **own, resource=resource), 400, "invalid_target")
