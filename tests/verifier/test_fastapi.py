"""A FastAPI sibling: who gets in, what it tells the rest, and what its OpenAPI page offers."""

import json
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket

from identity.verifier.fastapi import Identity, VerifiedToken, require
from identity.verifier.gate.encoding import b64url_encode
from identity.verifier.testing import Issuer
from tests.verifier.testclient import TestClient

ISSUER = "https://identity.example"
AUDIENCE = "https://orders.example/v1"
SCOPES = {"orders:read": "See orders", "orders:write": "Place orders"}


def a_sibling() -> tuple[FastAPI, Identity]:
    """As a sibling's own module would make it, before any test is thought of."""
    identity = Identity(
        ISSUER, AUDIENCE, scopes=SCOPES, name="Orders", client_id="orders", client_secret="secret"
    )
    app = FastAPI(lifespan=identity.lifespan)
    identity.install(app)

    @app.get("/orders")
    async def orders(token: Annotated[VerifiedToken, identity.require("orders:read")]) -> Any:
        return {"of": token.username}

    @app.post("/orders", dependencies=[identity.require("orders:read", "orders:write")])
    def order() -> str:
        return "ordered"

    @app.get("/me")
    async def me(token: Annotated[VerifiedToken, Depends(identity)]) -> str:
        return token.subject

    elsewhere = APIRouter()

    @elsewhere.get("/stock")
    async def stock(token: Annotated[VerifiedToken, require("orders:read")]) -> str:
        return token.subject

    @app.websocket("/events")
    async def events(
        websocket: WebSocket, token: Annotated[VerifiedToken, identity.require("orders:read")]
    ) -> None:
        await websocket.accept()
        await websocket.send_text(token.subject)
        await websocket.close()

    app.include_router(elsewhere)
    return app, identity


@pytest.fixture
def sibling(issuer: Issuer) -> Any:
    app, identity = a_sibling()
    issuer.serves(identity)
    with TestClient(app) as client:
        yield client


def with_token(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_who_may_gets_in(sibling: TestClient, issuer: Issuer) -> None:
    reader = with_token(issuer.token("alice", "orders:read"))
    clerk = with_token(issuer.token("bob", "orders:read orders:write"))
    assert sibling.get("/orders", headers=reader).json() == {"of": "alice"}
    assert sibling.get("/stock", headers=reader).json() == "alice"
    assert sibling.post("/orders", headers=clerk).json() == "ordered"
    assert sibling.get("/me", headers=with_token(issuer.token("carol"))).json() == "carol"
    with sibling.websocket_connect("/events", headers=reader) as websocket:
        assert websocket.receive_text() == "alice"


@pytest.mark.parametrize("path", ["/orders", "/stock"])
def test_who_may_not_learns_why_and_where_to_go(
    sibling: TestClient, issuer: Issuer, path: str
) -> None:
    where = (
        'scope="orders:read", resource_metadata='
        '"https://orders.example/.well-known/oauth-protected-resource/v1"'
    )
    missing = sibling.get(path)
    assert missing.status_code == 401
    dpop = 'DPoP algs="ES256 RS256 PS256 EdDSA"'
    assert missing.headers["www-authenticate"] == f"Bearer {where}, {dpop}"

    expired = sibling.get(path, headers=with_token(issuer.token(expires_in=-1)))
    assert expired.status_code == 401
    assert expired.headers["www-authenticate"] == (
        'Bearer error="invalid_token", error_description="the access token has expired", ' + where
    )
    poor = sibling.get(path, headers=with_token(issuer.token(scope="orders:write")))
    assert poor.status_code == 403
    assert 'error="insufficient_scope"' in poor.headers["www-authenticate"]

    token = issuer.token(scope="orders:read")
    assert sibling.get(path, headers=with_token(token)).status_code == 200
    issuer.revoke(token)
    assert sibling.get(path, headers=with_token(token)).status_code == 401

    assert sibling.get(path, headers={"authorization": "Bearer a b"}).status_code == 400


def test_an_outage_of_the_issuer_is_a_503_with_a_time(sibling: TestClient, issuer: Issuer) -> None:
    token = with_token(issuer.token(scope="orders:read"))
    assert sibling.get("/orders", headers=token).status_code == 200
    with issuer.down():
        issuer.clock.tick(30)
        outage = sibling.get("/orders", headers=token)
    assert (outage.status_code, outage.headers["retry-after"]) == (503, "1")
    assert "www-authenticate" not in outage.headers


def test_the_metadata_are_published(sibling: TestClient) -> None:
    answer = sibling.get("/.well-known/oauth-protected-resource/v1")
    assert answer.json() == {
        "resource": AUDIENCE,
        "authorization_servers": [ISSUER],
        "bearer_methods_supported": ["header"],
        "scopes_supported": list(SCOPES),
        "dpop_signing_alg_values_supported": ["ES256", "RS256", "PS256", "EdDSA"],
        "resource_name": "Orders",
    }


def test_the_openapi_page_can_log_in_at_the_issuer(sibling: TestClient) -> None:
    document = sibling.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["Identity"]["type"] == "oauth2"
    assert schemes["Identity"]["flows"] == {
        "password": {"tokenUrl": f"{ISSUER}/token", "scopes": SCOPES}
    }
    assert schemes["Bearer token"] == {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    for path, method, scopes in (
        ("/orders", "get", ["orders:read"]),
        ("/orders", "post", ["orders:read", "orders:write"]),
        ("/stock", "get", ["orders:read"]),
        ("/me", "get", []),
    ):
        security = document["paths"][path][method]["security"]
        assert {"Identity": scopes} in security
        assert any("Bearer token" in way for way in security)
    assert "/.well-known/oauth-protected-resource/v1" not in document["paths"]


def test_require_in_an_app_without_identity_is_a_mistake_of_the_programmer() -> None:
    app = FastAPI()

    @app.get("/")
    async def root(token: Annotated[VerifiedToken, require("a")]) -> None: ...

    with TestClient(app) as client, pytest.raises(RuntimeError, match="install"):
        client.get("/")


def test_an_identity_may_be_given_its_verifier(issuer: Issuer) -> None:
    verifier = issuer.verifier("orders")
    identity = Identity(verifier=verifier, resource="https://orders.example", scopes=["a"])
    assert identity.verifier is verifier
    assert identity.resource.metadata()["resource"] == "https://orders.example"


def test_the_page_asks_for_its_own_scopes_from_the_start(issuer: Issuer) -> None:
    """Scopes of one resource pick its audience; a token without would be refused here."""
    app, _ = a_sibling()
    with TestClient(app) as client:
        assert 'initOAuth({"scopes": "orders:read orders:write"})' in client.get("/docs").text
    app = FastAPI(swagger_ui_init_oauth={"scopes": "orders:read", "clientId": "page"})
    Identity(ISSUER, AUDIENCE, scopes=SCOPES).install(app)
    assert app.swagger_ui_init_oauth == {"scopes": "orders:read", "clientId": "page"}
    app = FastAPI()
    Identity(ISSUER, AUDIENCE).install(app)
    assert app.swagger_ui_init_oauth is None


def test_why_a_token_was_refused_is_in_the_log_and_the_token_is_not(
    sibling: TestClient, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "identity.verifier")
    good = issuer.token(scope="orders:read")
    other = issuer.token(scope="orders:read", audience="https://other.example")
    revoked = issuer.token(scope="orders:read")
    issuer.revoke(revoked)
    cases = [
        (other, "WARNING", "NotForUs: aud: aud ['https://other.example'] names none of "),
        (good[:-8] + "AAAAAAAA", "WARNING", "BadSignature: "),
        (good.replace(".", ""), "WARNING", "Malformed: segments: "),
        (revoked, "WARNING", "Revoked: "),
        (issuer.token(expires_in=-1), "INFO", "Expired: "),
        (issuer.token(), "INFO", "InsufficientScope: needs orders:read"),
        (None, "INFO", "TokenMissing: "),
    ]
    for token, level, why in cases:
        caplog.clear()
        headers = with_token(token) if token else {}
        status = sibling.get("/orders", headers=headers).status_code
        [record] = [r for r in caplog.records if r.name == "identity.verifier"]
        assert record.levelname == level
        assert record.getMessage().startswith(f"GET /orders answered {status}: {why}")
        for part in (token or "").split("."):
            assert not part or part not in caplog.text
    caplog.clear()
    assert sibling.get("/orders", headers=with_token(good)).status_code == 200
    assert not caplog.records


def test_strangers_write_no_lines_of_their_own_into_the_log(
    sibling: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    sibling.get("/orders/%0Aforged%1b[31m" + "a" * 5000)  # no such path: nothing is asked of it
    forged = {"alg": "ES256", "typ": "at+jwt", "kid": "a\nforged: line\x1b[31m" + "b" * 5000}
    head, payload, signature = Issuer().token().split(".")
    head = b64url_encode(json.dumps(forged).encode()).decode()
    for path in ("/orders", "/stock"):
        sibling.get(path, headers=with_token(f"{head}.{payload}.{signature}"))
    assert len(caplog.records) == 2
    for record in caplog.records:
        said = record.getMessage()
        assert said.isprintable() and said.isascii() and len(said) < 700


def test_a_login_too_old_or_not_sure_enough_learns_what_would_do(issuer: Issuer) -> None:
    """RFC 9470 §3."""
    identity = Identity(ISSUER, AUDIENCE)
    app = FastAPI(lifespan=identity.lifespan)
    identity.install(app)

    @app.post("/refunds", dependencies=[identity.require("refund", acr="aal2", max_age=300)])
    async def refund() -> str:
        return "paid"

    @app.get("/mail", dependencies=[require(acr="https://else.example/gold")])
    async def mail() -> str:
        return "read"

    issuer.serves(identity)
    now = int(issuer.clock.now())
    good = {"scope": "refund", "acr": "aal2", "auth_time": now - 300}
    with TestClient(app) as client:

        def status(path: str, **claims: Any) -> int:
            token = issuer.token(**claims)
            answer = client.request(
                "GET" if path == "/mail" else "POST", path, headers=with_token(token)
            )
            challenge = answer.headers.get("www-authenticate", "")
            told = 'error="insufficient_user_authentication"' in challenge
            assert told == (answer.status_code == 401)
            if told and path == "/refunds":
                assert 'acr_values="aal2"' in challenge and 'max_age="300"' in challenge
            return answer.status_code

        assert status("/refunds", **good) == 200
        assert status("/refunds", **good | {"acr": "phr"}) == 200  # a higher level meets a lower
        for lacking in (
            {"acr": "aal1"}, {"acr": None}, {"acr": "gold"}, {"auth_time": now - 301},
            {"auth_time": None}, {"auth_time": True}, {"auth_time": "now"},
        ):  # fmt: skip
            assert status("/refunds", **good | lacking) == 401, lacking
        assert status("/refunds", **good | {"scope": "other"}) == 403
        assert status("/mail", acr="https://else.example/gold") == 200
        assert status("/mail", acr="phr") == 401
