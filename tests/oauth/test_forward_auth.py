"""What a gateway is told about a request, over HTTP."""

from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from identity.directory.users import accounts
from tests.world import World, bearer

pytestmark = pytest.mark.anyio
AT = "/forward-auth"
NAMES = (
    "x-user", "x-subject", "x-subject-type", "x-client", "x-scopes", "x-roles", "x-session",
)  # fmt: skip


async def ask(world: World, token: str | None, query: str = "", method: str = "GET") -> Any:
    headers = bearer(token) if token else {}
    return await world.api.request(method, AT + query, headers=headers)


def challenge(answer: httpx.Response) -> str:
    """The challenge that the gateway passes on; no header says who it might have been."""
    assert not set(NAMES) & answer.headers.keys()
    assert answer.headers["cache-control"] == "no-store"
    text: str = answer.headers["www-authenticate"]
    return text


async def test_a_good_token_passes_and_says_whose_it_is(world: World) -> None:
    world.scopes("orders:read", "orders:write", role="clerk")
    user = world.user("ada", roles=["clerk"])
    tokens = await world.log_in("ada", client=world.client("shop"), scope="orders:read")
    session = (await world.introspect(tokens["access_token"]))["sid"]
    for method in ("GET", "POST"):
        answer = await ask(world, tokens["access_token"], "?scope=orders:read", method)
        assert (answer.status_code, answer.content) == (200, b"")
        assert {name: answer.headers[name] for name in NAMES} == {
            "x-user": "ada",
            "x-subject": user.id,
            "x-subject-type": "user",
            "x-client": "shop",
            "x-scopes": "orders:read",
            "x-roles": "clerk",
            "x-session": session,
        }


async def test_a_client_for_itself_passes_with_empty_headers_where_a_user_is_none(
    world: World,
) -> None:
    """Empty, not absent: what a gateway copies must overwrite what the client sent."""
    world.scopes("orders:read")
    token = (await world.act(world.client("job", scopes=["orders:read"])))["access_token"]
    answer = await ask(world, token)
    told = {name: answer.headers[name] for name in NAMES}
    assert told == {
        "x-user": "", "x-subject": "job", "x-subject-type": "client", "x-client": "job",
        "x-scopes": "orders:read", "x-roles": "", "x-session": "",
    }  # fmt: skip


@pytest.mark.parametrize("username", ["zoë", "名前", "50%", "a+b", "ünal@döner"])
async def test_names_come_through_percent_encoded(world: World, username: str) -> None:
    user = world.user(username)
    answer = await ask(world, (await world.log_in(user.username))["access_token"])
    assert answer.headers["x-user"].isascii()
    assert unquote(answer.headers["x-user"]) == user.username


async def test_without_a_token_the_client_is_challenged(world: World) -> None:
    answer = await ask(world, None, "?scope=orders:read")
    assert answer.status_code == 401
    assert challenge(answer) == 'Bearer realm="identity", scope="orders:read"'
    answer = await world.api.get(AT, headers={"authorization": "Basic YTpi"})
    assert (answer.status_code, challenge(answer)) == (401, 'Bearer realm="identity"')


async def test_a_bad_token_is_refused(world: World) -> None:
    world.user("ada")
    token = (await world.log_in("ada"))["access_token"]
    for bad in ("nonsense", token[:-4] + "AAAA", "a.b.c"):
        answer = await ask(world, bad)
        assert (answer.status_code, 'error="invalid_token"' in challenge(answer)) == (401, True)


async def test_two_authorization_headers_are_refused_as_401_not_400(world: World) -> None:
    """nginx makes 500 of every answer that is neither 2xx nor 401 nor 403."""
    twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")]
    answer = await world.api.get(AT, headers=twice)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in challenge(answer)


async def test_a_missing_scope_is_403_and_names_what_is_needed(world: World) -> None:
    world.scopes("orders:read", "orders:write")
    token = (await world.act(world.client("job", scopes=["orders:read"])))["access_token"]
    assert (await ask(world, token, "?scope=orders:read")).status_code == 200
    answer = await ask(world, token, "?scope=orders:read+orders:write")
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in challenge(answer)
    assert 'scope="orders:read orders:write"' in challenge(answer)


async def test_a_token_for_another_audience_opens_nothing(world: World, settings: Any) -> None:
    client = world.client("shop", audiences=["https://orders.test"])
    world.user("ada")
    own = (await world.log_in("ada", client=client))["access_token"]
    other = await world.log_in("ada", client=client, resource="https://orders.test")
    for query, opens in [
        ("", own),
        ("?audience=" + settings.audience, own),
        ("?audience=https://orders.test", other["access_token"]),
        ("?audience=https://orders.test+https://bills.test", other["access_token"]),
    ]:
        for token in (own, other["access_token"]):
            answer = await ask(world, token, query)
            assert answer.status_code == (200 if token == opens else 401), query
            if token != opens:
                assert 'error="invalid_token"' in challenge(answer)


async def test_what_the_client_sends_beside_its_token_changes_nothing(world: World) -> None:
    world.user("ada")
    token = (await world.log_in("ada"))["access_token"]
    spoofed = dict.fromkeys(NAMES, "root") | bearer(token)
    answer = await world.api.get(AT, headers=spoofed)
    assert answer.headers["x-user"] == "ada"
    assert "root" not in [answer.headers[name] for name in NAMES]


async def test_what_is_revoked_or_taken_away_shows_at_once(world: World) -> None:
    world.scopes("orders:read", role="clerk")
    user = world.user("ada", roles=["clerk"])
    client = world.client("shop")
    tokens = await world.log_in("ada", client=client)
    token, query = tokens["access_token"], "?scope=orders:read"
    assert (await ask(world, token, query)).headers["x-roles"] == "clerk"
    with world.change() as session:
        accounts.set_roles(session, accounts.get(session, user.id), [], None)
    assert (await ask(world, token, query)).status_code == 403
    answer = await ask(world, token)
    assert (answer.headers["x-roles"], answer.headers["x-scopes"]) == ("", "account")
    await world.revoke(token, client)
    assert (await ask(world, token)).status_code == 401


@pytest.mark.parametrize("query", ["?scope=a&scope=b", "?scope=a++b", "?scope=%ff", '?scope="'])
async def test_a_gateway_that_asks_nonsense_is_told_so(world: World, query: str) -> None:
    assert (await ask(world, None, query)).status_code == 400
