"""What a verifier asks of its issuer belongs to the trace of the request that it is about."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import httpx
import pytest

from identity.verifier.asgi import IdentityMiddleware
from identity.verifier.testing import Issuer

pytestmark = pytest.mark.anyio
GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class _Listening(httpx.AsyncBaseTransport):
    def __init__(self, issuer: Issuer) -> None:
        self._inner = issuer.transport
        self.heard: list[tuple[str, str | None]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.heard.append((request.url.path, request.headers.get("traceparent")))
        return await self._inner.handle_async_request(request)

    def of(self, path: str) -> list[str | None]:
        return [parent for at, parent in self.heard if at == path]


async def _hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def ask(app: Any, token: str, **headers: str) -> None:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://orders") as api:
        answer = await api.get("/", headers={"authorization": f"Bearer {token}", **headers})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("mode", ["introspection", "poll"])
async def test_the_traceparent_of_a_request_is_led_on_and_to_nothing_else(mode: str) -> None:
    issuer = Issuer(prompt=False)
    transport = _Listening(issuer)
    verifier = issuer.verifier(transport=transport, revocations=mode)
    app = IdentityMiddleware(_hello, verifier)
    try:
        await ask(app, issuer.token(), traceparent=GIVEN)  # which starts the verifier, too
        await ask(app, issuer.token())
        await ask(app, issuer.token(), traceparent="ada@example.com")
        if mode == "poll":
            assert set(transport.of("/revocations")) == {None}, "it is nobody's request"
        else:
            assert transport.of("/introspect") == [GIVEN, None, None]
    finally:
        await verifier.close()


async def test_the_span_in_force_goes_before_the_request_s_own() -> None:
    from opentelemetry.sdk.trace import TracerProvider

    issuer = Issuer(prompt=False)
    transport = _Listening(issuer)
    verifier = issuer.verifier(transport=transport, revocations="introspection")
    app = IdentityMiddleware(_hello, verifier)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("orders")
    try:
        with tracer.start_as_current_span("orders") as span:
            await ask(app, issuer.token(), traceparent=GIVEN)
        ids = span.get_span_context()
        flags = int(ids.trace_flags)
        assert transport.of("/introspect") == [
            f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{flags:02x}"
        ]
    finally:
        await verifier.close()


def test_a_verifier_imports_nothing_for_that() -> None:
    code = (
        "import json, sys; from identity.verifier.issuer import traceparent; "
        "import identity.verifier.asgi; assert traceparent.headers() == {}; "
        "print(json.dumps([m for m in sys.modules if m.startswith('opentelemetry')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
