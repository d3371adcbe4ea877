"""The sibling's own tests: no network and no identity service. The fixture `issuer` comes with the
package; the verifier that it serves is the real one."""

import pytest
from fastapi.testclient import TestClient
from orders import app, identity, orders

from identity.verifier import FromProxies
from identity.verifier.testing import Issuer


@pytest.fixture
def api(issuer: Issuer):
    issuer.serves(identity)
    orders.clear()
    with TestClient(app) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_who_may_write_places_an_order_and_finds_it_again(api, issuer):
    alice = bearer(issuer.token("alice", "orders:read orders:write"))
    assert api.post("/orders", json={"item": "tea"}, headers=alice).status_code == 201
    assert api.get("/orders", headers=alice).json() == [{"item": "tea", "pieces": 1}]


def test_orders_are_their_owners(api, issuer):
    api.post("/orders", json={"item": "tea"}, headers=bearer(issuer.token("alice", "orders:write")))
    assert api.get("/orders", headers=bearer(issuer.token("bob", "orders:read"))).json() == []


def test_a_client_that_acts_for_itself_has_no_orders_whatever_its_id(api, issuer):
    alice = bearer(issuer.token("alice", "orders:read orders:write"))
    api.post("/orders", json={"item": "tea"}, headers=alice)
    named_alike = bearer(issuer.token("alice", "orders:read orders:write", client_id="alice"))
    assert api.get("/orders", headers=named_alike).status_code == 403
    assert api.post("/orders", json={"item": "tea"}, headers=named_alike).status_code == 403


def test_who_may_only_read_places_none(api, issuer):
    reader = bearer(issuer.token("alice", "orders:read"))
    answer = api.post("/orders", json={"item": "tea"}, headers=reader)
    assert answer.status_code == 403
    assert 'scope="orders:write"' in answer.headers["www-authenticate"]


def test_without_a_token_the_caller_learns_where_to_get_one(api):
    answer = api.get("/orders")
    assert answer.status_code == 401
    assert "/.well-known/oauth-protected-resource" in answer.headers["www-authenticate"]
    metadata = api.get("/.well-known/oauth-protected-resource").json()
    assert metadata["authorization_servers"] == [identity.verifier.issuer]


def test_a_token_that_expired_or_is_for_another_service_opens_nothing(api, issuer):
    old = issuer.token(scope="orders:read", expires_in=-1)
    others = issuer.token(scope="orders:read", audience="https://invoices.example.com")
    for token in (old, others):
        assert api.get("/orders", headers=bearer(token)).status_code == 401


def test_a_revoked_token_opens_nothing_any_more(api, issuer):
    token = issuer.token("alice", "orders:read")
    assert api.get("/orders", headers=bearer(token)).status_code == 200
    issuer.revoke(token)
    assert api.get("/orders", headers=bearer(token)).status_code == 401


def test_a_token_that_is_bound_to_a_key_opens_nothing_without_a_proof_of_it(api, issuer):
    key, address = issuer.proof_key(), "https://orders.example.com/orders"
    token = issuer.token("alice", "orders:read", key=key)
    assert api.get("/orders", headers=key.headers("GET", address, token)).status_code == 200
    assert api.get("/orders", headers=bearer(token)).status_code == 401
    stolen = issuer.proof_key().headers("GET", address, token)
    assert api.get("/orders", headers=stolen).status_code == 401


def test_a_token_that_is_bound_to_a_certificate_opens_nothing_without_it(issuer, monkeypatch):
    monkeypatch.setattr(identity.verifier, "certificates", FromProxies("10.0.0.7"))
    issuer.serves(identity)
    certificate = issuer.client_certificate()
    token = issuer.token("alice", "orders:read", certificate=certificate)
    with TestClient(app, client=("10.0.0.7", 4711)) as proxy:
        assert proxy.get("/orders", headers=certificate.headers(token)).status_code == 200
        assert proxy.get("/orders", headers=bearer(token)).status_code == 401
        stolen = issuer.client_certificate().headers(token)
        assert proxy.get("/orders", headers=stolen).status_code == 401
    with TestClient(app, client=("10.0.0.8", 4711)) as anybody:
        assert anybody.get("/orders", headers=certificate.headers(token)).status_code == 401
