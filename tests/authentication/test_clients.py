"""Who is asking, at every OAuth endpoint alike (RFC 6749 §2.3)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from typing import Any

import httpx
import pytest

from identity.app import create_app
from identity.authentication import clients
from identity.clock import frozen, utcnow
from tests.serving import running
from tests.world import PASSWORD, Caller, World, granted, refused

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])

OWN = {"grant_type": "client_credentials"}


ODD = {
    "shop": "s3cret",
    "https://shop.example/app?x=1": "p+w%&=;:\"'\\ <>~!",
    "käse laden": "пароль \U0001f511",
    "a:b:c": "d:e",
    "plus+plus": "100%+more",
    "per%63ent": "%41%zz",
}


async def test_ids_and_secrets_of_any_spelling_authenticate_by_both_methods(world: World) -> None:
    for client_id, secret in ODD.items():
        world.client(client_id)
        caller = Caller(client_id, world.secret(client_id, secret))
        granted(await world.api.post("/token", data=OWN, headers=caller.basic))
        granted(await world.api.post("/token", data=OWN | caller.post))
        # The id may come twice as long as it is the same (RFC 6749 §3.2.1).
        again = OWN | {"client_id": client_id}
        granted(await world.api.post("/token", data=again, headers=caller.basic))


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
async def test_two_methods_at_once_are_refused(world: World, path: str) -> None:
    caller, other = world.client("shop"), world.client("other")
    form = OWN | {"token": "x"}
    both = await world.api.post(path, data=form | caller.post, headers=caller.basic)
    assert "two ways" in refused(both, 400, "invalid_request")
    mixed = await world.api.post(path, data=form | {"client_id": other.id}, headers=caller.basic)
    refused(mixed, 400, "invalid_request")
    nameless = await world.api.post(path, data=form | {"client_secret": "x"})
    answer = (400, "invalid_request") if path != "/introspect" else (401, "invalid_client")
    refused(nameless, *answer)


async def test_a_bearer_token_and_a_secret_at_once_are_refused(world: World) -> None:
    world.client("shop", scopes=["introspect"])
    caller = Caller("shop", world.secret("shop"))
    token = (await world.act(caller))["access_token"]
    answer = await world.api.post(
        "/introspect",
        data={"token": token} | caller.post,
        headers={"authorization": f"Bearer {token}"},
    )
    refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
async def test_a_public_client_that_sends_a_secret_is_told_so(world: World, path: str) -> None:
    app = Caller(world.client("app", public=True).id, "secret")
    form = OWN | {"token": "x"}
    for more, headers in ((app.post, {}), ({}, app.basic)):
        answer = await world.api.post(path, data=form | more, headers=headers)
        said = refused(answer, 401, "invalid_client")
        assert said == "the client is public and has no secret: send its client_id alone"
    refusals = await world.events("client.authentication")
    assert [event.detail["why"] for event in refusals] == ["public client sent a secret"] * 2


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
async def test_whoever_fails_gets_the_same_answer(world: World, path: str) -> None:
    caller = world.client("shop")
    world.client("gone")
    world.change_client("gone", status="disabled")
    gone = Caller("gone", world.secret("gone"))
    expired = world.secret("shop", expires_at=utcnow() - timedelta(seconds=1))
    form = OWN | {"token": "x"}
    attempts = {
        "wrong secret": Caller("shop", "wrong"),
        "expired": Caller("shop", expired),
        "no secret given": Caller("shop", None),
        "unknown": Caller("nobody", "secret"),
        "disabled": gone,
        "the secret's digest": Caller("shop", "0" * 64),
        "another client's": Caller("gone", caller.secret),
    }
    bodies, headers = set(), set()
    for attempt in attempts.values():
        answers = [await world.api.post(path, data=form | attempt.post)]
        if attempt.secret:
            answers.append(await world.api.post(path, data=form, headers=attempt.basic))
        for answer in answers:
            refused(answer, 401, "invalid_client")
            assert answer.headers["www-authenticate"].startswith("Basic realm=")
            bodies.add(answer.text)
            headers.add(tuple(sorted(answer.headers)))
    assert len(bodies) == len(headers) == 1
    refusals = await world.events("client.authentication")
    assert {event.outcome for event in refusals} == {"refused"}
    assert len(refusals) == 2 * len(attempts) - 1
    assert {event.detail["why"] for event in refusals} == {
        "wrong secret", "expired secret", "no secret given", "unknown", "disabled"
    }  # fmt: skip
    assert {event.client_id for event in refusals} == {"shop", "gone", "nobody"}


async def test_a_long_id_is_on_record_by_its_beginning(world: World) -> None:
    refused(await world.token(Caller("x" * 200, "secret"), **OWN), 401, "invalid_client")
    [event] = await world.events("client.authentication")
    assert event.client_id == "x" * 100


MALFORMED = [
    b"Basic",
    b"Basic ",
    b"Basic !!!",
    b"Basic c2hvcA==",  # no colon
    b"Basic OnNlY3JldA==",  # no id
    b"Basic c2hvcDo=",  # an empty secret
    b"Basic c2hvcDolMDA=",  # %00
    b"Basic c2hvcDolRUQlQTAlODA=",  # a surrogate
    b"Basic /////w==",  # not UTF-8
    b"Bearer abc",
    b"Negotiate abc",
    b"\xff\xfe",
    b"Basic " + b"QQ" * 4000,
]


async def test_a_malformed_authorization_header_is_refused(world: World) -> None:
    world.client("shop")
    for header in MALFORMED:
        for path in ("/token", "/revoke"):
            answer = await world.api.post(
                path, data=OWN | {"token": "x"}, headers=[(b"authorization", header)]
            )
            refused(answer, 401, "invalid_client")


async def test_basic_credentials_of_nobody_name_no_client(world: World) -> None:
    """Swagger UI's Authorize button sends them where its client fields were left empty."""
    world.user()
    login = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    for scheme in ("Bearer", "Negotiate"):
        answer = await world.api.post(
            "/token", data=login, headers={"authorization": f"{scheme} Og=="}
        )
        refused(answer, 401, "invalid_client")
    answer = await world.api.post("/token", data=login, headers={"authorization": "Basic ~Og=="})
    refused(answer, 401, "invalid_client")
    nobody = {"authorization": "Basic Og=="}
    granted(await world.api.post("/token", data=login, headers=nobody))
    app = world.client("app", public=True)
    granted(await world.api.post("/token", data=login | app.post, headers=nobody))
    posted = world.client("shop").post
    granted(await world.api.post("/token", data=OWN | posted, headers=nobody))
    answer = await world.api.post("/introspect", data={"token": "x"}, headers=nobody)
    refused(answer, 401, "invalid_client")


async def test_an_empty_secret_is_none(world: World) -> None:
    """RFC 6749 §2.3.1, and what Swagger UI sends for a public client."""
    world.user()
    login = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    app = world.client("app", public=True)
    granted(await world.api.post("/token", data=login, headers=Caller(app.id, "").basic))
    shop = world.client("shop")
    answer = await world.api.post("/token", data=OWN, headers=Caller(shop.id, "").basic)
    refused(answer, 401, "invalid_client")


async def test_two_authorization_headers_are_refused(world: World) -> None:
    caller = world.client()
    header = ("authorization", caller.basic["authorization"])
    for path in ("/token", "/introspect", "/revoke"):
        answer = await world.api.post(path, data=OWN | {"token": "x"}, headers=[header, header])
        refused(answer, 400, "invalid_request")


async def test_two_secrets_may_overlap_and_each_ends_at_its_time(world: World) -> None:
    with frozen() as clock:
        old = world.client()
        until = utcnow() + timedelta(minutes=10)
        ending = Caller(old.id, world.secret(old.id, expires_at=until))
        new = Caller(old.id, world.secret(old.id))
        for caller in (old, ending, new):
            await world.act(caller)
        clock.tick(600.001)
        refused(await world.token(ending, **OWN), 401, "invalid_client")
        for caller in (old, new):
            await world.act(caller)


async def test_a_secret_that_has_proved_its_client_still_ends_at_its_time(world: World) -> None:
    with frozen(datetime(2030, 1, 1, tzinfo=UTC)) as clock:
        shop = world.client()
        ending = world.secret(shop.id, expires_at=utcnow() + timedelta(minutes=10))
        headers = Caller(shop.id, ending).basic
        for seconds in (0, 1, 598):
            clock.tick(seconds)
            granted(await world.api.post("/token", data=OWN, headers=headers))
        clock.tick(1)
        for way in ({"headers": headers}, {"data": OWN | Caller(shop.id, ending).post}):
            answer = await world.api.post("/token", **{"data": OWN, **way})
            refused(answer, 401, "invalid_client")


async def test_a_header_that_has_proved_its_client_names_no_other(world: World) -> None:
    shop, other = world.client("shop"), world.client("other")
    granted(await world.api.post("/token", data=OWN, headers=shop.basic))
    for more in ({"client_id": other.id}, {"client_secret": other.secret or ""}):
        answer = await world.api.post("/token", data=OWN | more, headers=shop.basic)
        refused(answer, 400, "invalid_request")


async def test_so_many_headers_are_known_again_and_the_oldest_goes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []

    def comparing(known: str, given: str) -> bool:
        compared.append(known)
        return compare_digest(known, given)

    monkeypatch.setattr(clients, "compare_digest", comparing)
    monkeypatch.setattr(clients, "PROVEN", 2)

    async def known_again(headers: dict[str, str]) -> bool:
        compared.clear()
        answer = await world.api.post("/introspect", data={"token": "x"}, headers=headers)
        assert answer.status_code == 200
        return not compared

    first, third = (world.client(name, scopes=["introspect"]) for name in ("first", "third"))
    assert [await known_again(first.basic) for _ in range(3)] == [False, True, True]
    ending = Caller(first.id, world.secret(first.id, expires_at=utcnow() + timedelta(minutes=1)))
    assert [await known_again(first.basic) for _ in range(2)] == [False, True]  # it has changed
    assert [await known_again(ending.basic) for _ in range(2)] == [False, True]
    assert [await known_again(caller.basic) for caller in (first, ending)] == [True, True]
    assert [await known_again(third.basic) for _ in range(2)] == [False, True]
    assert await known_again(ending.basic) and not await known_again(first.basic)
    # Nobody proves anything by a public client's id, nor pushes others out with it.
    app = Caller(world.client("app", public=True).id, "")
    for spaces in range(1, 4):
        header = app.basic["authorization"].replace(" ", " " * spaces)
        await world.api.post("/revoke", data={"token": "x"}, headers={"authorization": header})
    # Nor does whoever sends the secret in the form.
    await world.api.post("/introspect", data={"token": "x"} | third.post)
    assert await known_again(third.basic) and await known_again(first.basic)


async def test_what_a_client_does_is_on_record_as_its_own(world: World) -> None:
    shop = world.client()
    for _ in range(2):
        granted(await world.api.post("/token", data=OWN, headers=shop.basic))
    granted(await world.token(shop, **OWN))
    issued = await world.events("token.issued")
    assert [(event.actor_type, event.actor) for event in issued] == [("client", shop.id)] * 3


async def test_a_client_that_is_disabled_or_deleted_is_refused_at_once(world: World) -> None:
    caller = world.client()
    await world.act(caller)
    world.change_client(caller.id, status="disabled")
    refused(await world.token(caller, **OWN), 401, "invalid_client")
    world.change_client(caller.id, status="active")
    await world.act(caller)
    world.delete_client(caller.id)
    refused(await world.token(caller, **OWN), 401, "invalid_client")


@pytest.mark.parametrize("gone", ["disabled", "unknown"])
async def test_a_client_gone_before_its_first_second_has_begun_gets_no_token(
    world: World, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """It waits for that second, so that no token of it is taken for one from before."""
    caller = world.client()
    world.change_client(caller.id, good_from=utcnow() + timedelta(seconds=1))

    async def goes(_: float) -> None:
        if gone == "disabled":
            world.change_client(caller.id, status="disabled")
        else:
            world.delete_client(caller.id)

    monkeypatch.setattr("identity.oauth.token.sleep", goes)
    with frozen():
        refused(await world.token(caller, **OWN), 401, "invalid_client")
    [event] = await world.events("client.authentication")
    assert (event.client_id, event.outcome, event.detail["why"]) == (caller.id, "refused", gone)


async def test_the_built_in_client_can_be_switched_off(make_settings: Callable[..., Any]) -> None:
    app = create_app(make_settings(default_client=False))
    async with (
        running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as api,
    ):
        world = World(app, api)
        world.user()
        login = {"grant_type": "password", "username": "ada", "password": PASSWORD}
        said = refused(await world.token(**login), 401, "invalid_client")
        assert said == "the request names no client"
        assert await world.events("client.authentication") == []
        refused(await world.token(client_id="first-party", **login), 401, "invalid_client")
        [event] = await world.events("client.authentication")
        assert event.detail["why"] == "the built-in client is switched off"
        await world.log_in(client=world.client("app", public=True))


async def test_a_grant_that_the_client_may_not_use_is_refused(world: World) -> None:
    world.user()
    narrow = world.client("narrow", grants=["client_credentials"])
    answer = await world.token(narrow, grant_type="password", username="ada", password=PASSWORD)
    refused(answer, 400, "unauthorized_client")
    app = world.client("app", public=True, grants=["password"])
    tokens = await world.log_in(client=app)
    refused(await world.token(app, **OWN), 400, "unauthorized_client")
    refused(await world.refresh("rt_x", app), 400, "unauthorized_client")
    assert await world.active(tokens["access_token"])


async def test_who_names_no_client_is_told_so_where_the_built_in_one_will_not_do(
    world: World,
) -> None:
    """It serves who logs in by password, and acts for users only."""
    for grant in (
        "client_credentials",
        "authorization_code",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ):
        answer = await world.token(grant_type=grant)
        assert refused(answer, 401, "invalid_client") == "the request names no client"
        assert answer.headers["www-authenticate"].startswith("Basic ")
    refused(await world.token(client_id="first-party", **OWN), 400, "unauthorized_client")


async def test_a_grant_that_was_taken_from_the_built_in_client_serves_nobody(world: World) -> None:
    world.user()
    world.change_client("first-party", grants=["refresh_token"])
    login = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    said = refused(await world.token(**login), 401, "invalid_client")
    assert said == "the request names no client"
    refused(await world.token(client_id="first-party", **login), 400, "unauthorized_client")


async def test_a_public_client_never_acts_for_itself(world: World) -> None:
    app = world.client("app", public=True, grants=["client_credentials"])
    refused(await world.token(app, **OWN), 400, "unauthorized_client")
    answer = await world.api.post("/introspect", data={"token": "x"} | app.post)
    refused(answer, 401, "invalid_client")


async def test_refusals_ask_the_database_as_much_for_clients_known_and_unknown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered exists: an answer from memory would be quicker for those."""
    shop, gone = world.client("shop"), world.client("gone")
    for caller in (shop, gone):
        await world.act(caller)
    world.change_client("gone", status="disabled")
    clients, asked = world.services.clients, list[str]()
    load = clients._load

    async def loading(ref: str) -> Any:
        asked.append(ref)
        return await load(ref)

    monkeypatch.setattr(clients, "_load", loading)
    form = {"grant_type": "client_credentials", "client_secret": "wrong"}
    cost = {}
    for client_id in ("shop", "gone", "nobody", "first-party", "shop", "gone", "nobody"):
        asked.clear()
        refused(await world.token(client_id=client_id, **form), 401, "invalid_client")
        cost[client_id] = len(asked)
    assert set(cost.values()) == {1}
    asked.clear()
    await world.act(shop)
    assert asked == []
