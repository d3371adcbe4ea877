"""`POST /token` with `grant_type=password` (RFC 6749 §4.3)."""

import asyncio
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from identity.app import create_app
from identity.authentication.passwords import fair
from identity.directory.clients import accounts as clients
from identity.directory.users import accounts
from identity.directory.users.table import User
from identity.oauth.grants.registry import GRANTS
from identity.store import Database
from identity.tokens.sessions import lifecycle
from tests.serving import running
from tests.world import FORM, PASSWORD, World, claims_of, refused

WRONG = "the username or password is wrong"


def stored_hash(world: World, user: User) -> str:
    with world.change() as session:
        return accounts.get(session, user.id).password_hash or ""


async def test_a_login_by_the_built_in_client_answers_all_that_the_contract_names(
    world: World,
) -> None:
    user = world.user()
    answer = await world.token(grant_type="password", username="ada", password=PASSWORD)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    tokens = answer.json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)
    claims = claims_of(tokens["access_token"])
    assert (claims["sub"], claims["client_id"]) == (user.id, "first-party")
    assert (claims["username"], claims["amr"]) == ("ada", ["pwd"])
    assert (await world.me(tokens["access_token"])).json()["last_login_at"] is not None


async def test_a_login_is_on_record_as_the_users_own(world: World) -> None:
    user = world.user()
    tokens = await world.log_in()
    [event] = await world.events("login")
    assert (event.outcome, event.actor_type, event.actor) == ("success", "user", user.id)
    assert (event.subject, event.client_id) == (user.id, "first-party")
    assert event.detail["sid"] == claims_of(tokens["access_token"])["sid"]
    assert event.detail["scope"] == tokens["scope"]


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_secret_that_was_typed_for_a_name_is_not_on_record(world: World) -> None:
    world.user()
    refresh_token = (await world.log_in())["refresh_token"]
    for typed in ("ada", "adda", "adda@example.com", PASSWORD, refresh_token):
        await world.token(grant_type="password", username=typed, password="not hers")
    events = await world.events("login")
    kept = [event.detail["login"] for event in events if event.outcome == "refused"]
    assert kept == ["ada", "adda", "adda@example.com", *["[redacted]"] * 2]


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_logins_are_counted_by_their_outcome(world: World) -> None:
    world.user()
    await world.log_in()
    for password in ("not hers", "nor this"):
        answer = await world.token(grant_type="password", username="ada", password=password)
        refused(answer, 400, "invalid_grant")
    counted = (await world.api.get("/metrics")).text
    assert 'identity_logins_total{outcome="success"} 1.0' in counted
    assert 'identity_logins_total{outcome="refused"} 2.0' in counted


async def test_username_and_email_log_in_whatever_their_case(world: World) -> None:
    user = world.user("Ada", email="ada@example.com")
    for login in ("ada", "ADA", "ada@example.com", "Ada@EXAMPLE.com"):
        assert claims_of((await world.log_in(login))["access_token"])["sub"] == user.id


async def test_unknown_disabled_and_wrong_give_the_same_answer(world: World) -> None:
    world.user("ada")
    world.user("eve", status="disabled")
    world.user("bot", password_hash="!")
    answers = [
        await world.token(grant_type="password", username=username, password=password)
        for username, password in (
            ("ada", "not her password"),
            ("eve", PASSWORD),
            ("eve", "not her password"),
            ("bot", PASSWORD),
            ("nobody", PASSWORD),
            ("x" * 5000, PASSWORD),
            ("\u200b \ufffe", PASSWORD),
        )
    ]
    for answer in answers:
        assert refused(answer, 400, "invalid_grant") == WRONG
        assert set(answer.headers) == set(answers[0].headers)
    why = [event.detail["why"] for event in await world.events("login")]
    assert why == [
        "wrong password",
        "disabled",
        "disabled",
        "unreadable password hash",
        *["unknown user"] * 3,
    ]


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_unknown_disabled_and_wrong_take_the_same_time(
    make_settings: Callable[..., Any],
) -> None:
    """Interleaved samples of CPU time, which others on a busy machine do not lengthen."""
    app = create_app(make_settings(bcrypt_rounds=8, login_max_failures=10_000))
    async with (
        running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as api,
    ):
        world = World(app, api)
        world.user("ada")
        world.user("eve", status="disabled")
        world.user("old", password_hash="$1$saltSALT$4YaifMFO1ET.pbLBRiAkC/")
        kinds = {
            "wrong": ("ada", "not her password"),
            "disabled": ("eve", PASSWORD),
            "unknown": ("nobody", PASSWORD),
            "foreign": ("old", "not her password"),
        }
        samples: dict[str, list[float]] = {kind: [] for kind in kinds}
        for turn in range(14):
            for kind, (username, password) in kinds.items():
                began = time.process_time()
                await world.token(grant_type="password", username=username, password=password)
                if turn > 1:  # what is imported and measured at first is not compared
                    samples[kind].append(time.process_time() - began)
    usual = {kind: statistics.median(times) for kind, times in samples.items()}
    quick = {kind: min(times) for kind, times in samples.items()}
    assert max(usual.values()) < 1.6 * min(usual.values()), usual
    assert max(quick.values()) < 1.5 * min(quick.values()), quick


NO_PASSWORDS = {
    "x" * 10_000: "longer than 1024 characters",
    "%00": "NUL",
    "tangerine%00harbour": "NUL",
    "tangerine\0harbour": "NUL",
    "%ED%A0%80": "UTF-8",
    "%ED%BF%BFtangerine": "UTF-8",
    "%FF%FE": "UTF-8",
    "%C0%AF": "UTF-8",
    "%zz": "percent-encoded",
    "": "password is missing",
}


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_name_without_end_is_nobodys_and_costs_no_more_than_another(world: World) -> None:
    """Sorting combining marks takes time that grows with their square: 64 KiB took two seconds, in
    which nobody else was answered."""
    world.user()
    marks = "ada" + "\u0301\u0323" * 16_000
    form = {"grant_type": "password", "username": marks, "password": PASSWORD}
    body = "&".join(f"{name}={value}" for name, value in form.items()).encode()
    began = time.process_time()
    answer = await world.api.post("/token", content=body, headers={"content-type": FORM})
    assert time.process_time() - began < 0.5
    assert refused(answer, 400, "invalid_grant") == WRONG


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_what_cannot_be_a_password_is_refused_clearly(world: World) -> None:
    world.user()
    for password, says in NO_PASSWORDS.items():
        for username in ("ada", "nobody"):
            body = f"grant_type=password&username={username}&password={password}"
            answer = await world.api.post("/token", content=body, headers={"content-type": FORM})
            assert says in refused(answer, 400, "invalid_request")
    for username in ("%00", "%ED%A0%80", "a%00b"):
        body = f"grant_type=password&username={username}&password=whatever"
        answer = await world.api.post("/token", content=body, headers={"content-type": FORM})
        refused(answer, 400, "invalid_request")


async def test_every_other_text_is_a_password(world: World) -> None:
    for number, password in enumerate(
        ("ünï cödé \U0001f511 пароль", "p+w%&=;\"'\\ <>", "y" * 1024, "\u00e9\u2003\ufb01")
    ):
        world.user(f"user-{number}", password=password)
        await world.log_in(f"user-{number}", password)


FOREIGN = {
    "bcrypt": "$2b$04$hWcGKexISeIxelT6lzbJCe3NHYkuNO6VwD.sSx87cor9MaMiHSKzC",
    "argon2": "$argon2id$v=19$m=64,t=1,p=2$c2FsdFNBTFQ$UwVRQZc23e4IKfVp+/ZIl//2t3lADeDgKfKl9ppc9XM",
    "scrypt": "$scrypt$ln=10,r=8,p=1$c2FsdFNBTFQ$k7tL55WqhK9gao/jYkPcf+q8zwB+FlS5b+NhhJTAyV8",
    "django": "pbkdf2_sha256$1000$saltSALT$h9xM8drpPLiri5vPfqZnKWIna76lKr5TsBXpFbSAcgo=",
    "phpass": "$P$6saltSALTimE2o8sBNMyovuNfRPSML/",
    "ldap": "{SSHA}/L2vA3hCV9kDPko8wmf338+6nNBzYWx0U0FMVA==",
    "sha256-crypt": "$5$saltSALT$jl/uPTG/nEqbvsyy6UzIqM9dQdWj94LQFzaaYyxnI1.",
}


async def test_foreign_hashes_log_in_and_are_upgraded(world: World) -> None:
    for username, encoded in FOREIGN.items():
        user = world.user(username, password_hash=encoded)
        refused(
            await world.token(grant_type="password", username=username, password="another"),
            400,
            "invalid_grant",
        )
        assert stored_hash(world, user) == encoded
        await world.log_in(username, "correct horse é")
        upgraded = stored_hash(world, user)
        assert upgraded.startswith("$bcrypt-sha256$"), username
        await world.log_in(username, "correct horse é")
        assert stored_hash(world, user) == upgraded


@pytest.fixture
def while_compared(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Something happens after a user was looked up and before the login is written."""
    hasher, compare = world.services.hasher, world.services.hasher.verify

    def arrange(happen: Callable[[], object]) -> None:
        def happens(*given: Any) -> Any:
            happen()
            return compare(*given)

        monkeypatch.setattr(hasher, "verify", happens)

    return arrange


async def test_a_client_disabled_while_the_hash_is_compared_gets_no_session(
    world: World, while_compared: Callable[..., None]
) -> None:
    """Enabled again, it would have one that was begun after all of its sessions had ended."""
    user = world.user()

    def disabled_meanwhile() -> None:
        with world.change() as session:
            client = clients.get(session, "first-party", lock=True)
            clients.update(session, client, {"status": "disabled"}, known_grants=GRANTS, held=None)
            lifecycle.end_all(session, "client disabled", client_id=client.id)

    while_compared(disabled_meanwhile)
    answer = await world.token(grant_type="password", username="ada", password=PASSWORD)
    assert refused(answer, 400, "invalid_grant") == "the login is not valid any more"
    with world.change() as session:
        assert lifecycle.live_of(session, user.id) == []


async def test_of_two_first_logins_at_once_both_succeed_and_one_upgrades_the_hash(
    world: World, while_compared: Callable[..., None]
) -> None:
    password = "correct horse é"
    user = world.user("old", password_hash=FOREIGN["phpass"])
    upgraded = world.services.hasher.hash(password)

    def upgraded_meanwhile() -> None:
        with world.change() as session:
            session.add(accounts.get(session, user.id).sqlmodel_update({"password_hash": upgraded}))

    while_compared(upgraded_meanwhile)
    assert await world.active((await world.log_in("old", password))["access_token"])
    assert stored_hash(world, user) == upgraded


async def test_a_password_reset_while_the_old_one_is_compared_refuses_it(
    world: World, while_compared: Callable[..., None]
) -> None:
    user = world.user()
    another = world.services.hasher.hash("another password")

    def reset_meanwhile() -> None:
        with world.change() as session:
            row = accounts.get(session, user.id)
            accounts.set_password_hash(session, row, another, must_change=False, held=None)

    while_compared(reset_meanwhile)
    answer = await world.token(grant_type="password", username="ada", password=PASSWORD)
    assert refused(answer, 400, "invalid_grant") == WRONG
    assert stored_hash(world, user) == another


async def test_a_one_time_password_must_be_changed_before_anything_is_granted(
    world: World,
) -> None:
    user = world.user(must_change_password=True)
    answer = await world.token(grant_type="password", username="ada", password=PASSWORD)
    assert "POST /password" in refused(answer, 400, "invalid_grant")
    [event] = await world.events("login")
    assert (event.outcome, event.subject) == ("refused", user.id)
    with world.change() as session:
        assert lifecycle.live_of(session, user.id) == []


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_the_grant_can_be_switched_off_for_all(make_settings: Callable[..., Any]) -> None:
    app = create_app(make_settings(password_grant=False))
    async with (
        running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as api,
    ):
        world = World(app, api)
        world.user()
        answer = await world.token(grant_type="password", username="ada", password=PASSWORD)
        refused(answer, 400, "unauthorized_client")


async def test_a_client_without_the_refresh_grant_gets_no_refresh_token(world: World) -> None:
    world.user()
    client = world.client(grants=["password"])
    tokens = await world.log_in(client=client)
    assert "refresh_token" not in tokens
    assert await world.active(tokens["access_token"])


async def test_a_login_ends_unanswered_if_the_user_is_disabled_while_the_hash_is_compared(
    world: World, while_compared: Callable[..., None]
) -> None:
    user = world.user()

    while_compared(lambda: world.set_status(user, "disabled"))
    answer = await world.token(grant_type="password", username="ada", password=PASSWORD)
    assert refused(answer, 400, "invalid_grant") == WRONG


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_full_hashing_queue_answers_503_while_everything_else_stays_quick(
    make_settings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair, "LONGEST_WAIT", 60)
    app = create_app(make_settings(hashing_threads=1, hashing_queue=2))
    async with (
        running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as api,
    ):
        world = World(app, api)
        world.user()
        token = (await world.log_in())["access_token"]
        assert await world.active(token)
        go_on = threading.Event()
        compare = world.services.hasher.verify
        monkeypatch.setattr(
            world.services.hasher, "verify", lambda *given: go_on.wait(60) and compare(*given)
        )
        try:
            waiting = [asyncio.create_task(world.log_in()) for _ in range(3)]
            while world.services.pool.depth < 2:  # noqa: ASYNC110
                await asyncio.sleep(0)
            began = time.perf_counter()
            with monkeypatch.context() as patched:  # nothing is looked up for it
                patched.delattr(Database, "read")
                answer = await world.token(grant_type="password", username="ada", password=PASSWORD)
            refused(answer, 503, "temporarily_unavailable")
            assert 1 <= int(answer.headers["retry-after"]) <= 30
            for _ in range(20):
                assert await world.active(token)
                assert (await api.get("/healthz")).status_code == 200
            assert time.perf_counter() - began < 2
        finally:
            go_on.set()
        assert all("access_token" in tokens for tokens in await asyncio.gather(*waiting))
        assert (await world.log_in())["access_token"]
