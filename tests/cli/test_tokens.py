"""`identity tokens explain`: what is wrong with a token, in words."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlmodel import select

from identity.clock import frozen
from identity.directory.clients import accounts
from identity.directory.clients.table import Client
from identity.keys.table import SigningKey
from identity.oauth.grants.registry import GRANTS
from identity.store import Database
from tests.serving import ADMIN_PASSWORD
from tests.world import World

Identity = Callable[..., Any]
LOGIN = {"grant_type": "password", "username": "admin", "password": ADMIN_PASSWORD}


@pytest.fixture
async def tokens(api: Any) -> dict[str, str]:
    """An access and a refresh token of `admin`."""
    answer = await api.post("/token", data=LOGIN)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def failed(done: Any) -> dict[str, str]:
    """check → words, of all that failed."""
    lines = [line.split(maxsplit=2) for line in done.out.splitlines()]
    return {name: words for mark, name, words in lines if mark == "FAILED"}


async def test_a_good_token_passes_every_check(identity: Identity, tokens: dict[str, str]) -> None:
    done = identity("tokens", "explain", tokens["access_token"])
    assert (done.code, done.err) == (0, "The token is good.\n")
    assert failed(done) == {}
    piped = identity("tokens", "explain", "-", "--json", stdin=tokens["access_token"] + "\n")
    answer = json.loads(piped.out)
    assert answer["active"] is True
    names = [check["name"] for check in answer["checks"]]
    assert names[-4:] == ["revoked", "session", "user", "client"]
    assert tokens["access_token"] not in piped.out


async def test_a_revoked_token_and_its_session_are_told_apart(
    identity: Identity, api: Any, tokens: dict[str, str]
) -> None:
    await api.post("/revoke", data={"token": tokens["access_token"]})
    done = identity("tokens", "explain", tokens["access_token"])
    assert (done.code, done.err) == (1, "The token is not good.\n")
    assert failed(done)["revoked"].startswith("revoked at")
    await api.post("/revoke", data={"token": tokens["refresh_token"]})
    assert "ended at" in failed(identity("tokens", "explain", tokens["access_token"]))["session"]
    refresh = identity("tokens", "explain", tokens["refresh_token"])
    assert (refresh.code, "ended at" in failed(refresh)["session"]) == (1, True)


async def test_disabled_owners_are_named(
    identity: Identity, db: Database, tokens: dict[str, str]
) -> None:
    identity("users", "create", "other", "--role", "admin", "--generate", "--permanent")
    identity("users", "disable", "admin")
    with db.transaction() as session:
        client = session.get(Client, "first-party")
        assert client is not None
        client.status = "disabled"
    found = failed(identity("tokens", "explain", tokens["access_token"]))
    assert found.keys() == {"session", "user", "client"}
    assert (found["user"], found["client"]) == ("admin is disabled", "first-party is disabled")


async def test_a_token_of_before_its_client_was_disabled_is_explained_as_dead(
    identity: Identity, db: Database, tokens: dict[str, str]
) -> None:
    for status in ("disabled", "active"):
        with db.transaction() as session:
            client = accounts.get(session, "first-party", lock=True)
            accounts.update(session, client, {"status": status}, known_grants=GRANTS, held=None)
    done = identity("tokens", "explain", tokens["access_token"])
    assert (done.code, done.err) == (1, "The token is not good.\n")
    assert "it has been disabled since" in failed(done)["client"]


async def test_a_clients_token_of_before_is_dead_by_whatever_clock(
    identity: Identity, db: Database, world: World
) -> None:
    shop = world.client(scopes=())
    with frozen() as clock:
        clock.tick(20)
        token = (await world.act(shop))["access_token"]
        clock.tick(-20)
        good = identity("tokens", "explain", token)
        assert (good.code, failed(good)) == (0, {})
        for status in ("disabled", "active"):
            with db.transaction() as session:
                client = accounts.get(session, shop.id, lock=True)
                accounts.update(session, client, {"status": status}, known_grants=GRANTS, held=None)
        done = identity("tokens", "explain", token)
        assert not await world.active(token)
    assert done.code == 1
    assert failed(done)["client"].startswith("it has been disabled since")


async def test_an_expired_token_of_a_revoked_key_shows_both(
    identity: Identity, db: Database, tokens: dict[str, str]
) -> None:
    with db.transaction() as session:
        active = select(SigningKey.kid).where(SigningKey.state == "active", SigningKey.serves == "")
        kid = session.exec(active).one()
    identity("keys", "revoke", kid, "--yes")
    with frozen() as clock:
        clock.tick(3600)
        found = failed(identity("tokens", "explain", tokens["access_token"]))
    assert found["header.kid"].endswith("it was revoked")
    assert found["exp"].startswith("expired at")


async def test_another_issuer_is_named_with_the_setting(
    identity: Identity, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ISSUER", "https://elsewhere.example")
    found = failed(identity("tokens", "explain", tokens["access_token"]))
    assert set(found) == {"iss"}
    assert "IDENTITY_ISSUER" in found["iss"]


async def test_a_rotated_refresh_token_is_told_from_its_successor(
    identity: Identity, api: Any, tokens: dict[str, str]
) -> None:
    old = tokens["refresh_token"]
    assert identity("tokens", "explain", old).code == 0
    answer = await api.post("/token", data={"grant_type": "refresh_token", "refresh_token": old})
    assert "rotated at" in failed(identity("tokens", "explain", old))["unused"]
    assert identity("tokens", "explain", answer.json()["refresh_token"]).code == 0
    with frozen() as clock:
        clock.tick(100 * 86400)
        found = failed(identity("tokens", "explain", answer.json()["refresh_token"]))
    assert found.keys() == {"expiry", "session"}


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b.c", "rt_unknown", "eyJhbGciOiJub25lIn0.eyJqdGkiOiJcdTAwMDAifQ.", "\u00e9" * 20],
)
def test_whatever_is_no_token_is_explained_as_such(identity: Identity, token: str) -> None:
    done = identity("tokens", "explain", "-", stdin=token)
    assert (done.code, done.err) == (1, "The token is not good.\n")
    assert failed(done)
