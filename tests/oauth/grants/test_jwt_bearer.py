"""What another issuer says of a user, for tokens (RFC 7523 §2.1)."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from identity import clock
from identity.clock import frozen
from identity.directory import consents
from identity.directory.issuers import editing
from identity.directory.users import accounts
from identity.tokens.sessions import lifecycle
from tests import acting
from tests.signing import Signer, from_now
from tests.world import Caller, World, claims_of, granted, refused

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
THEIRS, OURS = "https://login.example", "http://127.0.0.1:8000"
SIGNER = Signer("RS256", "theirs")
SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


@pytest.fixture(autouse=True)
def _still() -> Iterator[None]:
    """However long a busy machine takes, no assertion grows old on the way."""
    with frozen():
        yield


def trust(world: World, **chosen: Any) -> None:
    chosen = {"jwks": SIGNER.jwks, "user_match": "username"} | chosen
    with world.change() as session:
        editing.create(session, issuer=THEIRS, chosen=chosen, own_issuer=OURS, held=None)


def a_client(world: World, *, first_party: bool = True, scopes: Any = ("*",)) -> Caller:
    caller = world.client("app", grants=[GRANT], scopes=scopes)
    world.change_client("app", settings={"first_party": True} if first_party else None)
    return caller


def assertion(**changed: Any) -> str:
    now = int(clock.now())
    claims = {
        "iss": THEIRS, "sub": "ada", "aud": OURS, "iat": now, "exp": now + 300,
        "jti": str(uuid.uuid4()), **changed,
    }  # fmt: skip
    return SIGNER.sign(claims)


async def ask(world: World, client: Caller, text: str, **form: str) -> httpx.Response:
    return await world.token(client, grant_type=GRANT, assertion=text, **form)


async def reason(world: World) -> str:
    why: str = (await world.events("token.refused"))[-1].detail["why"]
    return why


async def test_a_user_gets_a_session_of_the_client(world: World) -> None:
    trust(world)
    user = world.user()
    tokens = granted(await ask(world, a_client(world), assertion()))
    assert set(tokens) == {"access_token", "token_type", "expires_in", "scope"}
    claims = claims_of(tokens["access_token"])
    assert (claims["sub"], claims["username"], claims["client_id"]) == (user.id, "ada", "app")
    assert claims["amr"] == [] and "acr" not in claims
    assert await world.active(tokens["access_token"])
    assert (await world.me(tokens["access_token"])).json()["username"] == "ada"
    (event,) = [e for e in await world.events("login") if e.client_id == "app"]
    assert (event.subject, event.detail["issuer"]) == (user.id, THEIRS)
    world.set_status(user, "disabled")
    assert not await world.active(tokens["access_token"])
    refused(await ask(world, Caller("app", world.secret("app")), assertion()), 400, "invalid_grant")
    assert await reason(world) == "user disabled"


@SQLITE
@pytest.mark.parametrize(
    ("why", "changed"),
    [
        ("none that we trust", {"iss": "https://other.example"}),
        ("aud is not", {"aud": "https://other.example"}),
        ("exactly one", {"aud": [OURS, "https://other.example"]}),
        ("exactly one", {"aud": None}),
        ("expired", {"exp": -60}),
        ("good for too long", {"exp": 7200}),
        ("exp is missing", {"exp": None}),
        ("jti is missing", {"jti": None}),
        ("nbf lies ahead", {"nbf": 120}),
        ("another client", {"client_id": "other"}),
        ("no user", {"sub": "nobody"}),
        ("no user", {"sub": "ada@example.com"}),
    ],
)
async def test_what_is_not_said_for_us_and_now_is_refused(
    world: World, why: str, changed: dict[str, Any]
) -> None:
    trust(world)
    world.user(email="ada@example.com")
    text = assertion(**from_now(changed))
    assert refused(await ask(world, a_client(world), text), 400, "invalid_grant")
    assert why in await reason(world)


@SQLITE
async def test_no_client_acts_for_who_has_not_agreed(world: World) -> None:
    """CVE-2026-79652: what a user has not been asked at a page, an assertion does not answer."""
    trust(world)
    user = world.user()
    world.scopes("orders:read", "orders:write", role="clerk")
    with world.change() as session:
        accounts.set_roles(session, accounts.get(session, user.id, lock=True), ["clerk"], None)
    client = a_client(world, first_party=False, scopes=["orders:read", "orders:write"])
    for form in ({}, {"scope": "orders:read"}, {"scope": "account"}):
        answer = await ask(world, client, assertion(), **form)
        assert "has not agreed" in refused(answer, 400, "invalid_grant")
    snapshot = await world.services.clients.get("app")
    assert snapshot is not None
    with world.change() as session:
        consents.grant(session, user.id, snapshot, ["orders:read"])
    tokens = granted(await ask(world, client, assertion(), scope="orders:read"))
    assert tokens["scope"] == "orders:read"
    more = await ask(world, client, assertion(), scope="orders:read orders:write")
    refused(more, 400, "invalid_grant")
    with world.change() as session:
        consents.withdraw(session, user.id, "app")
    refused(await ask(world, client, assertion(), scope="orders:read"), 400, "invalid_grant")


@SQLITE
async def test_scopes_are_the_client_s_and_the_user_s(world: World) -> None:
    trust(world)
    world.user()
    client = a_client(world, scopes=["account", "users:read"])
    asked = "account users:read"
    assert granted(await ask(world, client, assertion(), scope=asked))["scope"] == "account"


@SQLITE
async def test_nobody_has_signed_in_here(world: World) -> None:
    """No ID token, and no access while the user is away."""
    trust(world)
    world.user()
    client = a_client(world)
    tokens = granted(await ask(world, client, assertion(), scope="openid offline_access account"))
    assert tokens["scope"] == "account"
    assert tokens.keys().isdisjoint({"id_token", "refresh_token"})


@SQLITE
async def test_when_the_user_signed_in_there_is_told_where_it_can_be_true(world: World) -> None:
    """Of an issuer that does not tell, when it made the assertion."""
    trust(world)
    world.user()
    client, now = a_client(world), int(clock.now())
    for said, told in (
        ({"auth_time": now - 500}, now - 500), ({"auth_time": 0}, 0),
        ({"iat": now - 200}, now - 200), ({"iat": None}, now),
        ({"auth_time": now + 500}, now), ({"auth_time": -1}, now),
        ({"auth_time": "noon"}, now), ({"auth_time": True}, now), ({"auth_time": None}, now),
    ):  # fmt: skip
        tokens = granted(await ask(world, client, assertion(**said)))
        assert claims_of(tokens["access_token"])["auth_time"] == told, said


async def test_an_assertion_is_used_once(world: World) -> None:
    trust(world)
    world.user()
    client, text = a_client(world), assertion()
    answers = await asyncio.gather(*(ask(world, client, text) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7


@SQLITE
async def test_an_issuer_speaks_of_users_only_where_it_may(world: World) -> None:
    trust(world, user_match="none")
    world.user()
    refused(await ask(world, a_client(world), assertion()), 400, "invalid_grant")
    assert "not trusted to speak of users" in await reason(world)


@SQLITE
async def test_users_are_found_by_what_the_issuer_is_trusted_with(world: World) -> None:
    trust(world, user_match="email", user_claim="email")
    user = world.user(email="ada@example.com", email_verified=True)
    client = a_client(world)
    told = {"sub": "7", "email": "Ada@Example.com", "email_verified": True}
    tokens = granted(await ask(world, client, assertion(**told)))
    assert claims_of(tokens["access_token"])["sub"] == user.id
    for changed in (
        {"email_verified": False}, {"email_verified": "true"}, {"email_verified": None},
        {"email": "ada"}, {"email": ["ada@example.com"]}, {"email": None},
    ):  # fmt: skip
        refused(await ask(world, client, assertion(**told | changed)), 400, "invalid_grant")
    world.user("bob", email="bob@example.com")  # whoever may say that an address is theirs
    theirs = told | {"email": "bob@example.com"}
    refused(await ask(world, client, assertion(**theirs)), 400, "invalid_grant")


@SQLITE
async def test_users_are_found_by_id(world: World) -> None:
    trust(world, user_match="id", user_claim="uid")
    user = world.user()
    client = a_client(world)
    granted(await ask(world, client, assertion(uid=user.id)))
    for uid in ("ada", "", "x" * 5000, None, 7):
        refused(await ask(world, client, assertion(uid=uid)), 400, "invalid_grant")


@SQLITE
async def test_a_name_that_becomes_anothers_meanwhile_lets_nobody_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the one has agreed to, the other has not."""
    trust(world)
    ada, bob, client = world.user(), world.user("bob"), a_client(world, first_party=False)
    consented = world.services.consents
    get = consented.get

    async def renamed_after(ref: str) -> Any:
        agreed = await get(ref)
        with world.change() as session:
            for user, name in ((ada, "eve"), (bob, "ada")):
                row = accounts.get(session, user.id, lock=True)
                accounts.update(session, row, {"username": name}, None)
        return agreed

    snapshot = await world.services.clients.get("app")
    assert snapshot is not None
    with world.change() as session:
        consents.grant(session, ada.id, snapshot, ["account"])
    granted(await ask(world, client, assertion(), scope="account"))
    monkeypatch.setattr(consented, "get", renamed_after)
    refused(await ask(world, client, assertion(), scope="account"), 400, "invalid_grant")
    assert await reason(world) == "the user has another name by now"


@SQLITE
async def test_in_a_lockdown_an_assertion_begins_nothing(world: World) -> None:
    trust(world)
    user, client = world.user(), a_client(world)
    boss = await acting.admin(world)
    await boss.done("PUT", "/lockdown", {})
    refused(await ask(world, client, assertion()), 503, "temporarily_unavailable")
    with world.change() as session:
        assert lifecycle.live_of(session, user.id) == []


@SQLITE
async def test_who_may_not_use_the_grant_is_refused(world: World) -> None:
    trust(world)
    world.user()
    other = world.client("other", grants=["client_credentials"])
    refused(await ask(world, other, assertion()), 400, "unauthorized_client")
    public = world.client("public", public=True, grants=[GRANT])
    refused(await ask(world, public, assertion()), 400, "unauthorized_client")
    missing = await world.token(a_client(world), grant_type=GRANT)
    refused(missing, 400, "invalid_request")


@SQLITE
async def test_a_password_that_must_be_changed_is_changed_first(world: World) -> None:
    trust(world)
    world.user(must_change_password=True)
    refused(await ask(world, a_client(world), assertion()), 400, "invalid_grant")
    assert await reason(world) == "password must be changed"


@SQLITE
async def test_tokens_of_ours_and_clients_assertions_are_no_grants(world: World) -> None:
    trust(world)
    world.user()
    client = a_client(world)
    world.client("shop", scopes=["*"])
    tokens = await world.log_in(client=Caller("shop", world.secret("shop")), scope="openid")
    for token in (tokens["access_token"], tokens["id_token"], tokens["refresh_token"]):
        refused(await ask(world, client, token), 400, "invalid_grant")
    for typ in ("at+jwt", "logout+jwt", "client-authentication+jwt", "dpop+jwt"):
        text = SIGNER.sign(dict(claims_of(assertion())), typ=typ)
        refused(await ask(world, client, text), 400, "invalid_grant")
    own = Signer().sign({"iss": "app", "sub": "ada", "aud": OURS, "exp": int(clock.now()) + 60})
    refused(await ask(world, client, own), 400, "invalid_grant")


@SQLITE
async def test_only_who_holds_everything_lets_an_issuer_speak_of_users(world: World) -> None:
    clerk = await acting.clerk(world, "clients:read", "clients:write", "users:read")
    body = {"issuer": THEIRS, "jwks": SIGNER.jwks, "user_match": "username"}
    acting.problem(await clerk("POST", "/trusted-issuers", body), 403)
