"""Traces and metrics by OTLP, from the real service to a real receiver; and nothing of it where
nobody wants any."""

import json
import linecache
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest

from identity.records.audit import Origin, origin
from identity.settings import Settings, SettingsError
from identity.verifier import Verifier
from tests.collecting import Collector, attributes, collecting
from tests.databases import ADMIN_PASSWORD, environment
from tests.serving import Server, running
from tests.transport import served
from tests.world import PASSWORD, World

pytestmark = pytest.mark.anyio
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def named(collector: Collector, name: str) -> list[Any]:
    return [span for span in collector.spans if span.name == name]


def test_what_a_login_waited_for_is_told_and_nothing_of_whom_it_was(
    server: Callable[..., Server], collector: Collector
) -> None:
    running = server(
        OTLP_ENDPOINT=collector.url, OTLP_HEADERS="authorization=Bearer of-the-collector",
        LOG_FORMAT="json",
    )  # fmt: skip
    secrets = [ADMIN_PASSWORD, "Wrong horse 7", "ada@example.com", "nobody-at-all", "s3cret-query"]
    with httpx.Client(base_url=running.url, trust_env=False, timeout=60) as api:
        form = {"grant_type": "password", "username": "admin", "password": ADMIN_PASSWORD}
        told = {"traceparent": PARENT, "tracestate": "who=ada@example.com", "baggage": "user=admin"}
        token = api.post("/token", data=form, headers={**told, "x-request-id": "the-login"}).json()
        secrets += [token["access_token"], token["refresh_token"]]
        api.post("/token", data={**form, "username": "nobody-at-all"})
        api.post("/token", data={**form, "password": "Wrong horse 7"})
        refresh = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
        secrets.append(api.post("/token", data=refresh).json()["refresh_token"])
        bearer = {"authorization": f"Bearer {token['access_token']}"}
        me = api.get("/users/me", headers=bearer).json()
        api.get("/nobody-at-all/ada@example.com?token=s3cret-query")
        api.get("/healthz", headers={"traceparent": f"00-{'a' * 32}-{SPAN}-00"})
        assert me["username"] == "admin"
    assert running.stop(60) == 0

    (login,) = [s for s in named(collector, "POST /token") if s.trace_id.hex() == TRACE]
    assert login.parent_span_id.hex() == SPAN
    told_of = attributes(login)
    assert told_of == {
        "http.request.method": "POST", "http.route": "/token",
        "http.response.status_code": 200, "identity.request_id": "the-login",
    }  # fmt: skip
    within = [s for s in collector.spans if s.parent_span_id == login.span_id]
    assert any(s.name.startswith("database write") for s in within)
    for each in within:
        assert each.trace_id.hex() == TRACE
        assert login.start_time_unix_nano <= each.start_time_unix_nano
        if each.name.startswith("database"):
            assert attributes(each)["db.system.name"] in ("sqlite", "postgresql")
    (hashing,) = [s for s in within if s.name == "password hashing"]
    assert attributes(hashing)["identity.waited_seconds"] >= 0
    assert len(named(collector, "POST /token")) == 4
    assert named(collector, "GET unmatched")
    assert not [s for s in collector.spans if s.trace_id.hex() == "a" * 32], "it was not sampled"

    assert not [s for s in collector.spans if s.trace_state or s.events]
    for secret in secrets:
        assert secret.encode() not in collector.octets, secret
    values = {str(v) for span in collector.spans for v in attributes(span).values()}
    assert not values & {"admin", me["id"], "127.0.0.1"}
    assert {h["authorization"] for h in collector.headers} == {"Bearer of-the-collector"}
    assert {r["service.name"] for r in collector.resources} == {"identity"}
    assert "of-the-collector" not in running.log.read_text()

    lines = [json.loads(line) for line in running.log.read_text().splitlines() if line[:1] == "{"]
    (line,) = [line for line in lines if line.get("request_id") == "the-login"]
    assert line["trace_id"] == TRACE

    counted = collector.metrics["identity_requests"].sum
    assert counted.is_monotonic
    of_token = [
        point.as_double for point in counted.data_points
        if attributes(point) == {"method": "POST", "route": "/token", "status": "200"}
    ]  # fmt: skip
    assert of_token == [2]
    times = collector.metrics["identity_request_duration_seconds"].histogram.data_points
    (token_times,) = [p for p in times if attributes(p) == {"route": "/token"}]
    assert token_times.count == 4 == sum(token_times.bucket_counts)
    assert len(token_times.bucket_counts) == len(token_times.explicit_bounds) + 1
    assert "identity_audit_queue" in collector.metrics


def test_a_collector_that_is_gone_holds_up_nobody(server: Callable[..., Server]) -> None:
    running = server(OTLP_ENDPOINT="http://127.0.0.1:9")
    with httpx.Client(base_url=running.url, trust_env=False, timeout=60) as api:
        for _ in range(50):
            assert api.get("/healthz").status_code == 200
    assert running.stop(60) == 0


async def test_a_sibling_s_question_belongs_to_the_trace_of_the_request_that_it_is_about(
    make_settings: Callable[..., Settings], collector: Collector
) -> None:
    from opentelemetry.sdk.trace import TracerProvider

    from identity.app import create_app

    app = create_app(make_settings(otlp_endpoint=collector.url, trace_ratio=0))
    async with running(app):
        issuer = app.services.settings.issuer
        async with httpx.AsyncClient(transport=served(app), base_url=issuer) as api:
            world = World(app, api)
            world.user("lovelace-1815")
            sibling = world.client("sibling", scopes=["introspect"])
            token = (await world.log_in("lovelace-1815"))["access_token"]
            verifier = Verifier(
                issuer, issuer, client_id=sibling.id, client_secret=sibling.secret,
                revocations="introspection", transport=served(app),
            )  # fmt: skip
            tracer = TracerProvider(shutdown_on_exit=False).get_tracer("sibling")
            async with verifier:
                with tracer.start_as_current_span("an order is read") as span:
                    await verifier.verify(token)
            trace_id = span.get_span_context().trace_id.to_bytes(16, "big")
        assert app.tracing is not None
        app.tracing._provider.force_flush()
    (asked,) = named(collector, "POST /introspect")
    assert asked.trace_id == trace_id
    assert {span.trace_id for span in collector.spans} == {trace_id}, "the rest is not sampled"
    assert PASSWORD.encode() not in collector.octets
    assert b"lovelace" not in collector.octets


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_what_is_asked_of_others_is_told_by_host_alone_and_they_hear_nothing(
    make_settings: Callable[..., Settings], collector: Collector
) -> None:
    from identity.app import create_app

    app = create_app(make_settings(otlp_endpoint=collector.url))
    async with running(app):
        trace = app.tracing.begin({b"traceparent": PARENT.encode()})  # type: ignore[union-attr]
        before = origin.set(Origin("r", trace=trace))
        fetcher = app.services.fetcher
        await fetcher.get(f"{collector.url}/keys/lovelace?secret=s3cret", trusted=True)
        with pytest.raises(Exception, match="cannot be reached"):
            await fetcher.get("http://127.0.0.1:9/lovelace", trusted=True)
        origin.reset(before)
        trace.end("LOVELACE", "/x", 200, 0.1, "r")
        app.tracing._provider.force_flush()  # type: ignore[union-attr]
    assert named(collector, "_OTHER /x")
    good, bad = sorted(named(collector, "GET elsewhere"), key=lambda s: s.start_time_unix_nano)
    assert attributes(good) == {
        "http.request.method": "GET", "server.address": "127.0.0.1",
        "http.response.status_code": 200,
    }  # fmt: skip
    assert attributes(bad)["error.type"] == "FetchFailed"
    assert b"s3cret" not in collector.octets and b"lovelace" not in collector.octets


@pytest.mark.parametrize(
    "given",
    [
        "", "x", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-more", f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01\n", "00-" + "1" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_traceparent_begins_a_trace_of_our_own(given: str) -> None:
    from opentelemetry.trace import get_current_span

    from identity.records.tracing.spans import _parent

    assert not get_current_span(_parent(given.encode())).get_span_context().is_valid


def test_later_versions_of_traceparent_are_read_as_far_as_they_are_known() -> None:
    from opentelemetry.trace import get_current_span

    from identity.records.tracing.spans import _parent

    context = get_current_span(_parent(f"01-{TRACE}-{SPAN}-03-more".encode())).get_span_context()
    assert (context.trace_id, context.trace_flags) == (int(TRACE, 16), 1)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("otlp_endpoint", "collector:4318", "http"),
        ("otlp_endpoint", "http://u:p@collector", "password"),
        ("trace_ratio", 2, "TRACE_RATIO"),
        ("otlp_headers", "s3cret", "NAME=VALUE"),
        ("otlp_headers", "api key=s3cret", "NAME=VALUE"),
        ("otlp_headers", "api-key=s3cret\nmore", "NAME=VALUE"),
        ("otlp_headers", "api-key=s3cr\u20act", "NAME=VALUE"),
    ],
)
def test_settings_that_cannot_work_are_refused(field: str, value: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        Settings.of(**{field: value})
    assert "s3cr" not in str(refused.value)


def test_headers_for_the_collector_are_read_as_people_write_them() -> None:
    settings = Settings.of(otlp_headers=" Authorization = Bearer a=b , x-team=,\n")
    assert settings.tracing.headers() == {"authorization": "Bearer a=b", "x-team": ""}


def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from identity.settings import records

    monkeypatch.setattr(records, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"\[otel\]"):
        Settings.of(otlp_endpoint="http://127.0.0.1:4318")


# --- Off ------------------------------------------------------------------------------------

_SERVES = """
import asyncio, json, sys, httpx
from identity.app import create_app
from tests.serving import running
from tests.transport import served

async def main():
    app = create_app()
    async with running(app):
        assert app.tracing is None
        async with httpx.AsyncClient(transport=served(app), base_url="http://x") as api:
            await api.post("/introspect", data={"token": "x"})
            await api.post("/token", data={"grant_type": "password"})
            hot = [m for m in sys.modules if m.startswith("opentelemetry")]
            await api.get("/openapi.json")
            cold = [m for m in sys.modules if m.startswith("opentelemetry")]
            print(json.dumps([hot, cold]))

asyncio.run(main())
"""


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_where_nobody_wants_traces_nothing_of_it_is_imported(
    database_url: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SERVES],
        capture_output=True, text=True, check=True, timeout=120, cwd=tmp_path,
        env=environment(
            DATABASE_URL=database_url, KEYS_DIR=str(tmp_path / "keys"), BCRYPT_ROUNDS="4",
            TEST_WEAK_HASHING="1", MAIL_FOLDER="off", LOG_LEVEL="error",
            BOOTSTRAP_ADMIN_PASSWORD=ADMIN_PASSWORD,
        ),
    )  # fmt: skip
    hot, cold = json.loads(done.stdout.splitlines()[-1])
    assert hot == []
    ours = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto")
    assert [module for module in cold if module.startswith(ours)] == []


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_where_nobody_wants_traces_a_request_pays_next_to_nothing(world: World) -> None:
    """Counted in the interpreter's instructions, which do not depend on who else is at work: those
    of all lines that name traces or exemplars, the ones that were there before them included, of
    all that an introspection takes."""
    client = world.client("sibling", scopes=["introspect"])
    token = (await world.act(world.client("job", scopes=[])))["access_token"]
    request = {"data": {"token": token}, "headers": client.basic}
    for _ in range(3):
        answer = await world.api.post("/introspect", **request)  # type: ignore[arg-type]
        assert answer.json()["active"] is True
    spent: Counter[bool] = Counter()
    knowing: dict[tuple[str, int], bool] = {}

    def knows(name: str, line: int) -> bool:
        if (name, line) not in knowing:
            text = linecache.getline(name, line)
            knowing[name, line] = "trac" in text or "told" in text or "example" in text
        return knowing[name, line]

    def count(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if "/identity/" not in name or "/tests/" in name:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            spent[knows(name, frame.f_lineno or 0)] += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        answer = await world.api.post("/introspect", **request)  # type: ignore[arg-type]
    finally:
        sys.settrace(before)
    assert answer.json()["active"] is True
    assert 0 < spent[True] <= 90, spent
    assert spent[True] / (spent[True] + spent[False]) < 0.06, spent
