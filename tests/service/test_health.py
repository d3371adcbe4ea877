"""Alive, ready, and what remains of the service while the database is gone."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from sqlmodel import select

from identity.app import create_app
from identity.keys.table import SigningKey
from identity.settings import Settings
from identity.store import changes, contracting
from tests.databases import Postgres, migrate
from tests.serving import ADMIN_PASSWORD, running
from tests.world import PASSWORD, World, refused

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])


async def test_a_started_service_is_alive_and_ready(api: httpx.AsyncClient) -> None:
    assert (await api.get("/healthz")).json() == {"status": "alive"}
    ready = await api.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    for answer in (await api.get("/healthz"), ready):
        assert answer.headers["cache-control"] == "no-store"


async def test_readiness_says_that_the_schema_is_behind(world: World) -> None:
    with world.change() as session:
        table = contracting.version_table(session.connection())
        session.execute(text(f"UPDATE {table} SET version_num = '0000'"))
    answer = await world.api.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert list(answer.json()["reasons"]) == ["schema"]
    assert "run `identity migrate`" in answer.json()["reasons"]["schema"]
    assert (await world.api.get("/healthz")).status_code == 200


async def test_a_newer_schema_is_no_reason(world: World) -> None:
    """Expand and contract: this version can be served by its successor's database."""
    with world.change() as session:
        table = contracting.version_table(session.connection())
        session.execute(text(f"UPDATE {table} SET version_num = '9999'"))
    assert (await world.api.get("/readyz")).status_code == 200


async def test_readiness_says_that_no_key_signs(world: World) -> None:
    world.user()
    with world.change() as session:
        for key in session.exec(select(SigningKey)).all():
            session.delete(key)
            changes.record(session, "key.changed", key.kid)
    answer = await world.api.get("/readyz")
    assert answer.status_code == 503
    assert list(answer.json()["reasons"]) == ["signing_key"]
    token = await world.token(grant_type="password", username="ada", password=PASSWORD)
    refused(token, 503, "temporarily_unavailable")


@SQLITE
async def test_metrics_are_prometheus_text(api: httpx.AsyncClient) -> None:
    answer = await api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    for name in (
        "password_hashing_queue",
        "change_feed_lag_seconds",
        "database_connections_in_use",
    ):
        assert f"identity_{name}" in answer.text


# --- While the database is gone -------------------------------------------------------------


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """A server that these tests may stop."""
    server = Postgres(durable=True)
    yield server
    server.remove()


@pytest.fixture
async def stoppable(own_postgres: Postgres, tmp_path: Path) -> AsyncIterator[World]:
    url = own_postgres.create()
    migrate(url)
    settings = Settings.of(
        database_url=url,
        keys_dir=tmp_path / "keys",
        bootstrap_admin_password=ADMIN_PASSWORD,
        log_level="error",
        bcrypt_rounds=4,
        test_weak_hashing=True,
    )
    app = create_app(settings)
    transport = httpx.ASGITransport(app=app)
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://t") as api:
        yield World(app, api)


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_without_its_database_nothing_is_said_from_memory_alone(
    stoppable: World, own_postgres: Postgres, how: str
) -> None:
    world = stoppable
    world.user()
    root = world.user("root", roles=["admin"])
    tokens, admin = await world.log_in(), await world.log_in("root")
    checker = world.client("checker", scopes=["introspect"])
    before = await world.api.get("/.well-known/jwks.json")
    assert await world.active(tokens["access_token"])
    assert (await world.me(tokens["access_token"])).status_code == 200
    getattr(own_postgres, how)()
    try:
        for answer in (
            await world.api.post(
                "/introspect", data={"token": tokens["access_token"]}, headers=checker.basic
            ),
            await world.api.post(
                "/introspect", data={"token": tokens["refresh_token"]}, headers=checker.basic
            ),
            await world.token(grant_type="password", username="ada", password=PASSWORD),
            await world.refresh(tokens["refresh_token"]),
            await world.token(checker, grant_type="client_credentials"),
            await world.revoke(tokens["access_token"]),
        ):
            refused(answer, 503, "temporarily_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
            assert "psycopg" not in answer.text and "127.0.0.1" not in answer.text
        for path in ("/users/me", "/users", "/users/me/sessions"):
            token = {"authorization": f"Bearer {admin['access_token']}"}
            answer = await world.api.get(path, headers=token)
            assert answer.status_code == 503, path
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) >= 1
        ready = await world.api.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["reasons"]["database"] == "the database cannot be reached"
        assert (await world.api.get("/healthz")).status_code == 200
        assert (await world.api.get("/metrics")).status_code == 200
        assert (await world.api.get("/.well-known/jwks.json")).content == before.content
        assert (await world.api.get("/.well-known/oauth-authorization-server")).status_code == 200
    finally:
        own_postgres.start()
    # It recovers by itself, and has lost nothing.
    assert (await world.api.get("/readyz")).status_code == 200
    world._checker = checker
    assert await world.active(tokens["access_token"])
    assert (await world.refresh(tokens["refresh_token"])).status_code == 200
    assert (await world.me(admin["access_token"])).json()["id"] == root.id
    assert (await world.revoke(tokens["access_token"])).status_code == 200
    assert not await world.active(tokens["access_token"])
