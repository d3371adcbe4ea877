"""What every answer carries, whichever lane gives it: the hot addresses or FastAPI."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from identity.app import create_app
from identity.http.messages import BODY_LIMIT
from tests.acting import admin
from tests.serving import running
from tests.transport import served
from tests.world import FORM, PASSWORD, World, bearer

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])

SECURITY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
LANES = {
    "hot, oauth": ("POST", "/token", 400),
    "hot, bearer": ("GET", "/users/me", 401),
    "hot, open": ("GET", "/healthz", 200),
    "hot, cached": ("GET", "/.well-known/jwks.json", 200),
    "fastapi, bearer": ("GET", "/users", 401),
    "fastapi, body": ("POST", "/password", 422),
    "fastapi, open": ("GET", "/openapi.json", 200),
    "nowhere": ("GET", "/no/such/address", 404),
    "not allowed, hot": ("DELETE", "/token", 405),
    "not allowed, fastapi": ("DELETE", "/roles", 405),
    "not allowed, shared": ("PUT", "/users/me", 405),
}
EACH = pytest.mark.parametrize("lane", list(LANES))


async def ask(api: httpx.AsyncClient, lane: str, **headers: str) -> httpx.Response:
    method, path, status = LANES[lane]
    body = {"content": b"{}", "headers": {"content-type": "application/json", **headers}}
    answer = await api.request(method, path, **(body if method == "POST" else {"headers": headers}))  # type: ignore[arg-type]
    assert answer.status_code == status, answer.text
    return answer


@EACH
async def test_every_answer_has_a_request_id_and_the_security_headers(
    api: httpx.AsyncClient, lane: str
) -> None:
    first, second = await ask(api, lane), await ask(api, lane)
    assert re.fullmatch(r"[0-9a-f-]{36}", first.headers["x-request-id"])
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    for name, value in SECURITY.items():
        assert first.headers.get_list(name) == [value], name
    assert "cache-control" in first.headers
    assert "strict-transport-security" not in first.headers  # the issuer is plain http
    assert "server" not in first.headers


@EACH
async def test_a_sane_request_id_is_kept_and_any_other_replaced(
    api: httpx.AsyncClient, lane: str
) -> None:
    kept = await ask(api, lane, **{"x-request-id": "trace-1234.A_b"})
    assert kept.headers["x-request-id"] == "trace-1234.A_b"
    for odd in (
        "",
        "with space",
        "x" * 65,
        "a/b",
        "<script>",
        "rt_" + "A" * 43,
    ):
        answer = await ask(api, lane, **{"x-request-id": odd})
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-request-id"]), odd


@EACH
async def test_errors_are_of_the_lanes_media_type_and_never_cached(
    api: httpx.AsyncClient, lane: str
) -> None:
    answer = await ask(api, lane)
    if answer.status_code < 400:
        return
    assert answer.headers["cache-control"] == "no-store"
    if lane == "hot, oauth":
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json()) == {"error", "error_description"}
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(answer.json()) >= {"type", "title", "status", "detail"}
        assert answer.json()["status"] == answer.status_code
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer realm=")


async def test_a_method_that_an_address_does_not_know_is_answered_with_those_it_does(
    api: httpx.AsyncClient,
) -> None:
    for method, path, allowed in (
        ("GET", "/token", {"POST"}),
        ("DELETE", "/token", {"POST"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
        # `me` is nobody's id, so what administrators do to users is not done here.
        ("PUT", "/users/me", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("PATCH", "/roles", {"GET", "POST"}),
        ("POST", "/users/me/sessions", {"GET"}),
        ("POST", "/users/somebody/sessions", {"GET", "DELETE"}),
        ("PUT", "/users/me/factors", {"GET"}),
        ("PUT", "/users/somebody/factors", {"GET", "DELETE"}),
    ):
        answer = await api.request(method, path)
        assert answer.status_code == 405, path
        found = set(answer.headers["allow"].split(", "))
        assert found - {"HEAD"} == allowed - {"HEAD"}, path
        assert method not in found


async def test_nobody_is_sent_to_the_host_that_a_request_names(api: httpx.AsyncClient) -> None:
    for path in ("/users/", "/roles/", "/docs/", "/token/", "/users/me/", "//evil.example/users/"):
        for method in ("GET", "POST"):
            answer = await api.request(method, path, headers={"host": "evil.example"})
            assert answer.status_code in (401, 404, 405), path
            assert "evil" not in str(answer.headers)


@pytest.mark.parametrize(
    "path",
    [
        "/users%2Fme", "/users%2fme", "/%2Ftoken", "/token%2F", "/.well-known%2Fjwks.json",
        "/status-lists%2F1", "/status-lists/a%2F1", "/users%2F1", "/users/1%2Fsessions",
        "/users/me%2fsessions", "/roles/a%2Fb", "/docs%2Foauth2-redirect", "/scopes%2Fa",
    ],
)  # fmt: skip
async def test_an_encoded_slash_is_no_slash(api: httpx.AsyncClient, path: str) -> None:
    """A proxy that guards the addresses under `/users/` does not see `/users%2Fme` as one."""
    for headers in ({}, {"origin": "https://app.example"}):
        for method in ("GET", "POST", "DELETE"):
            answer = await api.request(method, path, headers=headers)
            assert answer.status_code == 404, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"
            assert set(answer.headers) >= {*SECURITY, "x-request-id", "cache-control"}
    assert (await api.get("/users/m%65")).status_code == 401  # the same address in other words


async def test_a_scope_whose_name_is_a_url_keeps_its_address(world: World) -> None:
    boss = await admin(world)
    name = "https://orders.example/read"
    await boss.done("POST", "/scopes", {"name": name})
    assert (await boss.done("GET", f"/scopes/{quote(name, safe='')}"))["name"] == name


async def test_a_refusal_repeats_a_few_scopes_however_many_were_asked_for(world: World) -> None:
    boss = await admin(world)
    world.user()
    many = [f"s{n}:{'x' * 90}" for n in range(400)]
    login = await world.log_in()
    asked = " ".join(many)
    hot = [
        await world.token(grant_type="password", username="ada", password=PASSWORD, scope=asked),
        await world.token(
            grant_type="refresh_token", refresh_token=login["refresh_token"], scope=asked
        ),
    ]
    for answer in hot:
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    cold = [
        await boss("POST", "/roles", {"name": "r", "scopes": many}),
        await boss("POST", "/clients", {"name": "c", "scopes": many}),
    ]
    assert [answer.status_code for answer in cold] == [422, 422]
    for answer in (*hot, *cold):
        assert len(answer.content) < 2_000
        assert "and 395 more" in answer.text


async def test_a_head_request_answers_like_get_without_the_body(api: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/.well-known/jwks.json", "/users/me"):
        get, head = await api.get(path), await api.head(path)
        assert head.status_code == get.status_code
        assert head.content == b""
        assert head.headers["content-type"] == get.headers["content-type"]
        if path != "/metrics":
            assert head.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize("path", ["/token", "/introspect", "/users", "/password"])
async def test_a_body_over_64_kib_is_413_whether_it_says_so_or_not(world: World, path: str) -> None:
    world.user("root", roles=["admin"])
    headers = bearer((await world.log_in("root"))["access_token"])
    if path in ("/token", "/introspect"):
        headers, kind, body = {}, FORM, b"token=" + b"x" * BODY_LIMIT
    else:
        kind, body = "application/json", b'{"username": "' + b"x" * BODY_LIMIT + b'"}'
    headers = {**headers, "content-type": kind}

    async def in_pieces() -> Any:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    for content in (body, in_pieces()):
        answer = await world.api.post(path, content=content, headers=headers)
        assert answer.status_code == 413, answer.text
        assert "x-request-id" in answer.headers
        assert str(BODY_LIMIT) in answer.text
    # Just within, it is read.
    answer = await world.api.post(path, content=body[: BODY_LIMIT - 1], headers=headers)
    assert answer.status_code in (400, 401, 422)


@pytest.mark.parametrize("origin", ["https://app.example", "https://evil.example", None])
async def test_pages_of_allowed_origins_only_may_read_the_answers(
    make_settings: Callable[..., Any], origin: str | None
) -> None:
    app = create_app(make_settings(cors_origins="https://app.example"))
    sent = {"origin": origin} if origin else {}
    allowed = origin == "https://app.example"
    async with (
        running(app),
        httpx.AsyncClient(transport=served(app), base_url="http://test") as api,
    ):
        for method, path in (("POST", "/token"), ("GET", "/users/me"), ("GET", "/users")):
            answer = await api.request(method, path, headers=sent)
            assert answer.headers.get("access-control-allow-origin") == (
                origin if allowed else None
            )
            assert "origin" in answer.headers["vary"].lower()
            if allowed:
                exposed = answer.headers["access-control-expose-headers"]
                assert "WWW-Authenticate" in exposed and "Retry-After" in exposed
            assert "access-control-allow-credentials" not in answer.headers
        if origin is None:
            return
        asked = {
            **sent,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        }
        for path in ("/token", "/users", "/users/me"):
            preflight = await api.options(path, headers=asked)
            # At `/token` the answer itself decides: by then it is known which client asks.
            assert (preflight.status_code == 200) is (allowed or path == "/token"), path
            assert "x-request-id" in preflight.headers


async def test_without_origins_nothing_is_allowed(api: httpx.AsyncClient) -> None:
    for method, path in (("POST", "/token"), ("GET", "/users")):
        answer = await api.request(method, path, headers={"origin": "https://app.example"})
        assert "access-control-allow-origin" not in answer.headers


async def test_https_issuers_ask_for_https_ever_after(make_settings: Callable[..., Any]) -> None:
    app = create_app(make_settings(issuer="https://id.example"))
    async with (
        running(app),
        httpx.AsyncClient(transport=served(app), base_url="https://id.example") as api,
    ):
        for path in ("/healthz", "/users", "/nowhere"):
            answer = await api.get(path)
            assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_requests_are_counted_by_route_never_by_path(world: World) -> None:
    for path in ("/healthz", "/nowhere/1", "/nowhere/2", "/users/123", "/users/456"):
        await world.api.get(path)
    world.user()
    await world.log_in()
    await world.token(grant_type="password", username="ada", password="wrong")
    text = (await world.api.get("/metrics")).text
    counts = dict(re.findall(r"^(identity_\w+_total\{.*\}) (\S+)$", text, re.MULTILINE))

    def count(family: str, **labels: str) -> float:
        inside = ",".join(f'{name}="{value}"' for name, value in labels.items())
        return float(counts[f"identity_{family}_total{{{inside}}}"])

    assert count("requests", method="GET", route="/healthz", status="200") == 1
    assert count("requests", method="GET", route="unmatched", status="404") == 2
    assert count("requests", method="GET", route="/users/{user_id}", status="401") == 2
    assert count("requests", method="POST", route="/token", status="200") == 1
    assert count("requests", method="POST", route="/token", status="400") == 1
    assert count("logins", outcome="success") == 1
    assert count("logins", outcome="refused") == 1
    assert count("tokens_issued", grant="password") == 1
    assert "/nowhere" not in text and "/users/123" not in text
    assert 'identity_request_duration_seconds_bucket{le="+Inf",route="/token"} 2.0' in text


@pytest.mark.parametrize("path", ["/token", "/users/me", "/users"])
async def test_what_breaks_inside_is_a_500_that_tells_nothing(
    app: Any, world: World, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(world.services.feed, "catch_up", breaks)
    transport = served(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as api:
        method = "POST" if path == "/token" else "GET"
        answer = await api.request(
            method, path, headers={"content-type": FORM, **bearer("a.b.c")}, content=b"a=b"
        )
    assert answer.status_code == 500
    assert "secret detail" not in answer.text and "Traceback" not in answer.text
    expected = "application/json" if path == "/token" else "application/problem+json"
    assert answer.headers["content-type"] == expected
    for name in (*SECURITY, "x-request-id", "cache-control"):
        assert name in answer.headers
