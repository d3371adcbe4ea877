"""The edge: what every answer carries and every request is held to, in both lanes."""

import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
import structlog
from fastapi import FastAPI
from fastapi import Request as FastApiRequest
from fastapi.responses import JSONResponse
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from identity.errors import NotFound, RequestTimeout
from identity.http.edge import Edge
from identity.http.lane import Lane
from identity.http.messages import BODY_LIMIT, Request, Response, json_response
from identity.http.proxies import Proxies, _forwarded
from identity.opaque import mint
from identity.records import logs
from identity.records.audit import act_as, origin
from identity.records.metrics import Metrics
from identity.settings import Settings
from tests.transport import as_served

pytestmark = pytest.mark.anyio
PROXY = "10.0.0.1"


class Service:
    """An edge over both lanes, its log and its numbers."""

    def __init__(self, peer: str, whole: bool, **settings: Any) -> None:
        chosen = Settings.of(log_format="json", **settings)
        self.log = io.StringIO()
        logs.configure(chosen.logs, self.log)
        self.metrics = Metrics()
        self.edge = Edge(
            both_lanes(), chosen, self.metrics, large_bodies={"/import": 4 * BODY_LIMIT}
        )
        self.transport = httpx.ASGITransport(
            as_served(self.edge) if whole else self.edge,
            raise_app_exceptions=False,
            client=(peer, 4711),
        )
        self.http = httpx.AsyncClient(transport=self.transport, base_url="http://x")

    @property
    def lines(self) -> list[dict[str, Any]]:
        logs.flush()
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def both_lanes() -> Lane:
    app = FastAPI()

    @app.get("/users/{number}")
    async def user(number: int, request: FastApiRequest) -> dict[str, Any]:
        act_as("user", "u-1")
        who = origin.get()
        client = request.client.host if request.client else None
        return {
            "number": number,
            "origin": who.address,
            "client": client,
            "scheme": request.url.scheme,
            "request_id": who.request_id,
        }

    @app.post("/json")
    async def body(document: dict[str, str]) -> int:
        return len(document)

    @app.post("/import")
    async def imported(request: FastApiRequest) -> int:
        return len(await request.body())

    @app.get("/breaks")
    async def breaks() -> None:
        raise RuntimeError(f"boom {mint('rt')}")

    @app.get("/deliberate")
    async def deliberate() -> JSONResponse:
        return JSONResponse({"own": True}, 500)

    @app.get("/nothing")
    async def nothing() -> None:
        raise NotFound("no such thing")

    @app.get("/disconnected")
    async def disconnected() -> None:
        raise ClientDisconnect

    lane = Lane(app)

    async def fast(request: Request) -> Response:
        return json_response({"address": request.address, "origin": origin.get().address})

    async def kept(request: Request) -> Response:
        headers = [(b"cache-control", b"max-age=300"), (b"x-frame-options", b"SAMEORIGIN")]
        return json_response({}, headers=headers)

    async def fast_form(request: Request) -> Response:
        return json_response(await request.form())

    async def breaks_fast(request: Request) -> Response:
        raise RuntimeError("boom")

    lane.add("GET", "/fast", fast, oauth=False)
    lane.add("GET", "/kept", kept, oauth=False)
    lane.add("GET", "/fast-breaks", breaks_fast, oauth=False)
    lane.add("POST", "/fast-form", fast_form, oauth=True)
    return lane


@pytest.fixture(params=["by our server", "by any server"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Service]]:
    made: list[Service] = []

    def make(peer: str = "192.0.2.1", **settings: Any) -> Service:
        made.append(Service(peer, request.param == "by our server", **settings))
        return made[-1]

    yield make
    for service in made:
        await service.http.aclose()


@pytest.fixture
def service(make: Callable[..., Service]) -> Service:
    return make()


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    yield
    import logging
    import sys

    logging.captureWarnings(False)
    logs.configure(Settings.of().logs, sys.stderr)
    logging.captureWarnings(False)
    structlog.reset_defaults()


ADDRESSES = [
    ("GET", "/fast", 200),
    ("GET", "/users/7", 200),
    ("GET", "/no/such/thing", 404),
    ("POST", "/fast", 405),
    ("POST", "/users/7", 405),
    ("GET", "/users/x", 422),
    ("GET", "/nothing", 404),
    ("GET", "/breaks", 500),
    ("GET", "/fast-breaks", 500),
    ("GET", "/deliberate", 500),
]


@pytest.mark.parametrize(("method", "path", "status"), ADDRESSES)
async def test_every_answer_has_a_request_id_and_the_security_headers(
    service: Service, method: str, path: str, status: int
) -> None:
    answer = await service.http.request(method, path)
    assert answer.status_code == status
    assert len(answer.headers["x-request-id"]) == 36
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers.get_list("cache-control") == ["no-store"]
    assert "strict-transport-security" not in answer.headers
    assert service.lines[-1]["request_id"] == answer.headers["x-request-id"]
    assert service.lines[-1]["status"] == status


async def test_a_sane_request_id_is_kept_and_reaches_the_handler(service: Service) -> None:
    answer = await service.http.get("/users/7", headers={"x-request-id": "trace-1_a.B"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "trace-1_a.B"


@pytest.mark.parametrize("given_id", ["", "a b", "x" * 65, "ä", 'a"b', "rt_" + "aB3" * 14])
async def test_another_request_id_is_replaced(service: Service, given_id: str) -> None:
    answer = await service.http.get("/fast", headers={"x-request-id": given_id.encode()})
    assert answer.headers["x-request-id"] != given_id
    assert len(answer.headers["x-request-id"]) == 36


async def test_what_an_answer_says_itself_stands(service: Service) -> None:
    answer = await service.http.get("/kept")
    assert answer.headers.get_list("cache-control") == ["max-age=300"]
    assert answer.headers.get_list("x-frame-options") == ["SAMEORIGIN"]
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_an_https_issuer_asks_browsers_to_stay_with_https(
    make: Callable[..., Service],
) -> None:
    answer = await make(issuer="https://id.example").http.get("/fast")
    assert answer.headers["strict-transport-security"].startswith("max-age=")


async def test_an_unhandled_exception_is_a_problem_and_its_trace_is_logged(
    service: Service,
) -> None:
    for path in ("/breaks", "/fast-breaks"):
        answer = await service.http.get(path)
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert "boom" not in answer.text
        failure, _ = service.lines[-2:]
        assert failure["level"] == "error"
        assert "RuntimeError: boom" in failure["exception"]
        assert failure["request_id"] == answer.headers["x-request-id"]
    assert "rt_" not in service.log.getvalue()


async def test_a_500_that_is_meant_is_left_alone(service: Service) -> None:
    assert (await service.http.get("/deliberate")).json() == {"own": True}


@pytest.mark.parametrize("path", ["/fast-form", "/json", "/import"])
@pytest.mark.parametrize("says_its_length", [True, False])
async def test_a_body_over_the_limit_is_413_in_both_lanes(
    service: Service, path: str, says_its_length: bool
) -> None:
    size, limit = (300, 4 * BODY_LIMIT) if path == "/import" else (70, BODY_LIMIT)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(size):
            yield b"x" * 1024

    kind = "application/json" if path == "/json" else "application/x-www-form-urlencoded"
    content: Any = b"x" * size * 1024 if says_its_length else pieces()
    answer = await service.http.post(path, content=content, headers={"content-type": kind})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == f"at most {limit} bytes"
    assert service.lines[-1]["status"] == 413


async def test_an_absurd_length_is_413(service: Service) -> None:
    headers = {"content-length": "9" * 5000}
    assert (await service.http.post("/json", content=b"x", headers=headers)).status_code == 413


async def test_an_import_may_be_larger(service: Service) -> None:
    assert (await service.http.post("/import", content=b"x" * 200_000)).json() == 200_000
    assert (await service.http.post("/import", content=b"x" * 300_000)).status_code == 413


async def test_a_body_that_stays_away_is_408_though_fastapi_calls_it_bad(
    service: Service,
) -> None:
    scope = {
        "type": "http", "method": "POST", "path": "/json", "raw_path": b"/json",
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "client": ("192.0.2.1", 1), "server": ("x", 80),
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"5")],
    }  # fmt: skip

    async def receive() -> Any:
        scope["failure"] = RequestTimeout()
        raise scope["failure"]

    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    await service.edge(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 408


async def test_a_client_that_went_away_is_a_line_in_the_log(service: Service) -> None:
    with pytest.raises(AssertionError):  # httpx misses its answer
        await service.http.get("/disconnected")
    assert service.lines[-1]["status"] == 499


async def test_a_request_cut_off_by_the_shutdown_is_told_to_come_back(service: Service) -> None:
    async def never() -> Any:
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    scope = {
        "type": "http", "method": "POST", "path": "/fast-form", "query_string": b"",
        "client": None, "headers": [(b"content-type", b"application/x-www-form-urlencoded")],
    }  # fmt: skip
    import asyncio

    task = asyncio.ensure_future(service.edge(scope, never, send))
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"1") in sent[0]["headers"]


# --- the line and the numbers ----------------------------------------------------------------


async def test_the_request_line_names_the_route_and_who_asked(service: Service) -> None:
    await service.http.get("/users/7?token=secret")
    line = service.lines[-1]
    assert (line["route"], line["path"]) == ("/users/{number}", "/users/7")
    assert (line["method"], line["actor"], line["address"]) == ("GET", "u-1", "192.0.2.1")
    assert isinstance(line["duration_us"], int)
    assert "secret" not in service.log.getvalue()


async def test_who_asked_is_forgotten_with_the_request(service: Service) -> None:
    before = origin.get()
    await service.http.get("/users/7")
    assert origin.get() == before


async def test_metrics_count_by_route_never_by_path(service: Service) -> None:
    for number in range(3):
        await service.http.get(f"/users/{number}")
        await service.http.get(f"/no/such/{number}")
        await service.http.get("/fast")
    await service.http.delete("/fast")
    counted = service.metrics.totals()["counters"]["requests"]
    assert counted == {
        ("GET", "/users/{number}", "200"): 3,
        ("GET", "unmatched", "404"): 3,
        ("GET", "/fast", "200"): 3,
        ("DELETE", "/fast", "405"): 1,
    }


# --- CORS ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/fast", "/users/7", "/fast-breaks", "/no/such/thing"])
async def test_pages_of_a_listed_origin_may_read_both_lanes(
    make: Callable[..., Service], path: str
) -> None:
    service = make(cors_origins="https://app.example")
    answer = await service.http.get(path, headers={"origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    exposed = answer.headers["access-control-expose-headers"]
    assert {"ETag", "X-Request-ID", "WWW-Authenticate"} <= set(exposed.split(", "))
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]
    foreign = await service.http.get(path, headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers
    assert "Origin" in (await service.http.get(path)).headers["vary"]


async def test_a_preflight_is_answered_for_both_lanes(make: Callable[..., Service]) -> None:
    service = make(cors_origins="https://app.example")
    for path, method in (("/fast-form", "POST"), ("/users/7", "PATCH")):
        answer = await service.http.options(
            path,
            headers={
                "origin": "https://app.example",
                "access-control-request-method": method,
                "access-control-request-headers": "authorization, content-type, if-match",
            },
        )
        assert answer.status_code == 200
        assert "x-request-id" in answer.headers
        assert service.lines[-1]["route"] == "preflight"


async def test_without_origins_nobody_elses_page_may(service: Service) -> None:
    answer = await service.http.get("/fast", headers={"origin": "https://app.example"})
    assert "access-control-allow-origin" not in answer.headers


# --- whose address ---------------------------------------------------------------------------

FORWARDED = [
    ({}, PROXY),
    ({"x-forwarded-for": "203.0.113.9"}, "203.0.113.9"),
    ({"x-forwarded-for": "1.1.1.1, 203.0.113.9"}, "203.0.113.9"),
    ({"x-forwarded-for": "1.1.1.1, 203.0.113.9, 10.0.0.7"}, "203.0.113.9"),
    ({"x-forwarded-for": "10.0.0.9, 10.0.0.7"}, "10.0.0.9"),
    ({"x-forwarded-for": "203.0.113.9:4711"}, "203.0.113.9"),
    ({"x-forwarded-for": "[2001:db8::1]:4711"}, "2001:db8::1"),
    ({"x-forwarded-for": "::ffff:203.0.113.9"}, "203.0.113.9"),
    ({"x-forwarded-for": "1.1.1.1, nonsense"}, PROXY),
    ({"forwarded": "for=203.0.113.9;proto=https;by=10.0.0.1"}, "203.0.113.9"),
    ({"forwarded": 'For="[2001:db8::1]:4711", for=10.0.0.7'}, "2001:db8::1"),
    ({"forwarded": "for=1.1.1.1, for=unknown"}, PROXY),
    ({"forwarded": "for=1.1.1.1, for=_hidden, for=10.0.0.7"}, "10.0.0.7"),
    ({"forwarded": 'for=1.1.1.1, for="203.0.113.9'}, PROXY),
    ({"forwarded": "for=1.1.1.1", "x-forwarded-for": "203.0.113.9"}, PROXY),
    ({"forwarded": "for=203.0.113.9", "x-forwarded-for": "203.0.113.9"}, "203.0.113.9"),
]


@pytest.mark.parametrize(("headers", "address"), FORWARDED)
async def test_a_trusted_proxy_is_believed_as_far_as_it_can_know(
    make: Callable[..., Service], headers: dict[str, str], address: str
) -> None:
    service = make(PROXY, trusted_proxies="10.0.0.0/8")
    answer = await service.http.get("/fast", headers=headers)
    assert answer.json() == {"address": address, "origin": address}
    assert service.lines[-1]["address"] == address
    assert (await service.http.get("/users/7", headers=headers)).json()["client"] == address


async def test_a_stranger_is_not_believed(make: Callable[..., Service]) -> None:
    headers = {"x-forwarded-for": "203.0.113.9", "forwarded": "for=203.0.113.9"}
    for service in (make("192.0.2.1", trusted_proxies="10.0.0.0/8"), make(PROXY)):
        answer = await service.http.get("/fast", headers=headers)
        assert answer.json()["address"] in ("192.0.2.1", PROXY)


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        ({"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}, "https"),
        ({"forwarded": "for=203.0.113.9;proto=https"}, "https"),
        ({"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "gopher"}, "http"),
    ],
)
async def test_a_trusted_proxy_says_which_scheme_the_client_used(
    make: Callable[..., Service], headers: dict[str, str], scheme: str
) -> None:
    service = make(PROXY, trusted_proxies=PROXY)
    assert (await service.http.get("/users/7", headers=headers)).json()["scheme"] == scheme


@given(
    st.text(st.characters(max_codepoint=255), max_size=60) | st.text('for=";,1.[]: \\', max_size=40)
)
def test_any_forwarded_header_is_read_to_its_end(header: str) -> None:
    for _, proto in _forwarded(header):
        assert isinstance(proto, str)
    scope: dict[str, Any] = {
        "client": (PROXY, 1),
        "headers": [(b"forwarded", header.encode("latin-1"))],
    }
    Proxies(Settings.of(trusted_proxies=PROXY).server.trusted_proxies).unmask(scope)
    assert scope["client"]


# --- what is not HTTP ------------------------------------------------------------------------


async def test_a_websocket_is_turned_away(service: Service) -> None:
    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    await service.edge({"type": "websocket", "path": "/"}, None, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close"}]


async def test_the_lifespan_reaches_the_application() -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        seen.append("up")
        yield
        seen.append("down")

    async def receive() -> Any:
        return {"type": next(said)}

    async def send(message: Any) -> None:
        seen.append(message["type"])

    seen: list[str] = []
    said = iter(("lifespan.startup", "lifespan.shutdown"))
    edge = Edge(Lane(FastAPI(lifespan=lifespan)), Settings.of(), Metrics())
    await edge({"type": "lifespan"}, receive, send)
    assert seen == ["up", "lifespan.startup.complete", "down", "lifespan.shutdown.complete"]
