"""`IDENTITY_HTTP=plain`: the same service on uvicorn as everybody runs it. In short; `make
test-plain` runs every other test so that starts a server."""

import http.client
import inspect
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from identity.http.server.server import configured
from identity.http.wire.protocol import Limits
from identity.settings import Settings
from tests.serving import ADMIN_PASSWORD, Server
from tests.world import bearer

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])


@pytest.fixture
def service(server: Callable[..., Server]) -> Server:
    return server(HTTP="plain", MAX_CONNECTIONS="5", CORS_ORIGINS="https://app.example")


@pytest.fixture
def http_client(service: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, trust_env=False) as client:
        yield client


def test_nothing_of_ours_stands_between_uvicorn_and_the_application(dialect: str) -> None:
    config = configured(Limits(), Settings.of(http="plain").server)
    config.load()
    assert config.http_protocol_class is HttpToolsProtocol
    assert inspect.getmodule(config.http_protocol_class).__name__.startswith("uvicorn.")
    assert config.get_loop_factory().__module__.startswith("uvloop")


def test_a_token_is_issued_introspected_refreshed_and_revoked(http_client: httpx.Client) -> None:
    form = {"grant_type": "password", "username": "admin", "password": ADMIN_PASSWORD}
    asked = http_client.post("/token", data=form | {"scope": "users:read introspect"})
    assert asked.status_code == 200
    token = asked.json()
    mine = bearer(token["access_token"])
    assert http_client.get("/users/me", headers=mine).json()["username"] == "admin"
    assert len(http_client.get("/users", headers=mine).json()["items"]) == 1
    known = http_client.post("/introspect", data={"token": token["access_token"]}, headers=mine)
    assert known.json()["active"] is True
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    again = http_client.post("/token", data=form).json()
    assert http_client.post("/revoke", data={"token": again["refresh_token"]}).status_code == 200
    gone = http_client.get("/users/me", headers=bearer(again["access_token"]))
    assert gone.status_code == 401


def test_answers_are_complete_and_refusals_are_problems(http_client: httpx.Client) -> None:
    keys = http_client.get("/.well-known/jwks.json", headers={"x-request-id": "mine-1"})
    assert keys.headers["x-request-id"] == "mine-1"
    assert keys.headers["x-content-type-options"] == "nosniff"
    assert "server" not in keys.headers and "date" in keys.headers
    etag = {"if-none-match": keys.headers["etag"]}
    assert http_client.get("/.well-known/jwks.json", headers=etag).status_code == 304
    assert http_client.head("/healthz").content == b""
    for method, path, status in (("GET", "/no/such", 404), ("PUT", "/token", 405)):
        answer = http_client.request(method, path)
        assert (answer.status_code, answer.json()["status"]) == (status, status)
    page = http_client.options(
        "/users", headers={"origin": "https://app.example", "access-control-request-method": "POST"}
    )
    assert page.headers["access-control-allow-origin"] == "https://app.example"


def test_a_body_over_the_limit_is_413_counted_or_announced(http_client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(10):
            yield b"a=" + b"x" * 10_000

    kind = {"content-type": "application/x-www-form-urlencoded"}
    announced = http_client.post("/token", content=b"x" * 100_000, headers=kind)
    counted = http_client.post("/token", content=pieces(), headers=kind)
    for answer in (announced, counted):
        assert (answer.status_code, answer.json()["title"]) == (
            413,
            "The request body is too large",
        )


def test_requests_follow_each_other_and_a_stream_ends_with_the_service(service: Server) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=5)) as kept:
        for _ in range(3):
            kept.request("GET", "/healthz")
            assert json.load(kept.getresponse()) == {"status": "alive"}
    form = {"grant_type": "password", "username": "admin", "password": ADMIN_PASSWORD}
    token: Any = httpx.post(
        f"{service.url}/token", data=form | {"scope": "users:read introspect"}, trust_env=False
    ).json()
    headers = bearer(token["access_token"]) | {"accept": "text/event-stream"}
    with httpx.stream(
        "GET", f"{service.url}/revocations", headers=headers, trust_env=False
    ) as stream:
        assert stream.status_code == 200
        service.process.terminate()
        list(stream.iter_raw())
    assert service.process.wait(10) == 0


def test_there_is_an_end_to_connections_here_too(service: Server) -> None:
    waiting = [socket.create_connection(("127.0.0.1", service.port), 5) for _ in range(5)]
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=5)) as another:
        another.request("GET", "/healthz")
        assert another.getresponse().status == 503
    for connection in waiting:
        connection.close()
    deadline = time.monotonic() + 5
    while httpx.get(f"{service.url}/healthz", trust_env=False).status_code != 200:
        assert time.monotonic() < deadline
