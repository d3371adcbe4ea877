"""The middleware lets through who may, and answers the rest itself."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from identity.verifier.asgi import IdentityMiddleware
from identity.verifier.testing import Issuer
from tests.verifier.testclient import TestClient, WebSocketDenialResponse


async def whose(request: Request) -> PlainTextResponse:
    token = request.scope.get("token")
    return PlainTextResponse(token.subject if token else "nobody's")


async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(websocket.scope["token"].subject)
    await websocket.close()


def shop(issuer: Issuer) -> IdentityMiddleware:
    app = Starlette(
        routes=[Route("/", whose), Route("/healthz", whose), WebSocketRoute("/chat", chat)]
    )
    return IdentityMiddleware(app, issuer.verifier(scopes=["orders"]), exempt=["/healthz"])


def with_token(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_only_a_good_token_passes(issuer: Issuer) -> None:
    app = shop(issuer)
    with TestClient(app) as client:
        good = issuer.token(scope="orders")
        assert client.get("/", headers=with_token(good)).text == "alice"
        assert client.get("/healthz").text == "nobody's"
        assert client.options("/").status_code == 405

        missing = client.get("/")
        assert missing.status_code == 401
        assert missing.json() == {"error_description": "an access token is needed"}
        assert missing.headers["www-authenticate"] == (
            'Bearer scope="orders", resource_metadata='
            '"https://api.test/.well-known/oauth-protected-resource"'
            ', DPoP algs="ES256 RS256 PS256 EdDSA"'
        )

        poor = client.get("/", headers=with_token(issuer.token()))
        assert (poor.status_code, poor.json()["error"]) == (403, "insufficient_scope")

        issuer.revoke(good)
        revoked = client.get("/", headers=with_token(good))
        assert (revoked.status_code, revoked.json()["error"]) == (401, "invalid_token")
        assert revoked.headers["cache-control"] == "no-store"

        with issuer.down():
            issuer.clock.tick(60)
            outage = client.get("/", headers=with_token(issuer.token(scope="orders")))
        assert (outage.status_code, outage.headers["retry-after"]) == (503, "1")
        assert "www-authenticate" not in outage.headers


def test_the_metadata_are_answered_without_a_token(issuer: Issuer) -> None:
    with TestClient(shop(issuer)) as client:
        answer = client.get("/.well-known/oauth-protected-resource")
        assert answer.json() == {
            "resource": "https://api.test",
            "authorization_servers": ["https://identity.test"],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["orders"],
            "dpop_signing_alg_values_supported": ["ES256", "RS256", "PS256", "EdDSA"],
        }
        assert "max-age" in answer.headers["cache-control"]
        assert client.head("/.well-known/oauth-protected-resource").content == b""


def test_a_websocket_needs_a_token_too(issuer: Issuer) -> None:
    with TestClient(shop(issuer)) as client:
        token = issuer.token(scope="orders")
        with client.websocket_connect("/chat", headers=with_token(token)) as websocket:
            assert websocket.receive_text() == "alice"
        with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/chat"):
            pass
        assert denied.value.status_code == 401
        assert denied.value.headers["www-authenticate"].startswith("Bearer ")


async def test_a_server_that_cannot_answer_a_websocket_closes_it(issuer: Issuer) -> None:
    app, sent = shop(issuer), []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "websocket", "path": "/chat", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    await app.verifier.close()


async def test_a_server_without_lifespan_starts_it_with_the_first_request(issuer: Issuer) -> None:
    app = shop(issuer)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.test") as client:
        answer = await client.get("/", headers=with_token(issuer.token(scope="orders")))
        assert answer.text == "alice"
    await app.verifier.close()


async def test_other_kinds_of_connection_pass_untouched(issuer: Issuer) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(json.dumps(scope))

    await IdentityMiddleware(app, issuer.verifier())({"type": "other"}, app, app)  # type: ignore[arg-type]
    assert seen == ['{"type": "other"}']
