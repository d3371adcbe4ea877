"""FastAPI and any ASGI app, and tokens that are bound to a key (RFC 9449)."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.websockets import WebSocket

from identity.verifier import (
    VerifiedToken,
    Verifier,
)
from identity.verifier.asgi import IdentityMiddleware
from identity.verifier.fastapi import Identity
from identity.verifier.testing import Issuer
from identity.verifier.testing.proofs import ProofKey
from tests.verifier.testclient import TestClient, WebSocketDenialResponse

URL = "https://api.test/orders"
ALGS = 'algs="ES256 RS256 PS256 EdDSA"'
SECRET = b"a secret of all replicas, 32 octets"


@pytest.fixture
def key(issuer: Issuer) -> ProofKey:
    return issuer.proof_key()


Make = Callable[..., tuple[Any, Verifier]]


def in_fastapi(issuer: Issuer, **options: Any) -> tuple[Any, Verifier]:
    identity = Identity(verifier=issuer.verifier(**options))
    app = FastAPI(lifespan=identity.lifespan)
    identity.install(app)

    @app.get("/orders")
    @app.post("/orders")
    async def orders(token: Annotated[VerifiedToken, identity.require("orders")]) -> str:
        return token.subject

    return app, identity.verifier


def in_asgi(issuer: Issuer, **options: Any) -> tuple[Any, Verifier]:
    async def app(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] == "websocket":
            websocket = WebSocket(scope, receive, send)
            await websocket.accept()
            await websocket.close()
            return
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        start = {"type": "http.response.start", "status": 200}
        await send({**start, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": scope["token"].subject.encode()})

    verifier = issuer.verifier(scopes=["orders"], **options)
    return IdentityMiddleware(app, verifier), verifier


FRAMEWORKS = pytest.mark.parametrize("make", [in_fastapi, in_asgi])


@FRAMEWORKS
def test_a_bound_token_passes_with_its_proof_alone(
    issuer: Issuer, key: ProofKey, make: Make
) -> None:
    app, _ = make(issuer)
    token = issuer.token(scope="orders", key=key)
    with TestClient(app, base_url="http://inside:8000") as client:
        headers = key.headers("GET", URL, token)
        assert client.get("/orders?page=2", headers=headers).status_code == 200
        assert client.post("/orders", headers=key.headers("POST", URL, token)).status_code == 200
        refusals: list[tuple[str, Any]] = [
            ("invalid_dpop_proof", headers),  # used
            ("invalid_token", {"Authorization": f"Bearer {token}"}),
            ("invalid_dpop_proof", {"Authorization": f"DPoP {token}"}),
            ("invalid_dpop_proof", key.headers("POST", URL, token)),
            ("invalid_dpop_proof", key.headers("GET", "http://inside:8000/orders", token)),
            ("invalid_dpop_proof", key.headers("GET", URL, issuer.token(scope="orders", key=key))
             | {"Authorization": f"DPoP {token}"}),
            ("invalid_token", issuer.proof_key().headers("GET", URL, token)),
            ("invalid_dpop_proof", [*key.headers("GET", URL, token).items(),
                                    ("DPoP", key.proof("GET", URL, token))]),
        ]  # fmt: skip
        for error, sent in refusals:
            answer = client.get("/orders", headers=sent)
            assert answer.status_code == 401, sent
            said = answer.headers["www-authenticate"]
            assert said.startswith("DPoP ") and ALGS in said and f'error="{error}"' in said, said
        poor = client.get("/orders", headers=key.headers("GET", URL, issuer.token(key=key)))
        assert poor.status_code == 403 and poor.headers["www-authenticate"].startswith("DPoP ")
        bearer = {"Authorization": f"Bearer {issuer.token(scope='orders')}"}
        assert client.get("/orders", headers=bearer).status_code == 200
        missing = client.get("/orders").headers["www-authenticate"]
        assert missing.startswith("Bearer ") and missing.endswith(f"DPoP {ALGS}")
        metadata = client.get("/.well-known/oauth-protected-resource").json()
        assert metadata["dpop_signing_alg_values_supported"] == ["ES256", "RS256", "PS256", "EdDSA"]


@FRAMEWORKS
def test_a_nonce_comes_with_the_challenge(issuer: Issuer, key: ProofKey, make: Make) -> None:
    app, _ = make(issuer, nonce_keys=[SECRET])
    token = issuer.token(scope="orders", key=key)
    with TestClient(app) as client:
        answer = client.get("/orders", headers=key.headers("GET", URL, token))
        assert answer.status_code == 401
        assert 'error="use_dpop_nonce"' in answer.headers["www-authenticate"]
        nonce = answer.headers["dpop-nonce"]
        headers = key.headers("GET", URL, token, nonce=nonce)
        assert client.get("/orders", headers=headers).status_code == 200


@FRAMEWORKS
def test_where_clients_reach_it_may_differ_from_where_it_is(
    issuer: Issuer, key: ProofKey, make: Make
) -> None:
    outside = "https://gateway.example/shop"
    app, verifier = make(issuer, address=f"{outside}/")
    token = issuer.token(scope="orders", key=key)
    with TestClient(app, base_url="https://api.test") as client:
        headers = key.headers("GET", f"{outside}/orders", token)
        assert client.get("/orders", headers=headers).status_code == 200
        answer = client.get("/orders", headers=key.headers("GET", URL, token))
        assert answer.status_code == 401
    assert verifier.address == outside


@FRAMEWORKS
def test_without_an_address_no_proof_can_be_of_this_service(
    issuer: Issuer, key: ProofKey, make: Make
) -> None:
    app, verifier = make(issuer, audience="orders")
    assert verifier.address is None and verifier.dpop_algorithms == ()
    token = issuer.token(scope="orders", audience="orders", key=key)
    with TestClient(app) as client:
        for url in (URL, "/orders", "http://testserver/orders"):
            answer = client.get("/orders", headers=key.headers("GET", url, token))
            assert answer.status_code == 401
        answer = client.get("/orders", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
        assert "DPoP" not in client.get("/orders").headers["www-authenticate"]


def test_a_websocket_is_opened_by_a_bound_token_with_its_proof(
    issuer: Issuer, key: ProofKey
) -> None:
    app, _ = in_asgi(issuer)
    token = issuer.token(scope="orders", key=key)
    url = "https://api.test/chat"
    with TestClient(app) as client:
        with client.websocket_connect("/chat", headers=key.headers("GET", url, token)):
            pass
        with (
            pytest.raises(WebSocketDenialResponse) as denied,
            client.websocket_connect("/chat", headers={"authorization": f"Bearer {token}"}),
        ):
            pass
        assert denied.value.headers["www-authenticate"].startswith("DPoP ")


async def test_a_resource_that_is_named_says_where_it_is(issuer: Issuer) -> None:
    identity = Identity(issuer.url, "orders", resource="https://orders.example/v1")
    assert identity.verifier.address == "https://orders.example"
    assert identity.resource.dpop
    named = Identity(
        issuer.url, "orders", resource="https://orders.example", address="https://gate.example/o"
    )
    assert named.verifier.address == "https://gate.example/o"
    assert httpx.URL(named.verifier.address).host == "gate.example"
